"""Differentiate eigenpairs of symmetric tridiagonal JAX arrays, to any order, forward and reverse.

The kernels run on the host, in float64: on an accelerator arrays travel there and back. The derivatives are those of
``model.autograd.derivatives``: no gap in those of eigenvalues, damped gaps in those of vectors, all of them finite.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from eigenserve.model.eigensolvers.jax.eigenpairs import eigenpairs, eigenvalues


class EigenArrays(NamedTuple):
    """Hold eigenpairs, ascending: eigenvalues (..., 2 window + 1), unit eigenvectors (..., 2 window + 1, n)."""

    eigenvalues: jax.Array
    eigenvectors: jax.Array


def eigvalsh_tridiagonal(diag: Any, off_diag: Any, *, eig_idx: int) -> jax.Array:
    """Return eigenvalue `eig_idx` of each matrix: diag (..., n), off_diag (..., n - 1) -> (...), differentiable.

    Eigenvalues are solved in float64 and rounded to the floating dtype that the arrays promote to. The gradient is
    (v_i^2, 2 v_i v_{i+1}). Raises ValueError for shapes that do not match or an eig_idx outside [0, n).
    """
    d, e = _broadcast(diag, off_diag, eig_idx, 0)
    return eigenvalues(d, e, operator.index(eig_idx))


def eigh_tridiagonal(diag: Any, off_diag: Any, *, eig_idx: int, window: int = 0) -> EigenArrays:
    """Return eigenpairs around `eig_idx`, differentiable: (..., 2 window + 1) and (..., 2 window + 1, n).

    As `eigenserve.torch.eigh_tridiagonal`: a vector's sign is arbitrary, and gradients of vectors divide by damped
    gaps, so that they are finite where eigenvalues agree.
    """
    d, e = _broadcast(diag, off_diag, eig_idx, window)
    return EigenArrays(*eigenpairs(d, e, operator.index(eig_idx), operator.index(window)))


def _broadcast(diag: Any, off_diag: Any, eig_idx: int, window: int) -> tuple[jax.Array, jax.Array]:
    """Return arrays with the same batch axes and the same floating dtype."""
    d, e = jnp.asarray(diag), jnp.asarray(off_diag)
    if d.ndim == 0 or e.ndim == 0 or e.shape[-1] != d.shape[-1] - 1:
        raise ValueError(f"diag must be (..., n) with n >= 1 and off_diag (..., n - 1); got {d.shape} and {e.shape}")
    n = d.shape[-1]
    if not 0 <= operator.index(eig_idx) < n:
        raise ValueError(f"eig_idx must be in [0, {n}); got {eig_idx}")
    if operator.index(window) < 0:
        raise ValueError(f"window must be at least 0; got {window}")
    dtype = jnp.result_type(d, e, float)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"diag and off_diag must be real; got {d.dtype} and {e.dtype}")
    try:
        shape = jnp.broadcast_shapes(d.shape[:-1], e.shape[:-1])
    except ValueError:
        raise ValueError(f"the batch axes of diag and off_diag must broadcast; got {d.shape} and {e.shape}") from None
    return jnp.broadcast_to(d, (*shape, n)).astype(dtype), jnp.broadcast_to(e, (*shape, n - 1)).astype(dtype)
