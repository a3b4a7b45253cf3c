"""Solve one tile: gather, scale, bisect, refine, find the eigenvectors, and write all of it lane by lane."""

from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.eigenvalues import COARSE_STEPS, bisect_coarse, half_eigenvalues
from eigenserve.model.eigensolvers.tiles.gaps import coarse_gaps, half_gaps
from eigenserve.model.eigensolvers.tiles.inverse_iteration import sharpen
from eigenserve.model.eigensolvers.tiles.orthogonal import orthogonalise
from eigenserve.model.eigensolvers.tiles.sturm import BLOCK
from eigenserve.model.eigensolvers.tiles.tile import EPS, gather_half, measure_half, scale_half
from eigenserve.model.eigensolvers.tiles.twisted import HUGE_NORM, TINY_PIVOT, twisted_vector
from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import (
    LANES_F32,
    LANES_F64,
    any_lane,
    as_float32,
    fill,
    load,
    rows_of,
    select,
    square_root,
    store,
    store_half,
)
from eigenserve.model.kernels.transpose import SIDE, store_transposed

# A residual that asks for a second look, of a matrix with entries up to 2: a twisted factorisation multiplies the error
# of its eigenvalue, 1.5 eps at times, by up to sqrt(n / 2). None of 20,000 random matrices has it.
ROUGH_RESIDUAL = 8 * EPS
# Rows of what a tile holds but its matrices. Of each half: five facts and two rows of the frame (tiles.py), the
# eigenvalues, the marks of lanes that failed and of those with a rough vector, and a row of results to write. And, in
# float32, the gaps and two rows of shifts beyond the neighbours.
_FACTS, _FRAME, _VALUE, MARKS, _ROUGH, _RESULT, _GAP, _OUTER, SMALL_ROWS = 0, 10, 14, 16, 18, 20, 22, 23, 25


@part
def solve_tile(
    diag: Any,
    off_diag: Any,
    matrices: Any,
    used: int,
    first: int,
    count: int,
    again: bool,
    buffer: Any,
    small: Any,
    window_values: Any,
    middles: Any,
    targets: Any,
    eigenvalues: Any,
    eigenvectors: Any,
    gaps: Any,
    next_start: int,
) -> None:
    """Solve one tile, write its first `used` lanes, and mark those that failed anywhere.

    The matrices from `next_start` on are asked for meanwhile: the next tile's. Rows of middles: what the bisection in
    float32 found, place by place, or has found already if this is done `again`.

    Without vectors (None) gaps are left out, too. buffer holds, in turn: the float32 tile, the halves of the float64
    one, and with vectors those of the off-diagonals (without, their squares take their place), five arrays of scratch
    and the vectors.
    """
    n = diag.shape[1]
    rows = buffer.shape[1]
    blocks = rows // BLOCK
    tile = rows_of(buffer, 0)
    d32, e2_32 = as_float32(tile), as_float32(rows_of(tile, rows))
    halves = 1 if used <= LANES_F64 else 2
    for half in range(halves):
        d, e2, e = _half_of(tile, rows, half, eigenvectors)
        facts, frame = rows_of(small, _FACTS + 5 * half), rows_of(small, _FRAME + 2 * half)
        gather_half(diag, off_diag, matrices, half * LANES_F64, d, e)
        measure_half(d, e, n, facts)
        scale_half(d, e, e2, n, rows, half, eigenvectors is not None, facts, frame, d32, e2_32)
        store(small, MARKS + half, fill(load(frame, 0), 0.0))
        store(small, _ROUGH + half, fill(load(frame, 0), 0.0))
    if halves == 1:
        for i in range(rows):
            store_half(d32, i, 1, fill(load(small, _FRAME), 1.0))
            store_half(e2_32, i, 1, fill(load(small, _FRAME), 1.0))
    # A third of the time of a large batch would be spent in waiting for main memory (measured at n = 100).
    ahead_count = min(LANES_F32, len(diag) - next_start) * n // COARSE_STEPS
    ahead = rows_of(diag, 0), next_start * n, rows_of(off_diag, 0), next_start * (n - 1), ahead_count
    for place in range(count):
        eig_idx = first + place
        if eig_idx < 0 or eig_idx >= n:
            for lane in range(used):
                write_beyond(matrices[lane], count, place, eig_idx < 0, eigenvalues, eigenvectors)
            continue
        middle = as_float32(rows_of(middles, place))
        outer = as_float32(rows_of(small, _OUTER))
        if not again:
            if eigenvectors is None:
                bisect_coarse(d32, e2_32, eig_idx, blocks, middle, None, ahead)
            else:
                bisect_coarse(d32, e2_32, eig_idx, blocks, middle, outer, ahead)
        for half in range(halves):
            d, e2, _ = _half_of(tile, rows, half, eigenvectors)
            facts, frame = rows_of(small, _FACTS + 5 * half), rows_of(small, _FRAME + 2 * half)
            value = rows_of(small, _VALUE + half)
            wrong = half_eigenvalues(d, e2, facts, frame, middle, half, eig_idx, blocks, again, value)
            if not again:
                marks = load(small, MARKS + half)
                store(small, MARKS + half, select(wrong, fill(marks, 1.0), marks))
            store(small, _RESULT + half, load(value, 0) * load(facts, 0) * load(facts, 1) + load(facts, 4))
        for lane in range(used):
            half, column = lane // LANES_F64, lane % LANES_F64
            eigenvalues[matrices[lane], place] = small[_RESULT + half, column]
            window_values[lane, place] = small[_VALUE + half, column]
        if eigenvectors is not None:
            if gaps.size > 0:
                middle = as_float32(rows_of(small, _GAP))
                store_half(middle, 0, 1, fill(load(small, _VALUE), 0.0))
                for half in range(halves):
                    frame = rows_of(small, _FRAME + 2 * half)
                    store_half(middle, 0, half, (load(small, _VALUE + half) - load(frame, 0)) / load(frame, 1))
                coarse_gaps(d32, e2_32, eig_idx, blocks, middle, outer, again)
                for half in range(halves):
                    d, e2, _ = _half_of(tile, rows, half, eigenvectors)
                    facts, frame = rows_of(small, _FACTS + 5 * half), rows_of(small, _FRAME + 2 * half)
                    gap = half_gaps(d, e2, facts, frame, middle, half, eig_idx, blocks, rows_of(small, _VALUE + half))
                    store(small, _RESULT + half, gap * load(facts, 0) * load(facts, 1) + load(facts, 4))
                for lane in range(used):
                    gaps[matrices[lane], place] = small[_RESULT + lane // LANES_F64, lane % LANES_F64]
            for lane in range(LANES_F32):
                targets[lane] = matrices[lane] * count + place
            for half in range(halves):
                d, _, e = _half_of(tile, rows, half, eigenvectors)
                value, poison = load(small, _VALUE + half), load(small, _FACTS + 5 * half + 4)
                work, vector = rows_of(tile, 8 * rows), rows_of(tile, 13 * rows)
                start = half * LANES_F64
                rough = _write_vectors(d, e, n, rows, value, poison, work, vector, targets, start, eigenvectors)
                # A vector of a lane that failed is not worth a second look: its eigenvalue is found again.
                rough = rough & (load(small, MARKS + half) == 0.0)
                store(small, _ROUGH + half, select(rough, fill(value, 1.0), load(small, _ROUGH + half)))
    if eigenvectors is None:
        return
    if count > 1 or any_lane((load(small, _ROUGH) + load(small, _ROUGH + halves - 1)) > 0.0):
        inside = slice(max(0, -first), min(count, n - first))
        for lane in range(used):
            half, column = lane // LANES_F64, lane % LANES_F64
            rough_lane = small[_ROUGH + half, column] > 0.0
            if small[_FACTS + 5 * half + 4, column] == 0.0 and (count > 1 or rough_lane):
                own = eigenvectors[matrices[lane] * count : (matrices[lane] + 1) * count][inside]
                own_values = window_values[lane, inside]
                d_lane, e_lane = buffer[2 + half, :, column], buffer[6 + half, :, column]
                if rough_lane:
                    for place in range(len(own_values)):
                        sharpen(d_lane, e_lane, own_values[place], own[place])
                orthogonalise(d_lane, e_lane, own_values, own)


@part(forceinline=True)
def _half_of(tile: Any, rows: int, half: int, eigenvectors: Any) -> Any:
    """Return the diagonals, squares and off-diagonals of one half of a tile."""
    d, squares = rows_of(tile, (2 + half) * rows), rows_of(tile, (4 + half) * rows)
    if eigenvectors is None:
        return d, squares, squares
    return d, squares, rows_of(tile, (6 + half) * rows)


@part
def _write_vectors(
    d: Any,
    e: Any,
    n: int,
    rows: int,
    value: Any,
    poison: Any,
    work: Any,
    vector: Any,
    targets: Any,
    start: int,
    eigenvectors: Any,
) -> Any:
    """Write unit eigenvectors of one half to rows targets[start], ... of eigenvectors (.., n), or NaN.

    Returns a mask of those whose residual is not yet rounding.
    """
    gamma, norm = twisted_vector(d, e, value, n, TINY_PIVOT, HUGE_NORM, work, rows, vector)
    unit = fill(norm, 1.0) / square_root(norm) + poison
    for i in range(n):
        store(vector, i, load(vector, i) * unit)
    for i in range(0, n, SIDE):
        for lane in range(0, LANES_F64, SIDE):
            store_transposed(vector, lane, eigenvectors, i, targets, start + lane)
    return gamma * gamma > norm * ROUGH_RESIDUAL**2


@part
def write_beyond(matrix: int, count: int, place: int, under: bool, eigenvalues: Any, eigenvectors: Any) -> None:
    """Fill a place of the window outside the spectrum."""
    eigenvalues[matrix, place] = -np.inf if under else np.inf
    if eigenvectors is not None:
        for i in range(eigenvectors.shape[1]):
            eigenvectors[matrix * count + place, i] = 0.0
