"""Eigenpairs of tridiagonal JAX arrays, under jit, vmap, grad and jvp."""

from eigenserve.model.eigensolvers.jax.tridiagonal import EigenArrays, eigh_tridiagonal, eigvalsh_tridiagonal

__all__ = ["EigenArrays", "eigh_tridiagonal", "eigvalsh_tridiagonal"]
