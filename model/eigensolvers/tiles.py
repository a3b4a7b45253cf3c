"""Tiles: 32 matrices side by side in cache, one lane each, scaled by exact powers of two.

A tile is held twice: in float64 as two halves of 16 lanes, and in float32, shifted and stretched so that
every lane's spectrum lies in [-1, 1], as one row of 32 lanes. A row is ROW_BYTES long in both.
"""

from typing import Any

import numpy as np
from numba import njit

from .simd import (
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
from .transpose import SIDE, load_transposed

# Entries are scaled so that the largest of a matrix lies in [1, 2): then |lambda| < 6 and e^2 < 4.
PAD = 16.0  # diagonal of padding rows, above every scaled eigenvalue: adds no sign change
# Off-diagonals below 2^-58 = eps / 64 of the largest entry are lifted to it in Sturm counts only (moves an
# eigenvalue by eps / 32 at most). Then two neighbouring p cannot lose more than 2^-116 in two rows and
# never underflow in a BLOCK.
FLOOR_F64 = 2.0**-116
FLOOR_F32 = 2.0**-54  # the same with the eps of float32: 2^-27 squared
# A first step of the scaling, for entries so large or small that the whole factor or its inverse is no
# number.
FAR_UP = 2.0**600
FAR_DOWN = 2.0**-600
FAR_ABOVE = 2.0**500
FAR_BELOW = 2.0**-400


@njit(error_model="numpy")
def aligned_rows(arrays: int, rows: int) -> Any:
    """Uninitialised float64 (arrays, rows, LANES_F64) on a cache-line boundary."""
    size = arrays * rows * LANES_F64
    raw = np.empty(size + ALIGNMENT // 8, np.float64)
    start = (-raw.ctypes.data % ALIGNMENT) // 8
    return raw[start : start + size].reshape(arrays, rows, LANES_F64)


@njit(error_model="numpy")
def gather_half(diag: Any, off_diag: Any, matrices: Any, d: Any, e: Any) -> None:
    """Copy matrices[lane] to lane `lane` of d, e (rows, LANES_F64); row i of e couples rows i and i + 1."""
    n = diag.shape[1]
    for lane in range(0, LANES_F64, SIDE):
        for i in range(0, n, SIDE):
            load_transposed(diag, matrices, lane, i, d, i)
        for i in range(0, n - 1, SIDE):
            load_transposed(off_diag, matrices, lane, i, e, i)


@njit(error_model="numpy")
def scale_half(d: Any, e: Any, e2: Any, n: int, facts: Any) -> None:
    """Scale one half in place, square its off-diagonals, pad both, and bracket the spectra.

    Row i of e2 couples rows i - 1 and i, as Sturm counts want it. facts (5, LANES_F64) receives: the two
    factors to multiply a scaled eigenvalue by, one after the other (their product may overflow), the
    Gershgorin bounds, and zero, or NaN for a matrix that holds a NaN or infinity; such a lane computes
    nonsense, alone.
    """
    like = load(d, 0)
    zero = fill(like, 0.0)
    largest = absolute(like)
    poison = like * 0.0
    for i in range(1, n):
        row = load(d, i)
        off_row = load(e, i - 1)
        largest = larger(absolute(row), larger(absolute(off_row), largest))
        poison = poison + (row * 0.0 + off_row * 0.0)
    far = select(largest > FAR_ABOVE, fill(like, FAR_DOWN), fill(like, 1.0))
    far = select(largest < FAR_BELOW, fill(like, FAR_UP), far)
    if any_lane((largest > FAR_ABOVE) | (largest < FAR_BELOW)):
        for i in range(n):
            store(d, i, load(d, i) * far)
            store(e, i, load(e, i) * far)
    near = inverse_power_of_two(largest * far)
    low = fill(like, np.inf)
    high = fill(like, -np.inf)
    before = zero
    store(e2, 0, zero)
    for i in range(n - 1):
        row = load(d, i) * near
        off_row = load(e, i) * near
        store(d, i, row)
        store(e, i, off_row)
        store(e2, i + 1, larger(off_row * off_row, fill(like, FLOOR_F64)))
        after = absolute(off_row)
        radius = before + after
        low = smaller(row - radius, low)
        high = larger(row + radius, high)
        before = after
    row = load(d, n - 1) * near
    store(d, n - 1, row)
    for i in range(n, d.shape[0]):
        store(d, i, fill(like, PAD))
        store(e2, i, zero)
    store(facts, 0, inverse_power_of_two(near))
    store(facts, 1, inverse_power_of_two(far))
    store(facts, 2, smaller(row - before, low))
    store(facts, 3, larger(row + before, high))
    store(facts, 4, select(poison == 0.0, zero, fill(like, np.nan)))


@njit(error_model="numpy")
def narrow_half(d: Any, e2: Any, half: int, centre: Any, stretch: Any, d32: Any, e2_32: Any) -> None:
    """Write (d - centre) * stretch and e^2 * stretch^2 of one float64 half into the float32 tile."""
    for i in range(d.shape[0]):
        store_half(d32, i, half, (load(d, i) - centre) * stretch)
        store_half(e2_32, i, half, larger(load(e2, i) * stretch * stretch, fill(centre, FLOOR_F32)))
