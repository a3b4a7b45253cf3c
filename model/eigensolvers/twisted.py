"""Eigenvectors by twisted factorisation: two pivot sequences that meet where the residual is least.

With q the pivots of T - s I from the top and p those from the bottom, gamma_k = q_k - e_{k+1}^2 / p_{k+1}
and the vector z with z_k = 1 that both sequences determine satisfies (T - s I) z = gamma_k e_k (Fernando,
1997; Parlett and Dhillon, 1997). The twist row k is the one with the least residual |gamma_k| / ||z||.
Choosing the least |gamma_k| alone fails when eigenvalues lie symmetrically about s: there gamma_k is small
in rows where z is huge elsewhere.
"""

from typing import Any

from numba import njit

from .simd import absolute, fill, load, select, square_root, store


@njit(error_model="numpy")
def twisted_vector(
    diag: Any, off_diag: Any, shift: Any, n: int, tiny: float, huge: float, work: Any, vector: Any
) -> Any:
    """Eigenvectors of the lanes' matrices for eigenvalues near `shift`.

    diag, off_diag (rows >= n, lanes), row i of the second coupling rows i - 1 and i; shift: Lanes; tiny:
    least |pivot|; huge: largest ||z||^2 believed (beyond it the row is no candidate); work (4, rows,
    lanes): scratch; vector (rows, lanes): receives z / ||z||. Returns (gamma, 1 / ||z||): the residual is
    their product, and gamma / ||z||^2 the Rayleigh correction of the shift.
    """
    down, top_pivot, top_norm, up = work[0], work[1], work[2], work[3]
    one = fill(shift, 1.0)
    zero = fill(shift, 0.0)
    pivot = load(diag, 0) - shift
    norm = one
    for i in range(n - 1):
        store(top_pivot, i, pivot)
        store(top_norm, i, norm)
        pivot = select(absolute(pivot) < tiny, fill(shift, tiny), pivot)
        e = load(off_diag, i + 1)
        ratio = e / pivot
        store(down, i, ratio)
        norm = one + ratio * ratio * norm
        pivot = (load(diag, i + 1) - shift) - e * ratio
    best_gamma = pivot
    best_norm = select(norm < huge, norm, fill(shift, huge))
    best_row = fill(shift, n - 1.0)
    pivot = load(diag, n - 1) - shift
    norm = one
    row = fill(shift, n - 1.0)
    for step in range(1, n):
        i = n - 1 - step
        row = row - 1.0
        pivot = select(absolute(pivot) < tiny, fill(shift, tiny), pivot)
        e = load(off_diag, i + 1)
        ratio = e / pivot
        store(up, i + 1, ratio)
        norm = one + ratio * ratio * norm
        drop = e * ratio
        gamma = load(top_pivot, i) - drop
        whole = load(top_norm, i) + norm - 1.0
        better = (gamma * gamma * best_norm < best_gamma * best_gamma * whole) & (whole < huge)
        better = better | ((best_norm >= huge) & (whole < huge))
        best_gamma = select(better, gamma, best_gamma)
        best_norm = select(better, whole, best_norm)
        best_row = select(better, row, best_row)
        pivot = (load(diag, i) - shift) - drop
    row = fill(shift, n - 1.0)
    z = zero
    for step in range(n):
        i = n - 1 - step
        if step > 0:
            z = select(row < best_row, zero - load(down, i) * z, zero)
        z = select(row == best_row, one, z)
        store(vector, i, z)
        row = row - 1.0
    total = zero
    row = zero
    z = zero
    for i in range(n):
        z = select(row > best_row, zero - load(up, i) * z, load(vector, i)) if i > 0 else load(vector, 0)
        store(vector, i, z)
        total = total + z * z
        row = row + 1.0
    scale = one / square_root(total)
    for i in range(n):
        store(vector, i, load(vector, i) * scale)
    return best_gamma, scale
