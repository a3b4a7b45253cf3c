"""Gaps of a tile: how far each lane's eigenvalue is from its nearest neighbour, to one part in 128.

A gap tells how much to trust an eigenvector, so two digits do, and no neighbour has to be solved for: the
radius around the eigenvalue is halved and bisected until the Sturm counts at both its ends say that the
next eigenvalue lies there. That is done in float32, and in float64 only where a gap is small beside
float32's error.
"""

from typing import Any

from numba import njit

from .eigenvalues import EPS
from .simd import any_lane, fill, larger, load, load_half, rows_of, select, store, store_half
from .sturm import BLOCK, count_below

# A bracket this narrow beside its upper end is done; its middle is then within half of it.
RELATIVE_WIDTH = 2.0**-7
# In halves of the spectrum's width. A float32 count is wrong by 2^-20 at most: 2^-9 of a gap above 2^-11.
SMALL = 2.0**-11
STEPS_F32 = 20
# From SMALL down to the rounding of float64, and then seven bits more.
STEPS_F64 = 60
# Eigenvalues that differ by less than this many eps of the norm are one, as counted (1.5 for each of two).
ROUNDING = 4.0


@njit(error_model="numpy")
def _bisect_radius(
    d: Any, e2: Any, eig_idx: int, blocks: int, centre: Any, low: Any, high: Any, least: Any, steps: int
) -> Any:
    """Bracket of the least radius around `centre` that reaches eigenvalue eig_idx - 1 or eig_idx + 1."""
    for _ in range(steps):
        active = (high - low > high * RELATIVE_WIDTH) & (high > least)
        if not any_lane(active):
            break
        radius = (low + high) * 0.5
        reached = (count_below(d, e2, centre + radius, blocks) > eig_idx + 1.0) | (
            count_below(d, e2, centre - radius, blocks) < float(eig_idx)
        )
        # A lane that is done stands still while others go on: no result depends on another lane.
        high = select(active & reached, radius, high)
        low = select(active, select(reached, low, radius), low)
    return low, high


@njit(error_model="numpy")
def tile_gaps(
    d: Any,
    e2: Any,
    facts: Any,
    frame: Any,
    d32: Any,
    e2_32: Any,
    middle: Any,
    eig_idx: int,
    halves: int,
    values: Any,
    gaps: Any,
) -> None:
    """gaps (2, 1, LANES_F64) receives the gaps of the scaled matrices of a tile around their `values`."""
    blocks = d.shape[1] // BLOCK
    for half in range(halves):
        store_half(middle, 0, half, (load(values[half], 0) - load(frame[half], 0)) / load(frame[half], 1))
    if halves == 1:
        store_half(middle, 0, 1, fill(load(values[0], 0), 0.0))
    here = load(middle, 0)
    low, high = _bisect_radius(
        rows_of(d32), rows_of(e2_32), eig_idx, blocks, here, fill(here, 0.0), fill(here, 2.0), fill(here, 0.0), STEPS_F32
    )
    store(middle, 0, (low + high) * 0.5)
    for half in range(halves):
        width = load(frame[half], 1)
        gap = load_half(middle, 0, half)
        small = gap < SMALL
        gap = gap * width
        value = load(values[half], 0)
        zero = fill(value, 0.0)
        least = larger(load(facts[half], 3), zero - load(facts[half], 2)) * (ROUNDING * EPS)
        if any_lane(small):
            # Lanes whose gap is not small have a bracket of no width and stand still.
            reach = select(small, width * (2.0 * SMALL), zero)
            rows, squares = rows_of(d[half]), rows_of(e2[half])
            low_f64, high_f64 = _bisect_radius(rows, squares, eig_idx, blocks, value, zero, reach, least, STEPS_F64)
            gap = select(small, (low_f64 + high_f64) * 0.5, gap)
        store(gaps[half], 0, select(gap > least, gap, zero))
