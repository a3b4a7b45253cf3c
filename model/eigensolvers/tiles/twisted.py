"""Find eigenvectors by twisted factorisation: two pivot sequences that meet where the residual is least.

With q the pivots of T - s I from the top and p those from the bottom, gamma_k = q_k - e_{k+1}^2 / p_{k+1}
and the vector z with z_k = 1 that both sequences determine satisfies (T - s I) z = gamma_k e_k (Fernando,
1997; Parlett and Dhillon, 1997). The twist row k is the one with the least residual |gamma_k| / ||z||.
Choosing the least |gamma_k| alone fails when eigenvalues lie symmetrically about s: there gamma_k is small
in rows where z is huge elsewhere.
"""

from typing import Any

import numpy as np

from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import absolute, fill, load, rows_of, select, store

# Least pivot in float64, for matrices whose largest entry lies in [1, 2): moves the diagonal by 2^-116.
TINY_PIVOT = 2.0**-116
# ||z||^2 beyond this says that a row is not a place to twist at; far from overflow even when multiplied by
# gamma^2.
HUGE_NORM = 2.0**400


@part
def twisted_vector(
    diag: Any, off_diag: Any, shift: Any, n: int, tiny: float, huge: float, work: Any, rows: int, vector: Any
) -> Any:
    """Find eigenvectors of the lanes' matrices for eigenvalues near `shift`.

    diag, off_diag, vector: `rows_of` arrays (rows >= n, lanes), row i of the second coupling rows i and i + 1,
    the third receiving z; shift: Lanes; tiny: least |pivot|; huge: largest ||z||^2 believed (beyond it the row
    is not a candidate); work: 5 * rows rows of scratch. Returns (gamma, ||z||^2): |gamma| / ||z|| is the
    residual, gamma / ||z||^2 the Rayleigh correction of the shift.
    """
    above, below, pivots = rows_of(work, 0), rows_of(work, rows), rows_of(work, 2 * rows)
    norms_above, norms_below = rows_of(work, 3 * rows), rows_of(work, 4 * rows)
    _factorise(diag, off_diag, shift, n, tiny, above, below, pivots, norms_above, norms_below)
    gamma, row = _twist_row(off_diag, shift, n, huge, below, pivots, norms_above, norms_below)
    return gamma, _solve_outward(row, n, above, below, vector)


@part
def _factorise(
    diag: Any,
    off_diag: Any,
    shift: Any,
    n: int,
    tiny: float,
    above: Any,
    below: Any,
    pivots: Any,
    norms_above: Any,
    norms_below: Any,
) -> None:
    """Compute negated pivots from both ends at once: one chain of divisions hides the latency of the other.

    Written: the multipliers z_i / z_{i+1} from the top and z_{i+1} / z_i from the bottom, the pivots from the top,
    and for every row the squared norms of the parts of z above (that row included) and below were it the twist.
    """
    one = fill(shift, 1.0)
    least = fill(shift, tiny)
    pivot = shift - load(diag, 0)
    tail_pivot = shift - load(diag, n - 1)
    norm = one
    tail_norm = one
    for i in range(n - 1):
        j = n - 2 - i
        store(pivots, i, pivot)
        store(norms_above, i, norm)
        store(norms_below, j + 1, tail_norm)
        e = load(off_diag, i)
        tail_e = load(off_diag, j)
        ratio = e / select(absolute(pivot) < tiny, least, pivot)
        tail_ratio = tail_e / select(absolute(tail_pivot) < tiny, least, tail_pivot)
        store(above, i, ratio)
        store(below, j, tail_ratio)
        norm = one + ratio * ratio * norm
        tail_norm = one + tail_ratio * tail_ratio * tail_norm
        pivot = (shift - load(diag, i + 1)) - e * ratio
        tail_pivot = (shift - load(diag, j)) - tail_e * tail_ratio
    store(pivots, n - 1, pivot)
    store(norms_above, n - 1, norm)
    store(norms_below, 0, tail_norm)


@part
def _twist_row(
    off_diag: Any, shift: Any, n: int, huge: float, below: Any, pivots: Any, norms_above: Any, norms_below: Any
) -> Any:
    """Return gamma and (as a float) the row that minimises gamma^2 / ||z||^2."""
    best_gamma = load(pivots, n - 1)
    best_square = fill(shift, np.inf)
    best_norm = fill(shift, 1.0)
    best_row = fill(shift, n - 1.0)
    row = fill(shift, 0.0)
    for i in range(n):
        gamma = load(pivots, i)
        if i + 1 < n:
            gamma = gamma - load(off_diag, i) * load(below, i)
        norm = load(norms_above, i) + load(norms_below, i) - 1.0
        square = gamma * gamma
        better = (square * best_norm < best_square * norm) & (norm < huge)
        best_gamma = select(better, gamma, best_gamma)
        best_square = select(better, square, best_square)
        best_norm = select(better, norm, best_norm)
        best_row = select(better, row, best_row)
        row = row + 1.0
    return fill(shift, 0.0) - best_gamma, best_row


@part
def _solve_outward(twist: Any, n: int, above: Any, below: Any, vector: Any) -> Any:
    """Solve for z from the twist row to both ends, both ways in one loop; returns ||z||^2.

    The upward and the downward walk cross half way: the first to come stores its part, the second adds to it.
    """
    one = fill(twist, 1.0)
    zero = fill(twist, 0.0)
    down = select(twist == zero, one, zero)
    up = select(twist == fill(twist, n - 1.0), one, zero)
    store(vector, 0, down)
    total = down
    if n > 1:
        store(vector, n - 1, zero)
    row = zero
    tail_row = fill(twist, n - 1.0)
    for i in range(1, n):
        j = n - 1 - i
        row = row + 1.0
        tail_row = tail_row - 1.0
        here = twist == row
        tail_here = twist == tail_row
        down = select(here, one, load(below, i - 1) * down)
        up = select(tail_here, one, load(above, j) * up)
        # The twist row itself is written by the downward walk alone.
        tail_part = select(tail_here, zero, up)
        total = total + down * down + tail_part * tail_part
        if i < j:
            store(vector, i, down)
            store(vector, j, tail_part)
        elif i == j:
            store(vector, i, down + tail_part)
        else:
            store(vector, i, load(vector, i) + down)
            store(vector, j, load(vector, j) + tail_part)
    return total
