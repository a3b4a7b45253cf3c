"""Find eigenvalues of a tile: bisection in float32, Newton in float64, and a Sturm check of every index.

Twenty bits of bisection cost half as much in float32 as in float64, three Newton steps then give full
precision unless a neighbour is close, and two counts prove that the eigenvalue with the wanted index lies
within the tolerance. What fails is bisected in float64. No lane's result depends on another lane.
"""

from typing import Any

from eigenserve.model.eigensolvers.tiles.sturm import count_below, newton_step
from eigenserve.model.eigensolvers.tiles.tile import EPS
from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import any_lane, fill, larger, load, load_half, prefetch, select, smaller, store

COARSE_STEPS = 20  # float32 resolves 2^-22 of the spectrum's width; below 2^-20 rounding decides the counts
COARSE_ERROR = 2.0**-20  # backward error of a float32 count, in the width: (3.5 + 2) 2^-23, and a safety of 1.4
NEWTON_STEPS = 3  # 2^-20 of the width -> (gap permitting) 2^-38 -> 2^-74
# The eigenvalue lies within TOLERANCE * eps * (Gershgorin norm <= sqrt(3) ||T||) of the returned number, as
# counted.
TOLERANCE = 1.5
# 2 * 6 / 2^55 = 1.5 eps, the tolerance, of a matrix whose largest entry is 1 or more.
FINE_STEPS = 55
# Newton fails where a neighbour is near: from 2^-20, for a share of random matrices that grows with their order (0.1 %
# at n = 100, 2 % at 1000, 12 % at 5000, 27 % at 10,000). Beyond 512 blocks of rows bisecting first costs less than
# trying again (measured: 0.8 of the time at n = 5000 and at 10,000; 1.2 of it at 3000).
CROWDED_BLOCKS = 512
# So many steps are made as this doubles to reach the number of blocks: then the share is 0.1 %.
BLOCKS_FOR_NO_STEPS = 16
# Where Newton fails from 2^-20 it rarely does from 2^-28.
MIDDLE_STEPS = 8


@part
def bisect_coarse(
    d32: Any, e2_32: Any, eig_idx: int, blocks: int, middle: Any, outer: Any = None, ahead: Any = None
) -> None:
    """Bisect [-1, 1] for eigenvalue `eig_idx` of every lane into row 0 of middle, all float32.

    outer: two rows for the nearest shifts that were met below the neighbour below and above the one above; far
    ones where none was met.

    ahead: (array, first element, array, first element, count), of which `count` elements each are asked for at every
    step, a few lines while there is something else to do.
    """
    like = load(d32, 0)
    low = fill(like, -1.0)
    high = fill(like, 1.0)
    outer_low = fill(like, -4.0)
    outer_high = fill(like, 4.0)
    for step in range(COARSE_STEPS):
        if ahead is not None:
            diag, diag_start, off_diag, off_diag_start, elements = ahead
            prefetch(diag, diag_start + step * elements, elements)
            prefetch(off_diag, off_diag_start + step * elements, elements)
        shift = (low + high) * 0.5
        count = count_below(d32, e2_32, shift, blocks)
        below = count <= eig_idx
        low = select(below, shift, low)
        high = select(below, high, shift)
        if outer is not None:
            # They come ever nearer, so that the last of either kind is the nearest.
            outer_low = select(count < float(eig_idx), shift, outer_low)
            outer_high = select(count > eig_idx + 1.0, shift, outer_high)
    store(middle, 0, (low + high) * 0.5)
    if outer is not None:
        store(outer, 0, outer_low)
        store(outer, 1, outer_high)


@part
def bisect_fine(d: Any, e2: Any, eig_idx: int, blocks: int, low: Any, high: Any, spacing: Any, steps: int) -> Any:
    """Bisect in float64, at most `steps` times, to brackets no wider than `spacing`; returns (low, high).

    low must count <= eig_idx, high > eig_idx. A lane that is done stands still while others go on.
    """
    for _ in range(steps):
        active = high - low > spacing
        if not any_lane(active):
            break
        shift = (low + high) * 0.5
        below = count_below(d, e2, shift, blocks) <= eig_idx
        low = select(active & below, shift, low)
        high = select(active, select(below, high, shift), high)
    return low, high


@part
def refine(d: Any, e2: Any, eig_idx: int, blocks: int, facts: Any, start: Any, reach: Any, again: bool) -> Any:
    """Refine eigenvalue `eig_idx` of each lane of a half; return it and a mask of lanes whose index is not proved.

    start +- reach: where the eigenvalue is expected. Without `again` lanes where Newton fails are only
    reported; with it they get a closer start by bisection, and in the end nothing but bisection: all are
    proved then.
    """
    low = load(facts, 2)
    high = load(facts, 3)
    zero = fill(start, 0.0)
    one = fill(start, 1.0)
    norm = larger(high, zero - low)
    tolerance = norm * (TOLERANCE * EPS)
    left = start - reach
    right = start + reach
    value = start
    # A matrix that is not finite is never proved: it counts as done from the start (one + NaN > 0 is false).
    failed = one + load(facts, 4) > 0.0
    if blocks > CROWDED_BLOCKS:
        steps = 0
        while blocks > BLOCKS_FOR_NO_STEPS << steps:
            steps += 1
        left, right = bisect_fine(d, e2, eig_idx, blocks, left, right, tolerance, steps)
    for attempt in range(3):
        guess = (left + right) * 0.5
        for _ in range(NEWTON_STEPS):
            guess = guess + newton_step(d, e2, guess, blocks)
            guess = smaller(larger(guess, left), right)
        value = select(failed, guess, value)
        proved = (count_below(d, e2, value - tolerance, blocks) <= eig_idx) & (
            count_below(d, e2, value + tolerance, blocks) > eig_idx
        )
        failed = select(proved, zero, select(failed, one, zero)) > 0.0
        if not again or not any_lane(failed):
            return value, failed
        if attempt == 0:
            # float32 may have lost its way among close eigenvalues; Gershgorin's bounds cannot.
            pad = norm * (8.0 * EPS) + EPS
            left = select(count_below(d, e2, left, blocks) <= eig_idx, left, low - pad)
            right = select(count_below(d, e2, right, blocks) > eig_idx, right, high + pad)
        steps = MIDDLE_STEPS if attempt == 0 else FINE_STEPS
        left, right = bisect_fine(d, e2, eig_idx, blocks, left, right, tolerance, steps)
    return select(failed, (left + right) * 0.5, value), failed


@part
def half_eigenvalues(
    d: Any, e2: Any, facts: Any, frame: Any, middle: Any, half: int, eig_idx: int, blocks: int, again: bool, value: Any
) -> Any:
    """Write eigenvalue `eig_idx` of a half to row 0 of value, from the middle that `bisect_coarse` found.

    Returns a mask of the lanes where it has to be found `again`.
    """
    width = load(frame, 1)
    start = load_half(middle, 0, half) * width + load(frame, 0)
    reach = width * (COARSE_ERROR + 2.0**-COARSE_STEPS)
    found, wrong = refine(d, e2, eig_idx, blocks, facts, start, reach, again)
    store(value, 0, found)
    return wrong
