"""The eigenvector method: a score taken apart by the eigenvector that belongs to it."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenpairs_and_gaps
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.tables import ExplainedRows
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import CHUNK_ROWS, SpectralEnsemble
from eigenserve.model.predictor import ClassLabel, Predictor


def explain_by_eigenvector(predictor: Predictor, columns: FloatArray, target: ClassLabel | None = None) -> Explanation:
    """Return the explanation of columns (N, F) by their eigenvectors.

    All outputs are solved once; which one is explained (see ``Predictor.outputs``) is read off their scores.
    """
    features, ensemble = predictor.features, predictor.ensemble
    coordinates = features.coordinates(columns)
    count, num_outputs = len(columns), ensemble.num_outputs
    scores = np.empty((count, num_outputs))
    constant = np.empty((count, num_outputs))
    terms = np.empty((count, len(ensemble.pencil.terms), num_outputs))
    slopes = np.zeros((count, len(features), num_outputs))
    gap = np.empty(count)

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, CHUNK_ROWS):
            rows = slice(first, min(first + CHUNK_ROWS, stop))
            parts = (part[rows] for part in (scores, constant, terms, slopes, gap))
            _explain_chunk(ensemble, coordinates[rows], *parts)

    for_ranges(count, CHUNK_ROWS, work)
    outputs = predictor.outputs(columns, target, scores)
    numeric = [i for i, feature in enumerate(features.features) if feature.kind == "numeric"]
    chain = [features.features[i].coordinate_slope(columns[:, i]) for i in numeric]
    return Explanation(
        method="eigenvector",
        terms=tuple(term.name for term in ensemble.pencil.terms),
        features=tuple(features.names[i] for i in numeric),
        scores=scores,
        outputs=outputs,
        score=_chosen(scores, outputs),
        baseline=_chosen(constant + ensemble.offset, outputs),
        contributions=_chosen(terms, outputs),
        sensitivities=_chosen(slopes[:, numeric], outputs) * np.array(chain).reshape(len(numeric), count).T,
        gap=gap,
        rows=ExplainedRows(features, columns, tuple(term.features for term in ensemble.pencil.terms)),
    )


def _chosen(values: FloatArray, outputs: FloatArray) -> FloatArray:
    """Select the chosen output of each row: (N, ..., O) and (N, O) -> (N, ...)."""
    if outputs.shape[1] == 1:
        return values[..., 0] * outputs[:, 0].reshape(-1, *(1,) * (values.ndim - 2))
    return np.einsum("n...o,no->n...", values, outputs)


def _explain_chunk(
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    scores: FloatArray,
    constant: FloatArray,
    terms: FloatArray,
    slopes: FloatArray,
    gap: FloatArray,
) -> None:
    pencil, k = ensemble.pencil, ensemble.eig_idx
    walk = pencil.curves.walk(coordinates)
    diag, off_diag = pencil.matrices(walk)
    n = diag.shape[2]
    eigenvalues, eigenvectors, gaps = np.empty(diag.shape[:2]), np.empty(diag.shape), np.empty(diag.shape[:2])
    solve_eigenpairs_and_gaps(
        diag.reshape(-1, n),
        off_diag.reshape(eigenvalues.size, n - 1),
        k,
        eigenvalues.reshape(-1),
        eigenvectors.reshape(-1, n),
        gaps.reshape(-1),
    )
    gaps.min(axis=1, out=gap)
    ensemble.combine(eigenvalues, scores)
    weights = np.tile(ensemble.member_weights, (ensemble.num_outputs, 1))
    constant[:], terms[:], chunk_slopes = pencil.decompose(walk, eigenvectors, weights)
    slopes[:, : chunk_slopes.shape[1]] = chunk_slopes
