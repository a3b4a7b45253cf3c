"""Attributions: scores taken apart by feature, against the score of a baseline row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.ensemble import SpectralEnsemble
from model.explain import Explanation
from model.explanation_tables import ExplainedRows
from model.features import FeatureSpace, FloatArray
from model.path import path_values
from model.shapley import shapley_values


def attribute(
    features: FeatureSpace,
    ensemble: SpectralEnsemble,
    by_eigenvector: Explanation,
    method: str,
    columns: FloatArray,
    baseline: FloatArray,
    outputs: FloatArray,
    seed: int,
) -> Explanation:
    """The explanation by "path" or "shapley".

    Args:
        features: the features of the columns.
        ensemble: what gives the scores.
        by_eigenvector: the rows' explanation by eigenvectors; score, sensitivities and gap are taken from it.
        method: "path" or "shapley".
        columns: (N, F), and ``baseline`` (F,), as ``FeatureSpace.encode`` gives them.
        outputs: (N, O), for each row the unit vector of the output to explain, or minus it.
        seed: of the permutations of "shapley".
    """
    coordinates = features.coordinates(columns)
    start = features.coordinates(baseline[None])
    errors = None
    if method == "path":
        values = path_values(features, ensemble, coordinates, start[0], outputs)
    else:
        values, errors = shapley_values(ensemble, coordinates, start[0], outputs, seed)
    return replace(
        by_eigenvector,
        method=method,
        terms=features.names,
        baseline=np.ascontiguousarray(outputs @ ensemble.scores(start)[0]),
        contributions=values,
        standard_error=errors,
        rows=ExplainedRows(features, columns, tuple((i,) for i in range(len(features)))),
    )
