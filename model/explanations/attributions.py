"""Attribute scores to features, against the score of a baseline row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.aumann_shapley import path_values
from eigenserve.model.explanations.eigenvector import Explanation
from eigenserve.model.explanations.shapley import shapley_values
from eigenserve.model.explanations.tables import ExplainedRows
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.features import FeatureSpace

#: Rows between two looks at whether anybody still waits: up to seconds for paths and for 16 features of "shapley".
ROWS_AT_ONCE = 32


def attribute(
    features: FeatureSpace,
    ensemble: SpectralEnsemble,
    by_eigenvector: Explanation,
    method: str,
    columns: FloatArray,
    baseline: FloatArray,
    outputs: FloatArray,
    seed: int,
    check: Callable[[], None],
) -> Explanation:
    """Explain by "path" or "shapley".

    Args:
        features: the features of the columns.
        ensemble: what gives the scores.
        by_eigenvector: the rows' explanation by eigenvectors; score, sensitivities and gap are taken from it.
        method: "path" or "shapley".
        columns: (N, F), and ``baseline`` (F,), or (B, F) for a sample, as ``FeatureSpace.encode`` gives them. The
            values against a sample are the means of those against each of its rows.
        outputs: (N, O), for each row the unit vector of the output to explain, or minus it.
        seed: of the permutations of "shapley".
        check: called now and then; may raise, to give up.
    """
    coordinates = features.coordinates(columns)
    starts = features.coordinates(np.atleast_2d(baseline))
    values = np.zeros(coordinates.shape)
    # The permutations are the same for each: so are their errors, and the mean's is at most the errors' mean.
    errors = None if method == "path" else np.zeros(coordinates.shape)
    for start, first in product(starts, range(0, len(coordinates), ROWS_AT_ONCE)):
        check()
        some = slice(first, first + ROWS_AT_ONCE)
        if errors is None:
            values[some] += path_values(features, ensemble, coordinates[some], start, outputs[some])
        else:
            found, error = shapley_values(ensemble, coordinates[some], start, outputs[some], seed)
            values[some] += found
            errors[some] += error
    values /= len(starts)
    if errors is not None:
        errors /= len(starts)
    return replace(
        by_eigenvector,
        method=method,
        terms=features.names,
        baseline=np.ascontiguousarray(outputs @ ensemble.scores(starts).mean(axis=0)),
        contributions=values,
        standard_error=errors,
        rows=ExplainedRows(features, columns, tuple((i,) for i in range(len(features)))),
    )
