"""Lay matrices side by side in cache, one lane each, scaled by exact powers of two.

A tile is held twice: in float64 as two halves of LANES_F64 lanes, and in float32, shifted and stretched so that every
lane's spectrum lies in [-1, 1], as rows of all its LANES_F32 lanes. A row is ROW_BYTES long in both. The functions take
tiles as `rows_of` them.
"""

from typing import Any

import numpy as np

from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import (
    ALIGNMENT,
    LANES_F64,
    absolute,
    any_lane,
    fill,
    inverse_power_of_two,
    larger,
    load,
    select,
    smaller,
    store,
    store_half,
)
from eigenserve.model.kernels.transpose import SIDE, load_transposed

EPS = float(np.finfo(np.float64).eps)
# Entries are scaled so that the largest of a matrix lies in [1, 2): then |lambda| < 6 and e^2 < 4.
PAD = 16.0  # diagonal of padding rows, above every scaled eigenvalue: adds no sign change
PAD_F32 = 3.0  # the same above [-1, 1]
# Off-diagonals below 2^-58 = eps / 64 of the largest entry are lifted to it in Sturm counts only (moves an
# eigenvalue by eps / 32 at most). Then two neighbouring p lose 2^-236 in three rows at worst (pivots as small
# as the e^2), 2^-708 between two scales, and never underflow.
FLOOR_F64 = 2.0**-116
FLOOR_F32 = 2.0**-54  # the same with the eps of float32: 2^-27 squared
# A first step of the scaling, for entries so large or small that the whole factor or its inverse is not at at a
# number.
FAR_UP = 2.0**600
FAR_DOWN = 2.0**-600
FAR_ABOVE = 2.0**500
FAR_BELOW = 2.0**-400


@part
def aligned_rows(arrays: int, rows: int) -> Any:
    """Allocate float64 (arrays, rows, LANES_F64) on a cache-line boundary, uninitialised."""
    size = arrays * rows * LANES_F64
    raw = np.empty(size + ALIGNMENT // 8, np.float64)
    start = (-raw.ctypes.data % ALIGNMENT) // 8
    return raw[start : start + size].reshape(arrays, rows, LANES_F64)


@part
def gather_half(diag: Any, off_diag: Any, matrices: Any, start: int, d: Any, e: Any) -> None:
    """Copy matrices[start + lane] to lane `lane` of d, e; row i of e couples rows i and i + 1."""
    n = diag.shape[1]
    for lane in range(0, LANES_F64, SIDE):
        for i in range(0, n, SIDE):
            load_transposed(diag, matrices, start + lane, i, d, lane)
        for i in range(0, n - 1, SIDE):
            load_transposed(off_diag, matrices, start + lane, i, e, lane)


@part
def measure_half(d: Any, e: Any, n: int, facts: Any) -> None:
    """Measure the scale and the bounds of each lane's matrix, d and e as gathered.

    facts (5 rows) receives: the two factors to multiply a scaled eigenvalue by, one after the other (their product may
    overflow), the Gershgorin bounds of the scaled matrix, and zero, or NaN for a matrix that holds a NaN or infinity;
    such a lane computes nonsense, alone. Matrices whose scale needs two steps have the first one done here.
    """
    far = fill(load(d, 0), 1.0)
    largest, low, high, poison = _extent(d, e, n)
    above, below = largest > FAR_ABOVE, largest < FAR_BELOW
    if any_lane(above | below):
        far = select(above, fill(far, FAR_DOWN), select(below, fill(far, FAR_UP), far))
        for i in range(n):
            store(d, i, load(d, i) * far)
            store(e, i, load(e, i) * far)
        largest, low, high, _ = _extent(d, e, n)
    near = inverse_power_of_two(largest)
    store(facts, 0, inverse_power_of_two(near))
    store(facts, 1, inverse_power_of_two(far))
    store(facts, 2, low * near)
    store(facts, 3, high * near)
    store(facts, 4, select(poison == 0.0, poison, fill(poison, np.nan)))


@part(forceinline=True)
def _extent(d: Any, e: Any, n: int) -> Any:
    """Return the largest size of an entry, Gershgorin's bounds, and zero, or NaN where an entry is not finite."""
    row = load(d, 0)
    before = fill(row, 0.0)
    largest = absolute(row)
    poison = row * 0.0
    low = fill(row, np.inf)
    high = fill(row, -np.inf)
    for i in range(n - 1):
        off_row = load(e, i)
        after = absolute(off_row)
        radius = before + after
        low = smaller(row - radius, low)
        high = larger(row + radius, high)
        before = after
        row = load(d, i + 1)
        largest = larger(absolute(row), larger(after, largest))
        poison = poison + (row * 0.0 + off_row * 0.0)
    return largest, smaller(row - before, low), larger(row + before, high), poison


@part
def scale_half(
    d: Any, e: Any, e2: Any, n: int, rows: int, half: int, keep: bool, facts: Any, frame: Any, d32: Any, e2_32: Any
) -> None:
    """Scale one measured half in place, square its off-diagonals, pad it, and write its part of the float32 tile.

    Row i of the squares couples rows i - 1 and i, as Sturm counts want it. Unless e is to `keep`, e2 may be the same
    array: a tile should stay in the first cache. frame (2 rows) receives the centres and half-widths of the spectra:
    the float32 tile holds (T - centre) / width.
    """
    near = inverse_power_of_two(load(facts, 0))
    low = load(facts, 2)
    high = load(facts, 3)
    centre = (low + high) * 0.5
    # A width far below the entries is rounding noise in the float64 matrix already.
    width = larger((high - low) * 0.5, fill(low, EPS))
    store(frame, 0, centre)
    store(frame, 1, width)
    stretch = fill(low, 1.0) / width
    stretch_squared = stretch * stretch
    zero = fill(low, 0.0)
    row = load(d, 0) * near
    off_row = load(e, 0) * near
    store(d, 0, row)
    store(e2, 0, zero)
    store_half(d32, 0, half, (row - centre) * stretch)
    store_half(e2_32, 0, half, zero)
    for i in range(1, n):
        row = load(d, i) * near
        following = load(e, i) * near
        square = larger(off_row * off_row, fill(low, FLOOR_F64))
        if keep:
            store(e, i - 1, off_row)
        store(d, i, row)
        store(e2, i, square)
        store_half(d32, i, half, (row - centre) * stretch)
        store_half(e2_32, i, half, larger(square * stretch_squared, fill(low, FLOOR_F32)))
        off_row = following
    for i in range(n, rows):
        store(d, i, fill(low, PAD))
        store(e2, i, zero)
        store_half(d32, i, half, fill(low, PAD_F32))
        store_half(e2_32, i, half, zero)
