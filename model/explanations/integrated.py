"""Integrate the eigenvector explanation along the straight line of matrices from a reference to the row.

With A the mean matrix of a reference population, T(s) = A + s (T(x) - A) and v(s) the eigenvector of T(s),

    c_t = integral over s in [0, 1] of  v(s)' (M_t(x_t) - mean of M_t) v(s)

adds up to lambda(T(x)) - lambda(A): Aumann-Shapley values (1974) with the terms' matrices as players. The baseline,
lambda(A), is the same number for every row that is explained for the same class, or for the only output; nothing
depends on coordinates or on knots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenpairs
from eigenserve.model.explanations.averaged_forms import Lines, averaged_forms
from eigenserve.model.explanations.eigenvector import (
    SolvedRows,
    by_output,
    chosen,
    decompose,
    decompose_forms,
    heads_of,
    output_and_sign,
    own_heads,
    sensitivities,
    solve_rows,
)
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.reference import Reference, training_reference
from eigenserve.model.explanations.tables import ExplainedRows
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import CHUNK_ROWS
from eigenserve.model.matrices.pencil import Decomposition
from eigenserve.model.predictor import ClassLabel, Predictor


def explain_integrated(
    predictor: Predictor,
    columns: FloatArray,
    target: ClassLabel | None = None,
    reference: Reference | None = None,
    check: Callable[[], None] = lambda: None,
) -> Explanation:
    """Return the integrated explanation of columns (N, F), against a reference or the training average."""
    features, ensemble, pencil = predictor.features, predictor.ensemble, predictor.ensemble.pencil
    start = _Start(predictor, training_reference(predictor) if reference is None else reference)
    if target is not None:
        predictor.position_of(target)
    coordinates = features.coordinates(columns)
    count = len(columns)
    scores, outputs = np.empty((count, ensemble.num_outputs)), np.empty((count, ensemble.num_outputs))
    terms, gap = np.empty((count, len(pencil.terms))), np.empty(count)
    local = Decomposition.zeros(count, len(pencil.terms), len(features))

    def work(first_row: int, last_row: int) -> None:
        for first in range(first_row, last_row, CHUNK_ROWS):
            check()
            rows = slice(first, min(first + CHUNK_ROWS, last_row))
            solved = solve_rows(ensemble, coordinates[rows])
            solved.gaps.min(axis=1, out=gap[rows])
            ensemble.combine(solved.eigenvalues, scores[rows])
            outputs[rows] = predictor.outputs(columns[rows], target, scores[rows])
            decompose(ensemble, solved, outputs[rows], local.at(rows))
            scale = np.abs(local.terms[rows]).max(axis=1, initial=0.0)
            terms[rows] = start.contributions(solved, outputs[rows], scale)

    for_ranges(count, CHUNK_ROWS, work)
    score, baseline = chosen(scores, outputs), outputs @ start.scores
    remainder = score - baseline - terms.sum(axis=1)
    return Explanation(
        method="integrated",
        terms=tuple(term.name for term in pencil.terms),
        features=tuple(feature.name for feature in features.features if feature.kind == "numeric"),
        scores=scores,
        outputs=outputs,
        score=score,
        baseline=baseline,
        contributions=_spread(terms, remainder),
        sensitivities=sensitivities(predictor, columns, local.slopes),
        gap=gap,
        reference=start.reference.name,
        remainder=remainder,
        rows=ExplainedRows(features, columns, tuple(term.features for term in pencil.terms)),
    )


def _spread(terms: FloatArray, remainder: FloatArray) -> FloatArray:
    """Share out remainders (N,) among contributions (N, T) in proportion to their sizes; evenly where all are zero."""
    sizes = np.abs(terms)
    total = sizes.sum(axis=1, keepdims=True)
    even = np.full(terms.shape, 1.0 / max(1, terms.shape[1]))
    return terms + remainder[:, None] * np.divide(sizes, total, out=even, where=total > 0.0)


class _Start:
    """Hold where all lines begin: the reference's matrices, their eigenpairs and scores."""

    def __init__(self, predictor: Predictor, reference: Reference) -> None:
        self.reference, self.ensemble = reference, predictor.ensemble
        pencil, self.features = self.ensemble.pencil, len(predictor.features)
        self.diag, self.off_diag, self.means = pencil.constant_diag, pencil.constant_off_diag, None
        if reference.shares.any():
            diag, off_diag = reference.term_matrices(pencil)
            # (H, (2n - 1), T): what the mean matrices of the terms take from the contributions.
            self.means = np.concatenate([diag, off_diag], axis=2).transpose(1, 2, 0)
            self.diag, self.off_diag = self.diag + diag.sum(axis=0), self.off_diag + off_diag.sum(axis=0)
        self.values, self.vectors = np.empty(pencil.num_heads), np.empty((pencil.num_heads, pencil.dim))
        solve_eigenpairs(self.diag, self.off_diag, self.ensemble.eig_idx, self.values, self.vectors)
        self.scores = np.empty((1, self.ensemble.num_outputs))
        self.ensemble.combine(self.values[None], self.scores)
        self.scores = self.scores[0]

    def contributions(self, solved: SolvedRows, outputs: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the contributions (N, T) of rows, of the combination of outputs (N, O)."""
        ensemble, members = self.ensemble, len(self.ensemble.member_weights)
        output, sign = output_and_sign(outputs)
        # Only the heads of the output that is explained have lines.
        own = own_heads(ensemble, output)
        solved_parts = (solved.diag, solved.off_diag, solved.eigenvalues, solved.eigenvectors)
        diag, off_diag, values, vectors = (heads_of(ensemble, part, output) for part in solved_parts)
        count, _, n = diag.shape
        lines = Lines(
            own.ravel(),
            *(self.diag, self.off_diag, self.values, self.vectors),
            *(
                diag.reshape(-1, n),
                off_diag.reshape(count * members, n - 1),
                values.reshape(-1),
                vectors.reshape(-1, n),
            ),
        )
        # Independent errors: that of a weighted mean is the root of the sum of squared weights of each.
        scale = scale / np.sqrt((ensemble.member_weights**2).sum())
        forms = averaged_forms(lines, ensemble.eig_idx, np.repeat(scale, members)).reshape(count, members, 2 * n - 1)
        forms *= (sign[:, None] * ensemble.member_weights)[:, :, None]
        parts = Decomposition.zeros(count, len(ensemble.pencil.terms), self.features)
        decompose_forms(ensemble, solved.walk, forms, output, parts)
        if self.means is not None:
            for heads, rows in by_output(ensemble, output):
                parts.terms[rows] -= forms[rows].reshape(-1, members * (2 * n - 1)) @ self.means[heads].reshape(
                    members * (2 * n - 1), -1
                )
        return parts.terms
