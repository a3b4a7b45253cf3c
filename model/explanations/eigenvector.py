"""Explain a score exactly by the eigenvector that belongs to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenpairs_and_gaps
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.tables import ExplainedRows
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.curves import Walk
from eigenserve.model.matrices.ensemble import CHUNK_ROWS, SpectralEnsemble
from eigenserve.model.matrices.pencil import Decomposition, weighted_forms
from eigenserve.model.predictor import ClassLabel, Predictor


def explain_by_eigenvector(predictor: Predictor, columns: FloatArray, target: ClassLabel | None = None) -> Explanation:
    """Return the explanation of columns (N, F) by their eigenvectors.

    All outputs are solved once; which one is explained (see ``Predictor.outputs``) is read off their scores.
    """
    features, ensemble = predictor.features, predictor.ensemble
    coordinates = features.coordinates(columns)
    count, num_outputs = len(columns), ensemble.num_outputs
    scores = np.empty((count, num_outputs))
    parts = Decomposition.zeros(count, len(ensemble.pencil.terms), len(features), num_outputs)
    gap = np.empty(count)

    def work(start: int, stop: int) -> None:
        room = _room(ensemble, min(CHUNK_ROWS, stop - start))
        for first in range(start, stop, CHUNK_ROWS):
            rows = slice(first, min(first + CHUNK_ROWS, stop))
            solved = solve_rows(ensemble, coordinates[rows], room)
            solved.gaps.min(axis=1, out=gap[rows])
            ensemble.combine(solved.eigenvalues, scores[rows])
            decompose(ensemble, solved, parts.at(rows))

    for_ranges(count, CHUNK_ROWS, work)
    outputs = predictor.outputs(columns, target, scores)
    return Explanation(
        method="eigenvector",
        terms=tuple(term.name for term in ensemble.pencil.terms),
        features=tuple(feature.name for feature in features.features if feature.kind == "numeric"),
        scores=scores,
        outputs=outputs,
        score=chosen(scores, outputs),
        baseline=chosen(parts.constant + ensemble.offset, outputs),
        contributions=chosen(parts.terms, outputs),
        sensitivities=sensitivities(predictor, columns, chosen(parts.slopes, outputs)),
        gap=gap,
        rows=ExplainedRows(features, columns, tuple(term.features for term in ensemble.pencil.terms)),
    )


class SolvedRows(NamedTuple):
    """Rows with the eigenpairs of all their heads.

    Attributes:
        walk: where they stand on the curves.
        diag, off_diag: T, (N, H, n) and (N, H, n - 1).
        eigenvalues, eigenvectors, gaps: (N, H), (N, H, n) and (N, H).
    """

    walk: Walk
    diag: FloatArray
    off_diag: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    gaps: FloatArray


def _room(ensemble: SpectralEnsemble, count: int) -> SolvedRows:
    """Return room for `solve_rows`."""
    pencil = ensemble.pencil
    diag, off_diag = pencil.room(count)
    values, gaps = np.empty(diag.shape[:2]), np.empty(diag.shape[:2])
    return SolvedRows(pencil.curves.room(count), diag, off_diag, values, np.empty(diag.shape), gaps)


def solve_rows(ensemble: SpectralEnsemble, coordinates: FloatArray, into: SolvedRows | None = None) -> SolvedRows:
    """Solve rows of coordinates (N, F); written ``into`` the arrays of earlier ones, at least as many, if given."""
    pencil, count = ensemble.pencil, len(coordinates)
    room = _room(ensemble, count) if into is None else into
    walk = pencil.curves.walk(coordinates, room.walk)
    diag, off_diag = pencil.matrices(walk, (room.diag, room.off_diag))
    eigenvalues, eigenvectors, gaps = room.eigenvalues[:count], room.eigenvectors[:count], room.gaps[:count]
    n = pencil.dim
    solve_eigenpairs_and_gaps(
        diag.reshape(-1, n),
        off_diag.reshape(eigenvalues.size, n - 1),
        ensemble.eig_idx,
        eigenvalues.reshape(-1),
        eigenvectors.reshape(-1, n),
        gaps.reshape(-1),
    )
    return SolvedRows(walk, diag, off_diag, eigenvalues, eigenvectors, gaps)


def decompose(ensemble: SpectralEnsemble, solved: SolvedRows, into: Decomposition | None = None) -> Decomposition:
    """Take the scores of solved rows apart by their eigenvectors; added ``into`` zeros, if given."""
    count, heads, n = solved.diag.shape
    forms = np.empty((count, heads, 2 * n - 1))
    weighted_forms(solved.eigenvectors, ensemble.member_weights, forms)
    return ensemble.pencil.decompose(solved.walk, forms, ensemble.num_outputs, into)


def sensitivities(predictor: Predictor, columns: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return d(score)/dx (N, F') of the numeric features, of slopes by coordinates (N, F)."""
    features = predictor.features.features
    numeric = [i for i, feature in enumerate(features) if feature.kind == "numeric"]
    taken = slopes[:, numeric]
    for place, i in enumerate(numeric):
        taken[:, place] *= features[i].coordinate_slope(columns[:, i])
    return taken


def chosen(values: FloatArray, outputs: FloatArray) -> FloatArray:
    """Combine (N, ..., O) by outputs (N, O) into (N, ...)."""
    if outputs.shape[1] == 1:
        if (outputs == 1.0).all():
            return values[..., 0]
        return values[..., 0] * outputs[:, 0].reshape(-1, *(1,) * (values.ndim - 2))
    return np.einsum("n...o,no->n...", values, outputs)
