"""Explain a score exactly by the eigenvector that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    count = len(columns)
    scores, outputs = np.empty((count, ensemble.num_outputs)), np.empty((count, ensemble.num_outputs))
    parts = Decomposition.zeros(count, len(ensemble.pencil.terms), len(features))
    gap = np.empty(count)
    if target is not None:
        predictor.position_of(target)

    def work(start: int, stop: int) -> None:
        room = _room(ensemble, min(CHUNK_ROWS, stop - start))
        for first in range(start, stop, CHUNK_ROWS):
            rows = slice(first, min(first + CHUNK_ROWS, stop))
            solved = solve_rows(ensemble, coordinates[rows], room)
            solved.gaps.min(axis=1, out=gap[rows])
            ensemble.combine(solved.eigenvalues, scores[rows])
            outputs[rows] = predictor.outputs(columns[rows], target, scores[rows])
            decompose(ensemble, solved, outputs[rows], parts.at(rows))

    for_ranges(count, CHUNK_ROWS, work)
    return Explanation(
        method="eigenvector",
        terms=tuple(term.name for term in ensemble.pencil.terms),
        features=tuple(feature.name for feature in features.features if feature.kind == "numeric"),
        scores=scores,
        outputs=outputs,
        score=chosen(scores, outputs),
        baseline=parts.constant + outputs @ ensemble.offset,
        contributions=parts.terms,
        sensitivities=sensitivities(predictor, columns, parts.slopes),
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


def decompose(ensemble: SpectralEnsemble, solved: SolvedRows, outputs: FloatArray, into: Decomposition) -> None:
    """Take a score of each solved row apart by its eigenvectors.

    Args:
        ensemble: what scored them.
        solved: the N rows.
        outputs: (N, O), which output is taken, and its sign: one entry of each row is not zero.
        into: zeros to add them to.
    """
    output, sign = output_and_sign(outputs)
    vectors = heads_of(ensemble, solved.eigenvectors, output)
    forms = np.empty((*vectors.shape[:2], 2 * vectors.shape[2] - 1))
    weighted_forms(vectors, ensemble.member_weights, forms)
    if (sign != 1.0).any():
        forms *= sign[:, None, None]
    decompose_forms(ensemble, solved.walk, forms, output, into)


def output_and_sign(outputs: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the position (N,) and the value (N,) of the entry of each row of (N, O) that is not zero."""
    output = np.abs(outputs).argmax(axis=1)
    return output, outputs[np.arange(len(outputs)), output]


def heads_of(ensemble: SpectralEnsemble, values: FloatArray, output: NDArray[np.int64]) -> FloatArray:
    """Take of values (N, H, ...) those of each row's output, (N, G, ...)."""
    if ensemble.num_outputs == 1:
        return values
    return values[np.arange(len(values))[:, None], own_heads(ensemble, output)]


def own_heads(ensemble: SpectralEnsemble, output: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the heads (N, G) of each row's output (N,)."""
    members = len(ensemble.member_weights)
    return output[:, None] * members + np.arange(members)


def decompose_forms(
    ensemble: SpectralEnsemble, walk: Walk, forms: FloatArray, output: NDArray[np.int64], into: Decomposition
) -> None:
    """Add to ``into`` the products of forms (N, G, 2n - 1) with the matrices of each row's output (N,) alone."""
    for heads, rows in by_output(ensemble, output):
        if isinstance(rows, slice):
            ensemble.pencil.decompose(walk, forms, heads, into)
            continue
        part = Decomposition.zeros(len(rows), into.terms.shape[1], into.slopes.shape[1])
        ensemble.pencil.decompose(walk.at(rows), forms[rows], heads, part)
        for whole, found in zip(into, part, strict=True):
            whole[rows] += found


def by_output(
    ensemble: SpectralEnsemble, output: NDArray[np.int64]
) -> Iterator[tuple[slice, slice | NDArray[np.int64]]]:
    """Yield the heads of each output that is in (N,), with its rows: a slice where it is that of all rows."""
    present = np.unique(output)
    for own in present:
        yield ensemble.heads(int(own)), slice(None) if len(present) == 1 else np.flatnonzero(output == own)


def sensitivities(predictor: Predictor, columns: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return d(score)/dx (N, F') of the numeric features, of slopes by coordinates (N, F)."""
    features = predictor.features.features
    numeric = [i for i, feature in enumerate(features) if feature.kind == "numeric"]
    taken = slopes[:, numeric]
    for place, i in enumerate(numeric):
        taken[:, place] *= features[i].coordinate_slope(columns[:, i])
    return taken


def chosen(values: FloatArray, outputs: FloatArray) -> FloatArray:
    """Combine values (N, O) by outputs (N, O) into (N,)."""
    return values[:, 0] * outputs[:, 0] if outputs.shape[1] == 1 else np.einsum("no,no->n", values, outputs)
