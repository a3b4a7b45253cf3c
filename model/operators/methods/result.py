"""Hold eigenpairs of an operator, and choose which of them are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eigenserve.model.operators.arguments import Which
from eigenserve.model.operators.products import FloatArray, Products

#: Called after each step: products so far, the most there may be, and pairs converged.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class EigenResult:
    """Hold the k wanted eigenpairs, the most wanted first (the largest magnitude, the largest, the smallest).

    This is the result of an iteration on an operator; ``model.eigensolvers.EigenResult`` is that of a direct
    solver, which has neither residuals nor iterations.

    Attributes:
        eigenvalues: (k,).
        eigenvectors: (k, n), orthonormal rows; the sign of each is arbitrary, and so is the basis where
            eigenvalues repeat.
        residuals: (k,), ||A v - lambda v||, at least the rounding of a product; there is an eigenvalue within
            this of each one given.
        iterations: products of the operator with one vector that were spent.
        converged: (k,) bool; a pair that is not is the best there was when the iterations ran out.
    """

    eigenvalues: Tensor
    eigenvectors: Tensor
    residuals: Tensor
    iterations: int
    converged: Tensor


def order(eigenvalues: FloatArray, which: Which) -> NDArray[np.intp]:
    """Order positions by how much they are wanted, the most wanted first."""
    key = {"LM": -np.abs(eigenvalues), "LA": -eigenvalues, "SA": eigenvalues}[which]
    return np.argsort(key, kind="stable")


def is_converged(eigenvalues: FloatArray, residuals: FloatArray, scale: float, tol: float) -> NDArray[np.bool_]:
    """Return whether residuals are within tol |lambda|; below eps^(2/3) ||A|| an eigenvalue counts as that large.

    The floor is ARPACK's: an eigenvalue of zero has no relative accuracy to reach.
    """
    floor = np.finfo(np.float64).eps ** (2 / 3) * scale
    return residuals <= tol * np.maximum(np.abs(eigenvalues), floor)


def as_result(
    products: Products,
    eigenvalues: FloatArray,
    eigenvectors: Tensor,
    residuals: FloatArray,
    converged: NDArray[np.bool_],
    scale: float = 0.0,
) -> EigenResult:
    """Make an ``EigenResult`` from the figures of scaled products, in the vectors' type and on their device.

    ``scale`` is the norm of the scaled operator, where residuals are estimates: these fall below the rounding
    of a product, eps times that, and true ones do not.
    """
    residuals = np.maximum(residuals, torch.finfo(products.dtype).eps * scale)
    return EigenResult(
        eigenvalues=torch.from_numpy(products.restored(eigenvalues)).to(eigenvectors),
        eigenvectors=eigenvectors,
        residuals=torch.from_numpy(products.restored(residuals)).to(eigenvectors),
        iterations=products.count,
        converged=torch.from_numpy(converged).to(eigenvectors.device),
    )
