"""Eigenpairs of tridiagonal matrices in JAX: `from eigenserve.jax import eigh_tridiagonal, eigvalsh_tridiagonal`."""

from eigenserve.model.eigensolvers.jax import EigenArrays, eigh_tridiagonal, eigvalsh_tridiagonal

__all__ = ["EigenArrays", "eigh_tridiagonal", "eigvalsh_tridiagonal"]
