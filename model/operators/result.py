"""EigenResult: eigenpairs of an operator, and which of them were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: LM: largest magnitude. LA: largest (algebraic). SA: smallest (algebraic). As ARPACK names them.
Which = Literal["LM", "LA", "SA"]
#: Told after each step: products so far, the most there may be, and pairs converged.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class EigenResult:
    """The k eigenpairs asked for, the most wanted first (the largest magnitude, the largest, the smallest).

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


def order(eigenvalues: NDArray[np.float64], which: Which) -> NDArray[np.intp]:
    """Positions by how much they are wanted, the most wanted first."""
    key = {"LM": -np.abs(eigenvalues), "LA": -eigenvalues, "SA": eigenvalues}[which]
    return np.argsort(key, kind="stable")


def is_converged(
    eigenvalues: NDArray[np.float64], residuals: NDArray[np.float64], scale: float, tol: float
) -> NDArray[np.bool_]:
    """Whether residuals are within tol |lambda|; below eps^(2/3) ||A|| an eigenvalue counts as that large.

    The floor is ARPACK's: an eigenvalue of zero has no relative accuracy to reach.
    """
    floor = np.finfo(np.float64).eps ** (2 / 3) * scale
    return residuals <= tol * np.maximum(np.abs(eigenvalues), floor)


def check_request(size: int, k: int, max_iter: int, tol: float, which: str, least_iter: int) -> None:
    """Raise ValueError for a request that no eigensolver here can meet."""
    if not 1 <= k <= size:
        raise ValueError(f"k must be in [1, {size}], the operator's size; got {k}")
    if max_iter < least_iter:
        raise ValueError(f"max_iter must be at least {least_iter}; got {max_iter}")
    if not tol >= 0:
        raise ValueError(f"tol must be at least 0; got {tol}")
    if which not in get_args(Which):
        raise ValueError(f"which must be one of {', '.join(get_args(Which))}; got {which!r}")


def random_vectors(count: int, size: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """(count, n) standard normal numbers, drawn on the CPU so that every device starts from the same."""
    return torch.randn(count, size, dtype=dtype, generator=generator)


def seeded(seed: int) -> torch.Generator:
    """A generator of its own, so that the ambient one stays untouched."""
    return torch.Generator(device="cpu").manual_seed(seed)


def as_result(
    eigenvalues: Any, eigenvectors: Tensor, residuals: Any, iterations: int, converged: Any, scale: float = 0.0
) -> EigenResult:
    """An ``EigenResult`` from float64 figures and vectors, in the vectors' type and on their device.

    ``scale`` is ||A||, where residuals are estimates: these fall below the rounding of a product, eps ||A||, and
    true ones do not.
    """
    residuals = np.maximum(residuals, torch.finfo(eigenvectors.dtype).eps * scale)
    return EigenResult(
        eigenvalues=torch.from_numpy(np.array(eigenvalues)).to(eigenvectors),
        eigenvectors=eigenvectors,
        residuals=torch.from_numpy(np.array(residuals)).to(eigenvectors),
        iterations=iterations,
        converged=torch.as_tensor(np.array(converged, bool), device=eigenvectors.device),
    )
