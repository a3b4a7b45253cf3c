"""Find the largest eigenvalue of Q'EQ + S for many tridiagonal E, S diagonal and Q with few columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.threads import for_ranges

# Work worth a second thread: measured 20 us to wake one, and about half a microsecond a matrix of a demo model.
_GRAIN_POINTS = 64
_LANES = 8
# Half the square of a column; a shorter one is dropped, which callers allow for.
_TINY = 1e-280


def largest_projected(
    diag: FloatArray, off_diag: FloatArray, bases: FloatArray, shifts: FloatArray, sign: float
) -> FloatArray:
    """Return lambda_max(sign Q_h'E_ph Q_h + diag(shifts_h)) for P points and H heads, as (P, H).

    Args:
        diag, off_diag: E, (P, H, n) and (P, H, n - 1).
        bases: Q, (H, n, m), whose columns are orthonormal.
        shifts: (H, m).
        sign: 1 or -1.
    """
    points, heads, _ = diag.shape
    size = bases.shape[2]
    reduced, reduced_off = np.empty((points, heads, size)), np.empty((points, heads, size - 1))

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        _reduce(diag[part], off_diag[part], bases, shifts, sign, reduced[part], reduced_off[part])

    for_ranges(points, _GRAIN_POINTS, work)
    return np.asarray(eigvalsh_tridiagonal(reduced, reduced_off, eig_idx=size - 1))


@kernel
def _reduce(diag: Any, off_diag: Any, bases: Any, shifts: Any, sign: float, reduced: Any, reduced_off: Any) -> None:
    """Make the matrices tridiagonal by Householder reflections; ``_LANES`` points at once, the innermost axis.

    Measured at n = 15, m = 8: 0.48 us a matrix instead of 1.2 one by one.
    """
    points, heads, n = diag.shape
    m = bases.shape[2]
    diagonals, off_diagonals = np.zeros((n, _LANES)), np.zeros((n, _LANES))
    image, full = np.empty((n, m, _LANES)), np.empty((m, m, _LANES))
    vector, product = np.empty((m, _LANES)), np.empty((m, _LANES))
    length, inverse, along = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
    for h in range(heads):
        basis = bases[h]
        for first in range(0, points, _LANES):
            count = min(_LANES, points - first)
            for s in range(count):
                for i in range(n):
                    diagonals[i, s] = sign * diag[first + s, h, i]
                for i in range(n - 1):
                    off_diagonals[i, s] = sign * off_diag[first + s, h, i]
            for i in range(n):
                for j in range(m):
                    for s in range(_LANES):
                        image[i, j, s] = diagonals[i, s] * basis[i, j]
                    if i + 1 < n:
                        for s in range(_LANES):
                            image[i, j, s] += off_diagonals[i, s] * basis[i + 1, j]
                    if i > 0:
                        for s in range(_LANES):
                            image[i, j, s] += off_diagonals[i - 1, s] * basis[i - 1, j]
            # Only the lower triangle is kept.
            for a in range(m):
                for j in range(a + 1):
                    for s in range(_LANES):
                        full[a, j, s] = shifts[h, a] if a == j else 0.0
                    for i in range(n):
                        for s in range(_LANES):
                            full[a, j, s] += basis[i, a] * image[i, j, s]
            for c in range(m - 2):
                # Reflect column c below the diagonal onto its first entry; symmetric rank-two update of the rest.
                length[:] = 0.0
                along[:] = 0.0
                for i in range(c + 1, m):
                    for s in range(_LANES):
                        vector[i, s] = full[i, c, s]
                        product[i, s] = 0.0
                        length[s] += vector[i, s] * vector[i, s]
                for s in range(_LANES):
                    size = np.sqrt(length[s])
                    length[s] = -size if vector[c + 1, s] > 0.0 else size
                    vector[c + 1, s] -= length[s]
                    half = -length[s] * vector[c + 1, s]  # |vector|^2 / 2
                    inverse[s] = 0.0 if half < _TINY else 1.0 / half
                for i in range(c + 1, m):
                    for s in range(_LANES):
                        product[i, s] += full[i, i, s] * vector[i, s]
                    for j in range(c + 1, i):
                        for s in range(_LANES):
                            product[i, s] += full[i, j, s] * vector[j, s]
                            product[j, s] += full[i, j, s] * vector[i, s]
                for i in range(c + 1, m):
                    for s in range(_LANES):
                        product[i, s] *= inverse[s]
                        along[s] += vector[i, s] * product[i, s]
                for i in range(c + 1, m):
                    for s in range(_LANES):
                        product[i, s] -= 0.5 * inverse[s] * along[s] * vector[i, s]
                for i in range(c + 1, m):
                    for j in range(c + 1, i + 1):
                        for s in range(_LANES):
                            full[i, j, s] -= vector[i, s] * product[j, s] + product[i, s] * vector[j, s]
                for s in range(count):
                    reduced_off[first + s, h, c] = length[s] if inverse[s] > 0.0 else 0.0
            for s in range(count):
                if m > 1:
                    reduced_off[first + s, h, m - 2] = full[m - 1, m - 2, s]
                for a in range(m):
                    reduced[first + s, h, a] = full[a, a, s]
