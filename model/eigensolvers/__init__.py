"""Solve for eigenpairs of symmetric tridiagonal matrices, in batches."""

from eigenserve.model.eigensolvers.api import EigenResult, eigh_tridiagonal, eigvalsh_tridiagonal
from eigenserve.model.eigensolvers.cpu import warm_up

__all__ = ["EigenResult", "eigh_tridiagonal", "eigvalsh_tridiagonal", "warm_up"]
