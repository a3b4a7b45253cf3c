"""Design: rows that stand on curves as a linear map from parameters to scores, of which no matrix is ever made.

A row touches two matrices of every curve, so scores, and the sums that a gradient or a Hessian's product needs, take
memory and time in proportion to rows, curves and parameters. Several coefficient vectors, the *lanes* (one for each
fold and output), are carried through each pass side by side, so that a row's places are read once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.lanes import LANES_F64
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.training.additive import design_kernels
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import IDENTITY, RAMPS

#: Rows are summed in so many parts, whatever the number of threads, so that sums round the same everywhere.
PARTS = 8
#: A part is worth its overhead from so many places and lanes on (about half a millisecond of work).
PART_WORK = 100_000
#: Numbers in the sums of all parts together: 64 MB.
MAX_SUMS = 8_000_000


class Design:
    """Map parameters to scores, and slopes of scores to slopes of parameters, for the rows of a table on curves.

    Args:
        bases: the curves.
        starts, weights: (N, C), where each row stands.
        lanes: how many coefficient vectors are carried at once.
        parts: that the rows are summed in, at most.
    """

    def __init__(
        self,
        bases: Sequence[CurveBasis],
        starts: NDArray[np.int32],
        weights: NDArray[np.float32],
        lanes: int,
        parts: int = PARTS,
    ) -> None:
        self.bases, self.starts, self.weights, self.lanes = bases, starts, weights, lanes
        #: R + 1 and P + 1: matrices and parameters of all curves, and the constant.
        self.matrices = 1 + sum(basis.curve.num_matrices for basis in bases)
        self.params = 1 + sum(basis.num_params for basis in bases)
        self._shapes = _shapes(bases)
        self.blocks = -(-lanes // LANES_F64)
        size = self.matrices * self.blocks * LANES_F64
        work = starts.size * self.blocks * LANES_F64
        self._parts = int(np.clip(min(work // PART_WORK, MAX_SUMS // size), 1, parts))
        self._sums = np.empty((self._parts, self.matrices * self.blocks, LANES_F64))
        self._step = -(-len(starts) // self._parts)

    def scores(self, params: FloatArray) -> FloatArray:
        """Map parameters (P + 1, L), the offset last, to scores (N, L)."""
        table, out = self._table(params), self.empty()

        def work(first: int, last: int) -> None:
            for part in range(first, last):
                rows = slice(part * self._step, (part + 1) * self._step)
                design_kernels.gather(self.starts[rows], self.weights[rows], table, out[rows], self.blocks)

        for_ranges(self._parts, 1, work)
        return out[:, : self.lanes]

    def pull(self, slopes: FloatArray) -> FloatArray:
        """Map slopes of scores (N, L) to those of parameters, (P + 1, L)."""
        wide = self.padded(slopes)

        def work(first: int, last: int) -> None:
            for part in range(first, last):
                rows = slice(part * self._step, (part + 1) * self._step)
                self._sums[part] = 0.0
                design_kernels.scatter(self.starts[rows], self.weights[rows], wide[rows], self._sums[part], self.blocks)

        for_ranges(self._parts, 1, work)
        return self._pulled()

    def product(self, params: FloatArray, curvature: FloatArray, groups: int, shares: FloatArray) -> FloatArray:
        """Multiply parameters by a Hessian: design' bend design params, (P + 1, L).

        Args:
            params: (P + 1, L).
            curvature: (N, L padded), d2(loss)/d(score)2 of each lane by its row's weight; with ``groups``, the
                probabilities of softmax instead.
            groups: 0, or how many vectors of classes the lanes hold: then the bend is diag(p) - p p' within each.
            shares: (N, groups), the rows' weights in each of those; unused without.
        """
        table = self._table(params)
        outputs = self.lanes // groups if groups else 0

        def work(first: int, last: int) -> None:
            for part in range(first, last):
                rows = slice(part * self._step, (part + 1) * self._step)
                self._sums[part] = 0.0
                places = self.starts[rows], self.weights[rows]
                if groups:
                    design_kernels.class_product(
                        *places, curvature[rows], shares[rows], outputs, table, self._sums[part], self.blocks
                    )
                else:
                    design_kernels.product(*places, curvature[rows], table, self._sums[part], self.blocks)

        for_ranges(self._parts, 1, work)
        return self._pulled()

    def tridiagonals(self, bend: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the diagonal blocks of design' diag(bend) design by curve, which are tridiagonal.

        bend: (N, G) -> diagonals (R + 1, G), the constant last, and the off-diagonals from each matrix to the next.
        """
        diag, off_diag = np.zeros((2, self.matrices, bend.shape[1]))
        design_kernels.tridiagonals(self.starts, self.weights, np.ascontiguousarray(bend), diag, off_diag)
        return diag, off_diag

    def empty(self) -> FloatArray:
        """Allocate (N, L padded) for what has a number for each row and lane."""
        return np.empty((len(self.starts), self.blocks * LANES_F64))

    def padded(self, values: FloatArray) -> FloatArray:
        """Pad (N, L) with zeros to (N, L padded)."""
        out = self.empty()
        out[:, : self.lanes] = values
        out[:, self.lanes :] = 0.0
        return out

    def _table(self, params: FloatArray) -> FloatArray:
        wide = np.zeros((self.params, self.blocks * LANES_F64))
        wide[:, : self.lanes] = params
        table = np.empty((self.matrices * self.blocks, LANES_F64))
        design_kernels.expand(*self._shapes, wide.reshape(-1, LANES_F64), table, self.blocks)
        return table

    def _pulled(self) -> FloatArray:
        total = self._sums.sum(axis=0) if self._parts > 1 else self._sums[0].copy()
        out = np.empty((self.params * self.blocks, LANES_F64))
        design_kernels.reduce(*self._shapes, total, out, self.blocks)
        return out.reshape(self.params, -1)[:, : self.lanes]


def _shapes(bases: Sequence[CurveBasis]) -> tuple[NDArray[np.int64], FloatArray]:
    """Return (C + 1, 5) of each curve, and the constant: form, parameters, matrices, range of its numbers; the numbers.

    The numbers are the knots of a curve of ramps, and the matrix of a dense one.
    """
    shapes, numbers, at = [], [np.empty(0)], 0
    for basis in bases:
        kept = np.empty(0) if basis.matrix is None else basis.matrix.ravel()
        if basis.form == RAMPS:
            kept = np.array(basis.curve.knots)
        form = IDENTITY if basis.matrix is None else basis.form
        shapes.append((form, basis.num_params, basis.curve.num_matrices, at, at + len(kept)))
        numbers.append(kept)
        at += len(kept)
    return np.array([*shapes, (IDENTITY, 1, 1, at, at)], np.int64), np.concatenate(numbers)
