"""Sturm counts: how many eigenvalues of each lane's tridiagonal matrix lie below a shift.

The leading principal minors p_i of T - s I obey p_i = (d_i - s) p_{i-1} - e_i^2 p_{i-2}, and the number of
sign changes in 1, p_1, ..., p_n is the number of eigenvalues below s (Givens, 1954; Barth, Martin and
Wilkinson, 1967). There is no division; the price is scale, paid by an exact power of two once every BLOCK
rows. In floating point the count is the exact count of a matrix with d_i - s moved by at most one rounding
of itself and e_i by one and a half (docs/eigensolver.md), whatever the sizes of the e_i, as long as no p
underflows to zero with its predecessor: the callers keep e_i^2 above a floor for that.
"""

from typing import Any

from numba import njit

from .simd import (
    absolute,
    add_sign_changes,
    fill,
    inverse_power_of_two,
    larger,
    load,
    no_signs,
    number_of,
    push_sign,
)

# Rows between two rescalings. With |d - s|, e^2 <= 32 the p grow by less than 64^8 = 2^48 in between, far
# from the 2^127 of float32, and eight signs fit any counter; unrolling more rows spills registers
# (measured: no gain at 16).
BLOCK = 8


@njit(error_model="numpy")
def count_below(diag: Any, off_diag_squared: Any, shift: Any, blocks: int) -> Any:
    """Eigenvalues below `shift` per lane, as floats.

    diag, off_diag_squared (blocks * BLOCK, lanes): row i of the second couples rows i - 1 and i; its row 0
    is unused. shift: Lanes. Returns Lanes.
    """
    before = fill(shift, 0.0)
    p = fill(shift, 1.0)
    scale = p
    history = no_signs(shift)
    count = no_signs(shift)
    for block in range(blocks):
        # The scale found in the middle of the last block is applied to the coefficients of two rows instead
        # of to the two p: off the critical path (measured: 10 % of the count).
        row = block * BLOCK
        following = ((load(diag, row) - shift) * scale) * p - (load(off_diag_squared, row) * scale) * before
        history = push_sign(history, following)
        before = following
        following = (load(diag, row + 1) - shift) * before - (load(off_diag_squared, row + 1) * scale) * p
        history = push_sign(history, following)
        p = following
        for i in range(2, BLOCK):
            following = (load(diag, row + i) - shift) * p - load(off_diag_squared, row + i) * before
            history = push_sign(history, following)
            before = p
            p = following
            if i == BLOCK // 2:
                scale = inverse_power_of_two(larger(absolute(before), absolute(p)))
        count = add_sign_changes(count, history, 8)
    return number_of(count)


@njit(error_model="numpy")
def newton_step(diag: Any, off_diag_squared: Any, shift: Any, blocks: int) -> Any:
    """-p_n(s) / p_n'(s) per lane: the Newton step of the characteristic polynomial at `shift`.

    The derivative follows the same recurrence and the same scale. Padding rows multiply p by a constant c -
    s with c large, which adds sum 1 / (c - s) to the logarithmic derivative: negligible beside 1 / (lambda
    - s) near a root.
    """
    before = fill(shift, 0.0)
    p = fill(shift, 1.0)
    slope_before = fill(shift, 0.0)
    slope = fill(shift, 0.0)
    for block in range(blocks):
        row = block * BLOCK
        for i in range(BLOCK):
            pivot = load(diag, row + i) - shift
            squared = load(off_diag_squared, row + i)
            following = pivot * p - squared * before
            slope_following = pivot * slope - squared * slope_before - p
            before = p
            p = following
            slope_before = slope
            slope = slope_following
        scale = inverse_power_of_two(larger(absolute(before), absolute(p)))
        before = before * scale
        p = p * scale
        slope_before = slope_before * scale
        slope = slope * scale
    return fill(shift, 0.0) - p / slope
