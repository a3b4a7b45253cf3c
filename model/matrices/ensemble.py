"""Combine the members' eigenvalues into their weighted mean, the score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenvalues
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.pencil import TridiagonalPencil

#: Rows taken through the whole pipeline together: their matrices stay in the second-level cache
#: (256 rows x 8 heads x 29 numbers = 475 kB) and the calls' overhead is spread thin.
CHUNK_ROWS = 256


@dataclass(frozen=True)
class SpectralEnsemble:
    """Compute score_o(x) = offset_o + sum over members g of weight_g lambda_k(T_og(x)).

    Attributes:
        pencil: the matrices of H = O G heads.
        eig_idx: k, counted from zero in ascending order.
        member_weights: (G,), at least zero, with sum 1.
        offset: (O,).
    """

    pencil: TridiagonalPencil
    eig_idx: int
    member_weights: FloatArray
    offset: FloatArray

    def __post_init__(self) -> None:
        outputs, members = len(self.offset), len(self.member_weights)
        if self.pencil.num_heads != outputs * members:
            raise ValueError(
                f"{outputs} outputs of {members} members need {outputs * members} heads; got {self.pencil.num_heads}"
            )
        if not isinstance(self.eig_idx, int) or not 0 <= self.eig_idx < self.pencil.dim:
            raise ValueError(f"eig_idx must be in [0, {self.pencil.dim}); got {self.eig_idx}")
        if (self.member_weights < 0).any() or not np.isclose(self.member_weights.sum(), 1.0):
            raise ValueError(f"member weights must be at least 0 with sum 1; got {self.member_weights}")
        if not np.isfinite(self.offset).all():
            raise ValueError(f"offsets must be finite; got {self.offset}")

    @property
    def num_outputs(self) -> int:
        """Count the outputs O: one, or one per class."""
        return len(self.offset)

    def heads(self, output: int) -> slice:
        """Return the heads that score an output."""
        members = len(self.member_weights)
        return slice(output * members, (output + 1) * members)

    def alone(self, output: int) -> SpectralEnsemble:
        """Return the ensemble of one output, without what the others take."""
        heads, pencil = self.heads(output), self.pencil
        own = replace(
            pencil,
            constant_diag=pencil.constant_diag[heads],
            constant_off_diag=pencil.constant_off_diag[heads],
            diag=pencil.diag[:, heads],
            off_diag=pencil.off_diag[:, heads],
        )
        return replace(self, pencil=own, offset=self.offset[output : output + 1])

    def scores(self, coordinates: FloatArray) -> FloatArray:
        """Score coordinates (N, F): (N, O). A row's score does not depend on the other rows."""
        scores = np.empty((len(coordinates), self.num_outputs))

        pencil = self.pencil

        def work(start: int, stop: int) -> None:
            most = min(CHUNK_ROWS, stop - start)
            walk, matrices = pencil.curves.room(most), pencil.room(most)
            for first in range(start, stop, CHUNK_ROWS):
                rows = slice(first, min(first + CHUNK_ROWS, stop))
                diag, off_diag = pencil.matrices(pencil.curves.walk(coordinates[rows], walk), matrices)
                self.combine(self.eigenvalues(diag, off_diag, self.eig_idx), scores[rows])

        for_ranges(len(coordinates), CHUNK_ROWS, work)
        return scores

    def eigenvalues(self, diag: FloatArray, off_diag: FloatArray, eig_idx: int) -> FloatArray:
        """Return the eig_idx-th eigenvalue of every head, (N, H)."""
        out = np.empty(diag.shape[:2])
        n = diag.shape[2]
        # Not reshape(-1, n - 1): for n = 1 NumPy could not infer how many matrices there are.
        solve_eigenvalues(diag.reshape(-1, n), off_diag.reshape(out.size, n - 1), eig_idx, out.reshape(-1))
        return out

    def combine(self, eigenvalues: FloatArray, scores: FloatArray) -> None:
        """Combine eigenvalues (N, H) into scores (N, O), written into ``scores``."""
        _combine(eigenvalues, self.member_weights, self.offset, scores)


@kernel
def _combine(eigenvalues: Any, member_weights: Any, offset: Any, scores: Any) -> None:
    members = len(member_weights)
    for j in range(len(scores)):
        for o in range(len(offset)):
            total = 0.0
            for g in range(members):
                total += member_weights[g] * eigenvalues[j, o * members + g]
            scores[j, o] = offset[o] + total
