"""Explain: columns -> their scores taken apart, by one of several methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.aumann_shapley import path_values
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.integrated import explain_integrated
from eigenserve.model.explanations.reference import Reference, training_reference
from eigenserve.model.explanations.shapley import shapley_values, term_shapley_values
from eigenserve.model.explanations.tables import ExplainedRows
from eigenserve.model.predictor import ClassLabel, Predictor
from eigenserve.model.rows.baseline import baseline_columns

#: Methods of ``explain``.
METHODS = ("integrated", "eigenvector", "shapley", "shapley_terms", "path")
#: Those that compare with a reference, and those that compare with a baseline row.
OF_REFERENCE, OF_BASELINE = ("integrated", "shapley_terms"), ("shapley", "path")
#: Rows between two looks at whether anybody still waits: up to seconds for paths and for 16 features of "shapley".
ROWS_AT_ONCE = 32


def check_comparison(method: str, reference: bool, baseline: bool) -> None:
    """Refuse a reference, or a baseline, for a method that compares with something else.

    Raises:
        ValueError: saying which method takes it.
    """
    if reference and method not in OF_REFERENCE:
        raise ValueError(
            f'reference must be left out for the method "{method}"; "integrated" and "shapley_terms" take one'
        )
    if baseline and method not in OF_BASELINE:
        raise ValueError(f'baseline must be left out for the method "{method}"; "shapley" and "path" take one')


def explain(
    predictor: Predictor,
    columns: FloatArray,
    method: str = METHODS[0],
    target: ClassLabel | None = None,
    baseline: FloatArray | None = None,
    reference: Reference | None = None,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Explanation:
    """Explain columns (N, F) as ``FeatureSpace.encode`` gives them.

    Args:
        predictor: what scores.
        columns: the rows.
        method, target, seed: as for ``SpectralModel.explain``.
        baseline: columns of what "path" and "shapley" compare with, (F,), or (B, F) for a sample: then the values
            are the means of those against each of its rows; the typical row by default.
        reference: what "integrated" and "shapley_terms" compare with; the training average by default.
        check: called now and then while it takes long; it may raise, to give up.

    Raises:
        ValueError: unknown method or class.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if method == "integrated":
        return explain_integrated(predictor, columns, target, reference, check)
    by_eigenvector = explain_by_eigenvector(predictor, columns, target)
    if method == "eigenvector":
        return by_eigenvector
    features, ensemble, outputs = predictor.features, predictor.ensemble, by_eigenvector.outputs
    coordinates = features.coordinates(columns)
    if method == "shapley_terms":
        population = training_reference(predictor) if reference is None else reference
        means = population.term_matrices(ensemble.pencil)
        shapley, spread = np.empty(by_eigenvector.contributions.shape), np.empty(by_eigenvector.contributions.shape)
        for first in range(0, len(coordinates), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            shapley[some], spread[some] = term_shapley_values(
                ensemble, coordinates[some], means, outputs[some], seed, check
            )
        return replace(
            by_eigenvector,
            method=method,
            baseline=outputs @ population.scores(ensemble),
            contributions=shapley,
            standard_error=spread,
            reference=population.name,
        )
    starts = features.coordinates(np.atleast_2d(baseline_columns(features) if baseline is None else baseline))
    values = np.zeros(coordinates.shape)
    # The permutations are the same for each: so are their errors, and the mean's is at most the errors' mean.
    errors = None if method == "path" else np.zeros(coordinates.shape)
    for start, first in product(starts, range(0, len(coordinates), ROWS_AT_ONCE)):
        check()
        some = slice(first, first + ROWS_AT_ONCE)
        if errors is None:
            values[some] += path_values(predictor, coordinates[some], start, outputs[some])
        else:
            part, error = shapley_values(ensemble, coordinates[some], start, outputs[some], seed, check)
            values[some] += part
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
