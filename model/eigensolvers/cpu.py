"""The CPU solver: serial Numba kernels that release the GIL, for callers that hold contiguous float64 arrays.

Nothing is validated here. All arrays are C-contiguous float64, diag (M, n), off_diag (M, n - 1); outputs
are written in place. Any split of a batch over calls or threads gives the same bits.
"""

from typing import Any

import numpy as np
from numba import njit

from .eigenvalues import narrow_tile, tile_eigenvalues
from .simd import LANES_F32, LANES_F64, load
from .sturm import BLOCK
from .tiles import aligned_rows, gather_tile, scale_half
from .twisted import twisted_vector

# Least pivot of the twisted factorisation: a perturbation of the diagonal by 2^-116 of the largest entry.
TINY_PIVOT = 2.0**-116
# ||z||^2 beyond this says that the row is no place to twist at; far from overflow.
HUGE_NORM = 2.0**400


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(
    diag: Any, off_diag: Any, first: int, count: int, eigenvalues: Any, eigenvectors: Any, want: bool
) -> None:
    """Eigenpairs first ... first + count - 1 of every matrix; eigenvectors (M, count, n) if `want`."""
    matrices_count, n = diag.shape
    rows = -(-n // BLOCK) * BLOCK
    buffer = aligned_rows(6 + (10 if want else 0), rows)
    d = buffer[0:2]
    e = buffer[2:4]
    e2 = buffer[4:6]
    small = aligned_rows(16, 1)
    frame = aligned_rows(2, 2)
    facts = aligned_rows(2, 5)
    values = small[0:2]
    d32 = aligned_rows(1, rows).reshape(-1).view(np.float32).reshape(rows, LANES_F32)
    e2_32 = aligned_rows(1, rows).reshape(-1).view(np.float32).reshape(rows, LANES_F32)
    middle = small[2].reshape(-1).view(np.float32).reshape(1, LANES_F32)
    matrices = np.empty(LANES_F32, np.int64)
    for tile in range(0, matrices_count, LANES_F32):
        used = min(LANES_F32, matrices_count - tile)
        for lane in range(LANES_F32):
            matrices[lane] = tile + min(lane, used - 1)
        gather_tile(diag, off_diag, matrices, d, e)
        for half in range(2):
            scale_half(d[half], e[half], e2[half], n, facts[half])
        narrow_tile(d, e2, facts, d32, e2_32, frame)
        for place in range(count):
            eig_idx = first + place
            if eig_idx < 0 or eig_idx >= n:
                for lane in range(used):
                    eigenvalues[tile + lane, place] = -np.inf if eig_idx < 0 else np.inf
                    if want:
                        eigenvectors[tile + lane, place, :] = 0.0
                continue
            tile_eigenvalues(d, e2, facts, frame, d32, e2_32, middle, eig_idx, values)
            for lane in range(used):
                half = lane // LANES_F64
                column = lane % LANES_F64
                fact = facts[half, :, column]
                eigenvalues[tile + lane, place] = values[half, 0, column] * fact[0] * fact[1] + fact[4]
            if want:
                for half in range(2):
                    if half * LANES_F64 < used:
                        _write_vectors(
                            d[half], e[half], n, load(values[half], 0), buffer[6:10], buffer[10],
                            eigenvectors[tile + half * LANES_F64 : tile + used, place], facts[half, 4],
                        )  # fmt: skip


@njit(error_model="numpy")
def _write_vectors(d: Any, e: Any, n: int, shift: Any, work: Any, vector: Any, out: Any, poison: Any) -> None:
    """Unit eigenvectors of one half into out (lanes used, n); NaN where poison is."""
    twisted_vector(d, e, shift, n, TINY_PIVOT, HUGE_NORM, work, vector)
    for lane in range(min(LANES_F64, out.shape[0])):
        for i in range(n):
            out[lane, i] = vector[i, lane] + poison[lane]


def solve_eigenvalues(diag: Any, off_diag: Any, eig_idx: int, eigenvalues: Any) -> None:
    """eigenvalues (M,) receives eigenvalue `eig_idx` of every matrix."""
    _solve(diag, off_diag, eig_idx, 1, eigenvalues.reshape(-1, 1), _NO_VECTORS, False)


def solve_eigenpairs(diag: Any, off_diag: Any, eig_idx: int, eigenvalues: Any, eigenvectors: Any) -> None:
    """eigenvalues (M,) and eigenvectors (M, n) receive eigenpair `eig_idx` of every matrix."""
    count, n = diag.shape
    _solve(diag, off_diag, eig_idx, 1, eigenvalues.reshape(-1, 1), eigenvectors.reshape(count, 1, n), True)


def solve_window(
    diag: Any, off_diag: Any, eig_idx: int, window: int, eigenvalues: Any, eigenvectors: Any
) -> None:
    """eigenvalues (M, 2 window + 1) and eigenvectors (M, 2 window + 1, n) receive the pairs around `eig_idx`.

    Places beyond the spectrum hold -inf or +inf and zero vectors.
    """
    _solve(diag, off_diag, eig_idx - window, 2 * window + 1, eigenvalues, eigenvectors, True)


_NO_VECTORS = np.empty((0, 1, 0))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache: one small call that touches every path."""
    diag = np.array([[1.0, 2.0]])
    off_diag = np.array([[0.5]])
    solve_window(diag, off_diag, 0, 1, np.empty((1, 3)), np.empty((1, 3, 2)))
