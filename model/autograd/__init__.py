"""Differentiate eigenpairs of tridiagonal and general matrices, on torch."""

from eigenserve.model.autograd.general import GeneralEig, eig
from eigenserve.model.autograd.tridiagonal import (
    EigenTensors,
    eigh_tridiagonal,
    eigvalsh_tridiagonal,
    smoothed_eigvalsh_tridiagonal,
)

__all__ = [
    "EigenTensors",
    "GeneralEig",
    "eig",
    "eigh_tridiagonal",
    "eigvalsh_tridiagonal",
    "smoothed_eigvalsh_tridiagonal",
]
