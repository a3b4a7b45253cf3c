"""Handle symmetric tridiagonal matrices as arrays of diagonals (..., n) and off-diagonals (..., n - 1)."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal


def times(diag: FloatArray, off_diag: FloatArray, vectors: FloatArray) -> FloatArray:
    """Multiply vectors (..., n) by the matrices."""
    out = diag * vectors
    out[..., :-1] += off_diag * vectors[..., 1:]
    out[..., 1:] += off_diag * vectors[..., :-1]
    return out


def spectral_norms(diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """Return the spectral norms, (...)."""
    least = eigvalsh_tridiagonal(diag, off_diag, eig_idx=0)
    return np.maximum(-least, eigvalsh_tridiagonal(diag, off_diag, eig_idx=diag.shape[-1] - 1))


def norm_bound(diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """Bound the spectral norms (...), without a solve."""
    return np.abs(diag).max(axis=-1) + 2.0 * np.abs(off_diag).max(axis=-1, initial=0.0)


def dense(diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """Return the matrices in full, (..., n, n)."""
    n = diag.shape[-1]
    full = np.zeros((*diag.shape, n))
    i = np.arange(n)
    full[..., i, i] = diag
    full[..., i[1:], i[:-1]] = full[..., i[:-1], i[1:]] = off_diag
    return full
