"""Design: rows that stand on curves as a linear map from parameters to scores, of which no matrix is ever made.

A row touches two matrices of every curve, so scores, and the sums that a gradient or a Hessian's product needs, take
memory and time in proportion to rows, curves and parameters. Several coefficient vectors, the *lanes* (one for each
fold and output), are carried through each pass side by side, so that a row's places are read once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model import kernels
from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.lanes import LANES_F64, load, rows_of, store
from eigenserve.model.kernels.source_digest import source_digest
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels import ramps
from eigenserve.training.kernels.layout import DENSE, IDENTITY, RAMPS
from eigenserve.training.kernels.ramps import expand_ramps, reduce_ramps

#: Rows are summed in so many parts, whatever the number of threads, so that sums round the same everywhere.
PARTS = 8
#: A part is worth its overhead from so many places and lanes on (about half a millisecond of work).
PART_WORK = 100_000
#: Numbers in the sums of all parts together: 64 MB.
MAX_SUMS = 8_000_000
#: What the kernels here are compiled from.
KERNEL_SOURCES = (Path(kernels.__path__[0]), Path(ramps.__file__), Path(__file__))


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
            for piece in range(first, last):
                rows = slice(piece * self._step, (piece + 1) * self._step)
                _gather(self.starts[rows], self.weights[rows], table, out[rows], self.blocks)

        for_ranges(self._parts, 1, work)
        return out[:, : self.lanes]

    def pull(self, slopes: FloatArray) -> FloatArray:
        """Map slopes of scores (N, L) to those of parameters, (P + 1, L)."""
        wide = self.padded(slopes)

        def work(first: int, last: int) -> None:
            for piece in range(first, last):
                rows = slice(piece * self._step, (piece + 1) * self._step)
                self._sums[piece] = 0.0
                _scatter(self.starts[rows], self.weights[rows], wide[rows], self._sums[piece], self.blocks)

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
            for piece in range(first, last):
                rows = slice(piece * self._step, (piece + 1) * self._step)
                self._sums[piece] = 0.0
                places = self.starts[rows], self.weights[rows]
                if groups:
                    _class_product(
                        *places, curvature[rows], shares[rows], outputs, table, self._sums[piece], self.blocks
                    )
                else:
                    _product(*places, curvature[rows], table, self._sums[piece], self.blocks)

        for_ranges(self._parts, 1, work)
        return self._pulled()

    def tridiagonals(self, bend: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the diagonal blocks of design' diag(bend) design by curve, which are tridiagonal.

        bend: (N, G) -> diagonals (R + 1, G), the constant last, and the off-diagonals from each matrix to the next.
        """
        diag, off_diag = np.zeros((2, self.matrices, bend.shape[1]))
        _tridiagonals(self.starts, self.weights, np.ascontiguousarray(bend), diag, off_diag)
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
        _expand(*self._shapes, wide.reshape(-1, LANES_F64), table, self.blocks)
        return table

    def _pulled(self) -> FloatArray:
        total = self._sums.sum(axis=0) if self._parts > 1 else self._sums[0].copy()
        out = np.empty((self.params * self.blocks, LANES_F64))
        _reduce(*self._shapes, total, out, self.blocks)
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


@part(forceinline=True)
def _row_scores(starts: Any, weights: Any, j: Any, table: Any, constant: Any, b: Any, blocks: Any) -> Any:
    total = load(table, constant + b)
    for c in range(starts.shape[1]):
        here = np.int64(starts[j, c]) * blocks + b
        w = np.float64(weights[j, c])
        first = load(table, here)
        total = total + first
        if w != 0.0:
            total = total + (load(table, here + blocks) - first) * w
    return total


@part(forceinline=True)
def _add_row(starts: Any, weights: Any, j: Any, value: Any, sums: Any, constant: Any, b: Any, blocks: Any) -> None:
    store(sums, constant + b, load(sums, constant + b) + value)
    for c in range(starts.shape[1]):
        here = np.int64(starts[j, c]) * blocks + b
        w = np.float64(weights[j, c])
        if w != 0.0:
            share = value * w
            store(sums, here + blocks, load(sums, here + blocks) + share)
            store(sums, here, load(sums, here) + (value - share))
        else:
            store(sums, here, load(sums, here) + value)


def _cached(sources: int) -> tuple[Any, ...]:
    """Compile the kernels to disk; they capture ``sources`` (see model.kernels.source_digest)."""

    @kernel
    def expand(shapes: Any, numbers: Any, params: Any, table: Any, blocks: Any) -> None:
        if sources < 0:
            return
        p0 = first = 0
        for form, count, matrices, at, end in shapes:
            if form == RAMPS:
                expand_ramps(params, table, p0, first, numbers[at:end], matrices, blocks)
            elif form == DENSE:
                for r in range(matrices * blocks):
                    m, b = r // blocks, r % blocks
                    total = load(params, p0 * blocks + b) * numbers[at + m * count]
                    for p in range(1, count):
                        total = total + load(params, (p0 + p) * blocks + b) * numbers[at + m * count + p]
                    store(table, first * blocks + r, total)
            else:
                for r in range(count * blocks):
                    store(table, first * blocks + r, load(params, p0 * blocks + r))
            p0, first = p0 + count, first + matrices

    @kernel
    def reduce(shapes: Any, numbers: Any, table: Any, params: Any, blocks: Any) -> None:
        if sources < 0:
            return
        p0 = first = 0
        for form, count, matrices, at, end in shapes:
            if form == DENSE:
                for r in range(count * blocks):
                    p, b = r // blocks, r % blocks
                    total = load(table, first * blocks + b) * numbers[at + p]
                    for m in range(1, matrices):
                        total = total + load(table, (first + m) * blocks + b) * numbers[at + m * count + p]
                    store(params, p0 * blocks + r, total)
            else:
                if form == RAMPS:
                    reduce_ramps(table, first, numbers[at:end], blocks)
                for r in range(count * blocks):
                    store(params, p0 * blocks + r, load(table, first * blocks + r))
            p0, first = p0 + count, first + matrices

    @kernel
    def gather(starts: Any, weights: Any, table: Any, out: Any, blocks: Any) -> None:
        if sources < 0:
            return
        places, target = rows_of(table, 0), rows_of(out, 0)
        constant = len(table) - blocks
        for j in range(len(starts)):
            for b in range(blocks):
                store(target, j * blocks + b, _row_scores(starts, weights, j, places, constant, b, blocks))

    @kernel
    def scatter(starts: Any, weights: Any, slopes: Any, sums: Any, blocks: Any) -> None:
        if sources < 0:
            return
        source, target = rows_of(slopes, 0), rows_of(sums, 0)
        constant = len(sums) - blocks
        for j in range(len(starts)):
            for b in range(blocks):
                _add_row(starts, weights, j, load(source, j * blocks + b), target, constant, b, blocks)

    @kernel
    def product(starts: Any, weights: Any, curvature: Any, table: Any, sums: Any, blocks: Any) -> None:
        if sources < 0:
            return
        places, bend, target = rows_of(table, 0), rows_of(curvature, 0), rows_of(sums, 0)
        constant = len(table) - blocks
        for j in range(len(starts)):
            for b in range(blocks):
                value = _row_scores(starts, weights, j, places, constant, b, blocks) * load(bend, j * blocks + b)
                _add_row(starts, weights, j, value, target, constant, b, blocks)

    @kernel
    def class_product(
        starts: Any, weights: Any, chances: Any, shares: Any, outputs: Any, table: Any, sums: Any, blocks: Any
    ) -> None:
        if sources < 0:
            return
        places, target = rows_of(table, 0), rows_of(sums, 0)
        constant = len(table) - blocks
        row = np.zeros((blocks, sums.shape[1]))
        flat, lanes = row.reshape(-1), rows_of(row, 0)
        for j in range(len(starts)):
            for b in range(blocks):
                store(lanes, b, _row_scores(starts, weights, j, places, constant, b, blocks))
            for group in range(shares.shape[1]):
                first = group * outputs
                mean = 0.0
                for o in range(first, first + outputs):
                    mean += chances[j, o] * flat[o]
                for o in range(first, first + outputs):
                    flat[o] = shares[j, group] * chances[j, o] * (flat[o] - mean)
            for b in range(blocks):
                _add_row(starts, weights, j, load(lanes, b), target, constant, b, blocks)

    @kernel
    def tridiagonals(starts: Any, weights: Any, bend: Any, diag: Any, off_diag: Any) -> None:
        if sources < 0:
            return
        constant = len(diag) - 1
        for j in range(len(starts)):
            for g in range(bend.shape[1]):
                diag[constant, g] += bend[j, g]
            for c in range(starts.shape[1]):
                r, w = starts[j, c], np.float64(weights[j, c])
                for g in range(bend.shape[1]):
                    diag[r, g] += (1.0 - w) * (1.0 - w) * bend[j, g]
                    if w != 0.0:
                        diag[r + 1, g] += w * w * bend[j, g]
                        off_diag[r, g] += w * (1.0 - w) * bend[j, g]

    return expand, reduce, gather, scatter, product, class_product, tridiagonals


_expand, _reduce, _gather, _scatter, _product, _class_product, _tridiagonals = _cached(source_digest(*KERNEL_SOURCES))
