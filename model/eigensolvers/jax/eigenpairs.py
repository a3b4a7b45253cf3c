"""Register eigenpairs and the pseudo-inverse of T - lambda I as primitives whose derivatives are made of each other.

Arrays have any batch axes: diag (..., n), off_diag (..., n - 1), values (..., p), vectors and rhs (..., p, n). The
formulas are those of ``model.autograd.derivatives``.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

from eigenserve.model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal
from eigenserve.model.eigensolvers.jax.host_primitives import host_primitive
from eigenserve.model.eigensolvers.pseudo_inverse import solve_pseudo_inverse
from eigenserve.model.kernels.threads import for_ranges

#: Matrices whose pseudo-inverses are worth a second thread.
_GRAIN = 256


def eigenvalues(diag: Any, off_diag: Any, eig_idx: int) -> Any:
    """Return eigenvalue `eig_idx` of each matrix, (...)."""
    return _eigenvalues.bind(diag, off_diag, eig_idx=eig_idx)[0]


def eigenpairs(diag: Any, off_diag: Any, eig_idx: int, window: int) -> Any:
    """Return values (..., 2 window + 1) and unit vectors (..., 2 window + 1, n) around `eig_idx`."""
    return _eigenpairs.bind(diag, off_diag, eig_idx=eig_idx, window=window)


def pseudo_inverse(diag: Any, off_diag: Any, values: Any, vectors: Any, rhs: Any) -> Any:
    """Return (T - lambda I)+ rhs, damped; values and vectors count as functions of the matrices."""
    return _pseudo_inverse.bind(diag, off_diag, values, vectors, rhs)[0]


def _times(diag: Any, off_diag: Any, vectors: Any) -> Any:
    d, e = diag[..., None, :], off_diag[..., None, :]
    ends = [(0, 0)] * (vectors.ndim - 1)
    above = jnp.pad(e * vectors[..., 1:], [*ends, (0, 1)])
    below = jnp.pad(e * vectors[..., :-1], [*ends, (1, 0)])
    return d * vectors + above + below


def _dot(a: Any, b: Any) -> Any:
    return (a * b).sum(-1, keepdims=True)


def _solve_values(diag: Any, off_diag: Any, eig_idx: int) -> Any:
    return (eigvalsh_tridiagonal(diag, off_diag, eig_idx=eig_idx),)


def _values_tangents(primals: Any, _: Any, changes: Any, eig_idx: int) -> Any:
    _, vectors = eigenpairs(primals[0], primals[1], eig_idx, 0)
    return [_dot(vectors, _times(changes[0], changes[1], vectors))[..., 0, 0]]


def _solve_pairs(diag: Any, off_diag: Any, eig_idx: int, window: int) -> Any:
    pairs = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=window)
    return pairs.eigenvalues, pairs.eigenvectors


def _pairs_shapes(diag: Any, _: Any, eig_idx: int, window: int) -> Any:
    places = (*diag[:-1], 2 * window + 1)
    return [places, (*places, diag[-1])]


def _pairs_tangents(primals: Any, results: Any, changes: Any, **_: Any) -> Any:
    (diag, off_diag), (values, vectors) = primals, results
    turn = _times(changes[0], changes[1], vectors)
    return [_dot(vectors, turn)[..., 0], -pseudo_inverse(diag, off_diag, values, vectors, turn)]


def _apply_pseudo_inverse(*arrays: Any) -> Any:
    # A kernel has one axis of matrices.
    axes = (1, 1, 1, 2, 2)
    flat = [
        np.ascontiguousarray(array, np.float64).reshape(-1, *array.shape[array.ndim - kept :])
        for array, kept in zip(arrays, axes, strict=True)
    ]
    out = np.empty_like(flat[-1])
    for_ranges(len(out), _GRAIN, lambda i, j: solve_pseudo_inverse(*(array[i:j] for array in flat), out[i:j]))
    return (out.reshape(arrays[-1].shape),)


def _pseudo_inverse_tangents(primals: Any, results: Any, changes: Any) -> Any:
    diag, off_diag, values, vectors, rhs = primals
    (x,), (d_diag, d_off, _, _, d_rhs) = results, changes

    def invert(b: Any) -> Any:
        return pseudo_inverse(diag, off_diag, values, vectors, b)

    turn = _times(d_diag, d_off, vectors)
    inner = d_rhs - _times(d_diag, d_off, x) + _dot(vectors, turn) * x
    return [invert(inner + _dot(vectors, rhs) * invert(turn)) + _dot(turn, invert(x)) * vectors]


def _transpose(cotangents: Any, diag: Any, off_diag: Any, values: Any, vectors: Any, rhs: Any) -> Any:
    # A+ is symmetric, and linear in the right-hand side alone.
    (cotangent,) = cotangents
    if not isinstance(cotangent, ad.Zero):
        cotangent = pseudo_inverse(diag, off_diag, values, vectors, cotangent)
    return [None, None, None, None, cotangent]


_eigenvalues = host_primitive(
    "tridiagonal_eigenvalue", _solve_values, lambda diag, _, **options: [diag[:-1]], _values_tangents
)
_eigenpairs = host_primitive("tridiagonal_eigenpairs", _solve_pairs, _pairs_shapes, _pairs_tangents)
_pseudo_inverse = host_primitive(
    "tridiagonal_pseudo_inverse", _apply_pseudo_inverse, lambda *shapes: [shapes[-1]], _pseudo_inverse_tangents
)
ad.primitive_transposes[_pseudo_inverse] = _transpose
