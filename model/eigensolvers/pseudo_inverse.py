"""Apply the pseudo-inverse of T - lambda I to a vector: what derivatives of eigenvectors are made of.

With A = T - lambda I, the real part of (A - i delta)^-1 b is sum over j of mu_j / (mu_j^2 + delta^2) u_j
(u_j'b), over the eigenpairs (mu_j, u_j) of A: the pseudo-inverse, with 1 / gap damped to gap / (gap^2 +
delta^2). One complex tridiagonal solve, no full spectrum, and finite for every matrix: where eigenvalues
agree the damped factor vanishes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.elimination import solve_shifted
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest

# delta in units of the largest entry of T: sqrt(eps), so that a gap of 1e-3 ||T|| is damped by 2e-10 of
# itself, while rounding in the direction of v, amplified by 1 / delta, stays at sqrt(eps) before it is
# projected away.
DAMPING = 2.0**-26
# Entries beyond these are brought near 1 by exact factors first: squares of their reciprocals are not numbers.
_FAR_UP, _FAR_BELOW = 2.0**600, 2.0**-400
_FAR_DOWN, _FAR_ABOVE = 2.0**-600, 2.0**400
_LARGEST = 2.0**1000  # for matrices below 1e-300, whose derivatives are too large for a number: finite all the same


def _cached(sources: int) -> Any:
    @kernel
    def solve(diag: Any, off_diag: Any, values: Any, vectors: Any, rhs: Any, out: Any) -> None:
        if sources >= 0:
            for matrix in range(diag.shape[0]):
                for place in range(values.shape[1]):
                    _apply(
                        diag[matrix], off_diag[matrix], values[matrix, place], vectors[matrix, place],
                        rhs[matrix, place], out[matrix, place],
                    )  # fmt: skip

    return solve


@part
def _apply(diag: Any, off_diag: Any, value: float, vector: Any, rhs: Any, out: Any) -> None:
    """Write the damped pseudo-inverse of (T - value I) times rhs to out, orthogonal to the unit `vector`."""
    n = diag.shape[0]
    if not np.isfinite(value):  # a place beyond the spectrum, or a matrix that is not finite
        out[:] = value * 0.0 if np.isnan(value) else 0.0
        return
    size = 0.0
    for i in range(n):
        size = max(size, abs(diag[i]))
    for i in range(n - 1):
        size = max(size, abs(off_diag[i]))
    overlap = 0.0
    for i in range(n):
        overlap += vector[i] * rhs[i]
    x = np.empty(n, np.complex128)
    for i in range(n):
        x[i] = rhs[i] - overlap * vector[i]
    # A zero matrix has no gaps at all: every factor is damped to nothing.
    if size == 0.0:
        out[:] = 0.0
        return
    factor = _FAR_UP if size < _FAR_BELOW else _FAR_DOWN if size > _FAR_ABOVE else 1.0
    # The imaginary shift keeps pivots from zero.
    solve_shifted(diag, off_diag, factor, complex(factor * value, DAMPING * (factor * size)), x)
    overlap = 0.0
    for i in range(n):
        overlap += vector[i] * x[i].real
    for i in range(n):
        out[i] = min(max(factor * (x[i].real - overlap * vector[i]), -_LARGEST), _LARGEST)


solve_pseudo_inverse = _cached(source_digest(*SOLVER_SOURCES, Path(__file__)))
