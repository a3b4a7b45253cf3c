"""Batched eigenpairs of symmetric tridiagonal matrices."""

from .cpu import warm_up
from .dispatch import EigenResult, eigh_tridiagonal, eigvalsh_tridiagonal

__all__ = ["EigenResult", "eigh_tridiagonal", "eigvalsh_tridiagonal", "warm_up"]
