"""Count how many eigenvalues of each lane's tridiagonal matrix lie below a shift (Sturm counts).

The leading principal minors p_i of T - s I obey p_i = (d_i - s) p_{i-1} - e_i^2 p_{i-2}, the trailing ones
q_i = (d_i - s) q_{i+1} - e_{i+1}^2 q_{i+2}. Their changes of sign count the eigenvalues below s (Givens, 1954;
Barth, Martin and Wilkinson, 1967): those of 1, p_0, ..., p_m for the upper rows, those of 1, q_{n-1}, ..., q_{m+1} for
the lower ones, and p_m q_{m+1} - e_{m+1}^2 p_{m-1} q_{m+2}, the determinant, joins them. Both sequences run at once:
each row waits for the one before it, so two short chains take three quarters of the time of a long one (measured).

Divisions are avoided; the price is scale, paid by an exact power of two once every BLOCK rows of a sequence. In
floating point the count is the exact count of a matrix with d_i - s moved by at most two roundings of itself and e_i by
one and a half (docs/eigensolver.md), whatever the sizes of the e_i, as long as no minor underflows to zero with its
predecessor: the callers keep e_i^2 above a floor for that.

diag, off_diag_squared: `rows_of` arrays (blocks * BLOCK, lanes). Row i of the second couples rows i - 1 and i, as e_i
does here; its row 0 is not used, but must hold numbers.
"""

from typing import Any

from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import (
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

# Rows between two rescalings. With |d - s|, e^2 <= 32 the minors grow by less than 64^10 = 2^60 before the next is
# applied, far from the 2^127 of float32; unrolling more rows spills registers (measured: no gain at 16).
BLOCK = 8


@part
def count_below(diag: Any, off_diag_squared: Any, shift: Any, blocks: int) -> Any:
    """Count eigenvalues below `shift` (Lanes) per lane, as floats."""
    one = fill(shift, 1.0)
    zero = fill(shift, 0.0)
    minors = one, zero, one, zero
    scales = one, one
    signs = no_signs(shift)
    count = signs
    row = 0
    tail = blocks * BLOCK - 1
    for _ in range(blocks // 2):
        minors, signs = _advance(diag, off_diag_squared, shift, row, tail, 6, _scaled(minors, scales), signs)
        # Used two rows later, so that no minor waits for them.
        scales = _scales(minors)
        minors, signs = _advance(diag, off_diag_squared, shift, row + 6, tail - 6, 2, minors, signs)
        count = add_sign_changes(count, signs, 2, 2 * BLOCK)
        row += BLOCK
        tail -= BLOCK
    if blocks % 2 == 1:
        minors, signs = _advance(diag, off_diag_squared, shift, row, tail, 2, _scaled(minors, scales), signs)
        scales = _scales(minors)
        minors, signs = _advance(diag, off_diag_squared, shift, row + 2, tail - 2, 2, minors, signs)
        count = add_sign_changes(count, signs, 2, BLOCK)
    # The sign of p_m - e^2 p_{m-1} q_{m+2} / q_{m+1} takes the place of the sign of p_m.
    p, before, q, behind = _scaled(minors, scales)
    # Where q_{m+1} is zero, so is this, but with the sign that counts: the last factor may not be left out.
    joined = (p * q - before * behind) * q
    none = no_signs(shift)
    apart = add_sign_changes(none, push_sign(push_sign(none, before), p), 1, 1)
    together = add_sign_changes(none, push_sign(push_sign(none, before), joined), 1, 1)
    return number_of(count) - number_of(apart) + number_of(together)


@part
def newton_step(diag: Any, off_diag_squared: Any, shift: Any, blocks: int) -> Any:
    """Return -f(s) / f'(s) per lane, f the determinant: the Newton step of the characteristic polynomial at `shift`.

    The derivatives follow the same recurrences and the same scales. Padding rows multiply f by a constant c - s with c
    large, which adds sum 1 / (c - s) to the logarithmic derivative: negligible against 1 / (lambda - s) near a root.
    """
    one = fill(shift, 1.0)
    zero = fill(shift, 0.0)
    minors = one, zero, one, zero
    slopes = zero, zero, zero, zero
    row = 0
    tail = blocks * BLOCK - 1
    for _ in range(blocks // 2):
        minors, slopes = _advance_with_slopes(diag, off_diag_squared, shift, row, tail, BLOCK, minors, slopes)
        scales = _scales(minors)
        minors = _scaled(minors, scales)
        slopes = _scaled(slopes, scales)
        row += BLOCK
        tail -= BLOCK
    if blocks % 2 == 1:
        minors, slopes = _advance_with_slopes(diag, off_diag_squared, shift, row, tail, BLOCK // 2, minors, slopes)
    p, before, q, behind = minors
    p_slope, before_slope, q_slope, behind_slope = slopes
    slope = (p_slope * q + p * q_slope) - (before_slope * behind + before * behind_slope)
    return (before * behind - p * q) / slope


@part(forceinline=True)
def _advance(d: Any, e2: Any, shift: Any, row: int, tail: int, rows: int, minors: Any, signs: Any) -> Any:
    """Advance the minors `rows` rows further down from `row` and up from `tail`, and their signs, by turns.

    minors: p_i, p_{i-1}, q_i and e_i^2 q_{i+1}, which the next row up subtracts.
    """
    p, before, q, behind = minors
    for i in range(rows):
        following = (load(d, row + i) - shift) * p - load(e2, row + i) * before
        preceding = (load(d, tail - i) - shift) * q - behind
        before, behind = p, load(e2, tail - i) * q
        p, q = following, preceding
        signs = push_sign(push_sign(signs, p), q)
    return (p, before, q, behind), signs


@part(forceinline=True)
def _advance_with_slopes(d: Any, e2: Any, shift: Any, row: int, tail: int, rows: int, minors: Any, slopes: Any) -> Any:
    """Advance as `_advance`, the derivatives by the shift instead of the signs."""
    p, before, q, behind = minors
    p_slope, before_slope, q_slope, behind_slope = slopes
    for i in range(rows):
        pivot, squared = load(d, row + i) - shift, load(e2, row + i)
        following_slope = pivot * p_slope - (squared * before_slope + p)
        following = pivot * p - squared * before
        before, before_slope = p, p_slope
        p, p_slope = following, following_slope
        pivot, squared = load(d, tail - i) - shift, load(e2, tail - i)
        preceding_slope = pivot * q_slope - (behind_slope + q)
        preceding = pivot * q - behind
        behind, behind_slope = squared * q, squared * q_slope
        q, q_slope = preceding, preceding_slope
    return (p, before, q, behind), (p_slope, before_slope, q_slope, behind_slope)


@part(forceinline=True)
def _scales(minors: Any) -> Any:
    """Return powers of two that bring the larger of the leading and of the trailing minors to [1, 2)."""
    p, before, q, behind = minors
    return (
        inverse_power_of_two(larger(absolute(before), absolute(p))),
        inverse_power_of_two(larger(absolute(behind), absolute(q))),
    )


@part(forceinline=True)
def _scaled(minors: Any, scales: Any) -> Any:
    p, before, q, behind = minors
    scale, tail_scale = scales
    return p * scale, before * scale, q * tail_scale, behind * tail_scale
