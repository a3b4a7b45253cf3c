"""Measure how far each lane's eigenvalue is from its nearest neighbour, to one part in 128.

A gap shows how much to trust an eigenvector, so two digits do, and no neighbour has to be solved for: the
radius around the eigenvalue is halved and bisected until the Sturm counts at both its ends say that the
next eigenvalue lies there. That is done in float32, and in float64 only where a gap is small against
float32's error.
"""

from typing import Any

from eigenserve.model.eigensolvers.tiles.sturm import count_below
from eigenserve.model.eigensolvers.tiles.tile import EPS
from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import any_lane, fill, larger, load, load_half, select, store

# A bracket this narrow relative to its upper end is done; its middle is then within half of it.
RELATIVE_WIDTH = 2.0**-7
# In halves of the spectrum's width. A float32 count is wrong by 2^-20 at most: 2^-9 of a gap above 2^-11.
SMALL = 2.0**-11
STEPS_F32 = 20
# From SMALL down to the rounding of float64, and then seven bits more.
STEPS_F64 = 60
# Eigenvalues that differ by less than this many eps of the norm are one, as counted (1.5 for each of two).
ROUNDING = 4.0


@part
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


@part
def coarse_gaps(d32: Any, e2_32: Any, eig_idx: int, blocks: int, middle: Any) -> None:
    """Overwrite row 0 of middle, the eigenvalues, with their gaps as float32 knows them."""
    here = load(middle, 0)
    zero = fill(here, 0.0)
    low, high = _bisect_radius(d32, e2_32, eig_idx, blocks, here, zero, fill(here, 2.0), zero, STEPS_F32)
    store(middle, 0, (low + high) * 0.5)


@part
def half_gaps(
    d: Any, e2: Any, facts: Any, frame: Any, middle: Any, half: int, eig_idx: int, blocks: int, value: Any
) -> Any:
    """Return the gaps of a half's scaled matrices around their eigenvalues, row 0 of value, from `coarse_gaps`."""
    width = load(frame, 1)
    gap = load_half(middle, 0, half)
    small = gap < SMALL
    gap = gap * width
    centre = load(value, 0)
    zero = fill(centre, 0.0)
    least = larger(load(facts, 3), zero - load(facts, 2)) * (ROUNDING * EPS)
    if any_lane(small):
        # Lanes whose gap is not small have a bracket of no width and stand still.
        reach = select(small, width * (2.0 * SMALL), zero)
        low, high = _bisect_radius(d, e2, eig_idx, blocks, centre, zero, reach, least, STEPS_F64)
        gap = select(small, (low + high) * 0.5, gap)
    return select(gap > least, gap, zero)
