"""Eigenvalues of a tile: bisection in float32, Newton in float64, and a Sturm check of every index.

Twenty bits of bisection cost half as much in float32 as in float64, three Newton steps then give full
precision unless a neighbour is close, and two counts prove that the eigenvalue with the wanted index lies
within the tolerance. What fails is bisected in float64. No lane's result depends on another lane.
"""

from typing import Any

import numpy as np
from numba import njit

from .simd import any_lane, fill, larger, load, load_half, select, smaller, store
from .sturm import count_below, newton_step
from .tiles import narrow_half

EPS = float(np.finfo(np.float64).eps)
COARSE_STEPS = 20  # float32 resolves 2^-22 of the spectrum's width; below 2^-20 rounding decides the counts
COARSE_ERROR = (
    2.0**-20
)  # backward error of a float32 count, in the width: (3.5 + 2) 2^-23, and a safety of two
NEWTON_STEPS = 3  # 2^-20 of the width -> (gap permitting) 2^-38 -> 2^-74
# The eigenvalue lies within TOLERANCE * eps * (Gershgorin norm <= sqrt(3) ||T||) of the returned number, as
# counted.
TOLERANCE = 1.5
# 2 * 6 / 2^55 < eps / 4 of a matrix whose largest entry is 1 or more: beyond, halving no longer moves the
# midpoint.
FINE_STEPS = 55


@njit(error_model="numpy")
def bisect_coarse(d32: Any, e2_32: Any, eig_idx: int, blocks: int, middle: Any) -> None:
    """Bisect [-1, 1] for eigenvalue `eig_idx` of every lane into middle (1, LANES_F32), all float32."""
    like = load(d32, 0)
    low = fill(like, -1.0)
    high = fill(like, 1.0)
    for _ in range(COARSE_STEPS):
        shift = (low + high) * 0.5
        below = count_below(d32, e2_32, shift, blocks) <= eig_idx
        low = select(below, shift, low)
        high = select(below, high, shift)
    store(middle, 0, (low + high) * 0.5)


@njit(error_model="numpy")
def bisect_fine(d: Any, e2: Any, eig_idx: int, blocks: int, low: Any, high: Any) -> Any:
    """Bisect in float64 until the midpoint stands still; low must count <= eig_idx, high > eig_idx."""
    for _ in range(FINE_STEPS):
        shift = (low + high) * 0.5
        below = count_below(d, e2, shift, blocks) <= eig_idx
        low = select(below, shift, low)
        high = select(below, high, shift)
    return (low + high) * 0.5


@njit(error_model="numpy")
def refine(d: Any, e2: Any, eig_idx: int, blocks: int, low: Any, high: Any, start: Any, reach: Any) -> Any:
    """Eigenvalue `eig_idx` of each lane of a float64 half, index verified.

    low, high: Gershgorin bounds; start +- reach: where the eigenvalue is expected.
    """
    norm = larger(high, fill(low, 0.0) - low)
    value = start
    for _ in range(NEWTON_STEPS):
        value = value + newton_step(d, e2, value, blocks)
        value = smaller(larger(value, start - reach), start + reach)
    tolerance = norm * (TOLERANCE * EPS)
    right = (count_below(d, e2, value - tolerance, blocks) <= eig_idx) & (
        count_below(d, e2, value + tolerance, blocks) > eig_idx
    )
    wrong = select(right, fill(low, 0.0), fill(low, 1.0)) > 0.0
    if any_lane(wrong):
        pad = norm * (8.0 * EPS) + EPS
        bisected = bisect_fine(d, e2, eig_idx, blocks, low - pad, high + pad)
        value = select(right, value, bisected)
    return value


@njit(error_model="numpy")
def narrow_tile(d: Any, e2: Any, facts: Any, d32: Any, e2_32: Any, frame: Any) -> None:
    """Make the float32 twin of a tile; frame (2, 2, LANES_F64) receives centres and half-widths."""
    for half in range(2):
        low = load(facts[half], 2)
        high = load(facts[half], 3)
        centre = (low + high) * 0.5
        # A width far below the entries is rounding noise in the float64 matrix already.
        width = larger((high - low) * 0.5, fill(low, EPS))
        store(frame[half], 0, centre)
        store(frame[half], 1, width)
        narrow_half(d[half], e2[half], half, centre, fill(low, 1.0) / width, d32, e2_32)


@njit(error_model="numpy")
def tile_eigenvalues(
    d: Any, e2: Any, facts: Any, frame: Any, d32: Any, e2_32: Any, middle: Any, eig_idx: int, values: Any
) -> None:
    """Eigenvalue `eig_idx` of the scaled matrices of a tile; values (2, 1, LANES_F64) receives them."""
    blocks = d.shape[1] // 8
    bisect_coarse(d32, e2_32, eig_idx, blocks, middle)
    for half in range(2):
        width = load(frame[half], 1)
        start = load_half(middle, 0, half) * width + load(frame[half], 0)
        reach = width * (COARSE_ERROR + 2.0**-COARSE_STEPS)
        low = load(facts[half], 2)
        high = load(facts[half], 3)
        store(values[half], 0, refine(d[half], e2[half], eig_idx, blocks, low, high, start, reach))
