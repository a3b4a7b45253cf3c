"""Eigenpairs of tridiagonal matrices in JAX: `from eigenserve.jax import eigh_tridiagonal, eigvalsh_tridiagonal`."""

from eigenserve.extras import naming_extra

with naming_extra("jax"):
    from eigenserve.model.eigensolvers.jax import EigenArrays, eigh_tridiagonal, eigvalsh_tridiagonal

__all__ = ["EigenArrays", "eigh_tridiagonal", "eigvalsh_tridiagonal"]
