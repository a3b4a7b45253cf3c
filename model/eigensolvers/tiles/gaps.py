"""Measure how far each lane's eigenvalue is from its nearest neighbour, to one part in 128.

A gap shows how much to trust an eigenvector, so two digits do, and no neighbour has to be solved for: a Sturm count at
a radius above or below the eigenvalue says whether a neighbour lies within. The side where one is known to lie nearest
is bisected; the other one is looked at only while a nearer one could hide there, which takes little more than half of
the counts on both sides. That is done in float32, and in float64 only where a gap is small against float32's error.
"""

from typing import Any

from eigenserve.model.eigensolvers.tiles.sturm import count_below
from eigenserve.model.eigensolvers.tiles.tile import EPS
from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import any_lane, fill, larger, load, load_half, select, smaller, store

# A bracket this narrow relative to its upper end is done; its middle is then within half of it.
RELATIVE_WIDTH = 2.0**-7
# In halves of the spectrum's width. A float32 count is wrong by 2^-20 at most: 2^-9 of a gap above 2^-11.
SMALL = 2.0**-11
# Each count halves what is open about the side it looks at. From 2 to SMALL that is 12, and then seven bits on either
# side; a third more than that. A lane needs 10 on average, and the slowest of 32 needs 14 (measured at n = 15).
STEPS_F32 = 36
# From SMALL down to the rounding of float64, and then seven bits more on either side.
STEPS_F64 = 72
# Eigenvalues that differ by less than this many eps of the norm are one, as counted (1.5 for each of two).
ROUNDING = 4.0


@part
def _bisect_radius(
    d: Any, e2: Any, eig_idx: int, blocks: int, centre: Any, above: Any, below: Any, least: Any, steps: int
) -> Any:
    """Bracket the least radius around `centre` that reaches eigenvalue eig_idx - 1 or eig_idx + 1.

    above, below: radii within which they may be looked for; least: where a bracket is done, whatever its width.
    """
    zero = fill(centre, 0.0)
    free_above, free_below = zero, zero
    for _ in range(steps):
        high, low = smaller(above, below), smaller(free_above, free_below)
        active = (high - low > high * RELATIVE_WIDTH) & (high > least)
        if not any_lane(active):
            break
        nearer_above = above <= below
        other = select(nearer_above, free_below, free_above) < select(nearer_above, free_above, free_below)
        # Where no neighbour is known to lie nearer than on the other side, one count may rule this side out.
        radius = select(other & (larger(above, below) > high), high, (low + high) * 0.5)
        upward = nearer_above ^ other
        count = count_below(d, e2, centre + select(upward, radius, zero - radius), blocks)
        reached = select(upward, count - (eig_idx + 1.0), float(eig_idx) - count) > 0.0
        # A lane that is done stands still while others go on: no result depends on another lane.
        upward = active & upward
        downward = active ^ upward
        above = select(upward & reached, radius, above)
        below = select(downward & reached, radius, below)
        free_above = select(upward, select(reached, free_above, radius), free_above)
        free_below = select(downward, select(reached, free_below, radius), free_below)
    return smaller(free_above, free_below), smaller(above, below)


@part
def coarse_gaps(d32: Any, e2_32: Any, eig_idx: int, blocks: int, middle: Any, outer: Any, again: bool) -> None:
    """Overwrite row 0 of middle, the eigenvalues, with their gaps as float32 knows them.

    outer: shifts beyond the neighbours below and above, as `bisect_coarse` met them; unknown if this is done `again`.
    """
    here = load(middle, 0)
    widest = fill(here, 2.0)
    below, above = smaller(here - load(outer, 0), widest), smaller(load(outer, 1) - here, widest)
    if again:
        below = above = widest
    least = fill(here, SMALL)
    low, high = _bisect_radius(d32, e2_32, eig_idx, blocks, here, above, below, least, STEPS_F32)
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
        low, high = _bisect_radius(d, e2, eig_idx, blocks, centre, reach, reach, least, STEPS_F64)
        gap = select(small, (low + high) * 0.5, gap)
    return select(gap > least, gap, zero)
