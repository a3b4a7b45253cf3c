"""Solve with SciPy (LAPACK), one matrix at a time: the readable reference that other solvers are tested against."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def solve_window(
    diag: Array, off_diag: Array, eig_idx: int, window: int, eigenvalues: Array, eigenvectors: Array
) -> None:
    """Solve as `cpu.solve_window`, by LAPACK's full QR iteration, with the same conventions."""
    # Imported where it is used: it is a reference, and costs a server that never asks for it 30 MB and 0.2 s.
    from scipy.linalg import eigh_tridiagonal

    n = diag.shape[1]
    for j in range(len(diag)):
        if not (np.isfinite(diag[j]).all() and np.isfinite(off_diag[j]).all()):
            values, vectors = np.full(n, np.nan), np.full((n, n), np.nan)
        elif n == 1:
            values, vectors = diag[j], np.ones((1, 1))
        else:
            values, vectors = eigh_tridiagonal(diag[j], off_diag[j], lapack_driver="stev")
        for place, k in enumerate(range(eig_idx - window, eig_idx + window + 1)):
            inside = 0 <= k < n
            eigenvalues[j, place] = values[k] if inside else (-np.inf if k < 0 else np.inf)
            eigenvectors[j, place] = vectors[:, k] if inside else 0.0
