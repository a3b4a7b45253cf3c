"""Tiles: 32 matrices side by side in cache, one lane each, scaled by exact powers of two.

A tile is held twice: in float64 as two halves of 16 lanes, and in float32, shifted and stretched so that
every lane's spectrum lies in [-1, 1], as one row of 32 lanes. A row is ROW_BYTES long in both.
"""

from typing import Any

import numpy as np
from numba import njit

from .simd import (
    ALIGNMENT,
    LANES_F32,
    LANES_F64,
    absolute,
    fill,
    inverse_power_of_two,
    larger,
    load,
    select,
    smaller,
    store,
    store_half,
)

# Entries are scaled so that the largest of a matrix lies in [1, 2): then |lambda| < 6 and e^2 < 4.
PAD = 16.0  # diagonal of padding rows, above every scaled eigenvalue: adds no sign change
# Off-diagonals below 2^-58 = eps / 64 of the largest entry are lifted to it in Sturm counts only (moves an
# eigenvalue by eps / 32 at most). Then two neighbouring p cannot lose more than 2^-116 in two rows and
# never underflow in a BLOCK.
FLOOR_F64 = 2.0**-116
FLOOR_F32 = 2.0**-54  # the same with the eps of float32: 2^-27 squared
FAR_UP = 2.0**600  # first step of the scaling, for entries beyond 2^+-400, whose one-step factor is no number
FAR_DOWN = 2.0**-600


@njit(error_model="numpy")
def aligned_rows(arrays: int, rows: int) -> Any:
    """Uninitialised float64 (arrays, rows, LANES_F64) on a cache-line boundary."""
    size = arrays * rows * LANES_F64
    raw = np.empty(size + ALIGNMENT // 8, np.float64)
    start = (-raw.ctypes.data % ALIGNMENT) // 8
    return raw[start : start + size].reshape(arrays, rows, LANES_F64)


@njit(error_model="numpy")
def gather_tile(diag: Any, off_diag: Any, matrices: Any, d: Any, e: Any) -> None:
    """Copy matrices[lane] to lane `lane` of d, e (2, rows, LANES_F64); e row i couples rows i - 1 and i."""
    n = diag.shape[1]
    rows = d.shape[1]
    for lane in range(LANES_F32):
        half = lane // LANES_F64
        column = lane % LANES_F64
        matrix = matrices[lane]
        for i in range(n):
            d[half, i, column] = diag[matrix, i]
        for i in range(n - 1):
            e[half, i + 1, column] = off_diag[matrix, i]
        e[half, 0, column] = 0.0
        for i in range(n, rows):
            d[half, i, column] = PAD
            e[half, i, column] = 0.0


@njit(error_model="numpy")
def scale_half(d: Any, e: Any, e2: Any, n: int, facts: Any) -> None:
    """Scale one half in place, square its off-diagonals, and bracket its spectra.

    facts (5, LANES_F64) receives: the two factors to multiply a scaled eigenvalue by (one may not be a
    number in range), the Gershgorin bounds, and NaN for a matrix that holds a NaN or infinity (which is
    then replaced by zeros).
    """
    like = load(d, 0)
    largest = fill(like, 0.0)
    poison = fill(like, 0.0)
    for i in range(n):
        largest = larger(absolute(load(d, i)), larger(absolute(load(e, i)), largest))
        poison = poison + (load(d, i) * 0.0 + load(e, i) * 0.0)
    finite = poison == 0.0
    far = select(largest > FAR_UP * 2.0**-100, fill(like, FAR_DOWN), fill(like, 1.0))
    far = select(largest < FAR_DOWN * 2.0**200, fill(like, FAR_UP), far)
    near = inverse_power_of_two(largest * far)
    zero = fill(like, 0.0)
    low = fill(like, np.inf)
    high = fill(like, -np.inf)
    left = zero
    current_e = zero
    for i in range(n):
        left = current_e
        current_d = select(finite, load(d, i) * far * near, zero)
        store(d, i, current_d)
        current_e = zero
        if i + 1 < n:
            following = select(finite, load(e, i + 1) * far * near, zero)
            store(e, i + 1, following)
            store(e2, i + 1, larger(following * following, fill(like, FLOOR_F64)))
            current_e = absolute(following)
        radius = left + current_e
        low = smaller(current_d - radius, low)
        high = larger(current_d + radius, high)
    store(e2, 0, zero)
    for i in range(n, e2.shape[0]):
        store(e2, i, zero)
    store(facts, 0, inverse_power_of_two(near))
    store(facts, 1, inverse_power_of_two(far))
    store(facts, 2, low)
    store(facts, 3, high)
    store(facts, 4, select(finite, zero, fill(like, np.nan)))


@njit(error_model="numpy")
def narrow_half(d: Any, e2: Any, half: int, centre: Any, stretch: Any, d32: Any, e2_32: Any) -> None:
    """Write (d - centre) * stretch and e^2 * stretch^2 of one float64 half into the float32 tile."""
    for i in range(d.shape[0]):
        store_half(d32, i, half, (load(d, i) - centre) * stretch)
        store_half(e2_32, i, half, larger(load(e2, i) * stretch * stretch, fill(centre, FLOOR_F32)))
