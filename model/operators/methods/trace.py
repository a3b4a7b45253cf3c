"""Estimate the trace and the log-determinant of an operator from few products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eigenserve.model.operators.arguments import random_vectors, seeded, whole
from eigenserve.model.operators.methods.quadrature import spectrum
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.products import Products


@dataclass(frozen=True)
class Estimate:
    """Hold a number with its standard error (NaN where one sample gave it) and the products that it cost."""

    value: float
    error: float
    iterations: int


def hutchpp_trace(operator: SymmetricOperator, products: int = 60, seed: int = 0) -> Estimate:
    """Estimate the trace by Hutch++: exact on a random low-rank part, by Hutchinson's mean on the rest.

    A third of the products finds the part, a third gives its trace, and a third the rest's. The error falls as
    1 / products, Hutchinson's alone as its root; with as many products as three times the rank it is rounding.

    Raises:
        TypeError: not an operator, or not a whole number.
        ValueError: fewer than 6 products, or an operator that is not finite.

    Source: Meyer, Musco, Musco and Woodruff (2021), Hutch++: Optimal stochastic trace estimation.
    """
    counted = Products(operator)
    third = min(whole("products", products, 6) // 3, counted.size)
    generator = seeded(seed)
    basis = _orthonormal(counted.matmat(_signs(third, counted, generator)))
    inside = float((basis * counted.matmat(basis)).sum())
    if len(basis) == counted.size:
        return _estimate(counted, inside, np.zeros(1))
    probes = _signs(third, counted, generator)
    probes = probes - (probes @ basis.T) @ basis
    forms = (probes * counted.matmat(probes)).sum(1)
    return _estimate(counted, inside, forms.cpu().double().numpy())


def xtrace(operator: SymmetricOperator, products: int = 60, seed: int = 0) -> Estimate:
    """Estimate the trace by XTrace: every random vector serves for the low-rank part and for the rest.

    For each of the products / 2 vectors the others' low-rank part is exact and it alone samples the rest; the mean of
    these estimates does not depend on their order, and its deviation is the error.

    Raises:
        As `hutchpp_trace`, for fewer than 4 products.

    Source: Epperly, Tropp and Webber (2024), XTrace: Making the most of every sample in stochastic trace estimation.
    """
    counted = Products(operator)
    size = counted.size
    half = min(whole("products", products, 4) // 2, size)
    probes = random_vectors(half, size, counted.dtype, seeded(seed)).to(counted.device)
    images = counted.matmat(probes)
    basis, triangle = torch.linalg.qr(images.T)  # images' = basis triangle
    turned = counted.matmat(basis.T.contiguous()).T
    middle = basis.T @ turned
    sizes = torch.linalg.svdvals(triangle)
    # Where images depend on each other, they span all that the operator reaches.
    if half == size or float(sizes[-1]) <= counted.rounding(float(sizes[0])):
        return _estimate(counted, float(middle.trace()), np.zeros(1))
    # Column i is the direction of the basis that the other images do not have: their basis is basis (I - s s').
    own = torch.linalg.inv(triangle).T
    own = own / torch.linalg.vector_norm(own, dim=0)
    inside = middle.trace() - (own * (middle @ own)).sum(0)
    parts = basis.T @ probes.T
    parts = parts - own * (own * parts).sum(0)
    rest, image = probes.T - basis @ parts, images.T - turned @ parts
    # The rest of a Gaussian vector, made as long as the square root of the rest's dimension.
    share = (size - half + 1) / (rest * rest).sum(0)
    estimates = (inside + share * (rest * image).sum(0)).cpu().double().numpy()
    return _estimate(counted, 0.0, estimates)


def log_determinant(operator: SymmetricOperator, probes: int = 20, steps: int = 50, seed: int = 0) -> Estimate:
    """Estimate the logarithm of a positive definite operator's determinant by stochastic Lanczos quadrature.

    Arguments as of `spectrum`; add a multiple of the identity first to what is only semidefinite.

    Raises:
        ValueError: as `spectrum`, and for a Ritz value that is not positive.

    Source: Ubaru, Chen and Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos quadrature.
    """
    found = spectrum(operator, probes, steps, seed)
    if not (found.nodes > 0).all():
        raise ValueError(f"the operator must be positive definite; got a Ritz value of {found.nodes.min():.3g}")
    # Runs end after different numbers of steps, each where its space is invariant.
    sums = np.bincount(found.runs, np.log(found.nodes) * found.weights, minlength=probes)
    by_probe = found.size * probes * sums
    error = float(by_probe.std(ddof=1) / np.sqrt(probes)) if probes > 1 else float("nan")
    return Estimate(float(by_probe.mean()), error, found.iterations)


def _estimate(products: Products, fixed: float, samples: np.ndarray) -> Estimate:
    error = float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else 0.0
    value, error = products.restored(np.array([fixed + samples.mean(), error])).tolist()
    return Estimate(value, error, products.count)


def _signs(count: int, products: Products, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (count, products.size), generator=generator)
    return (signs.to(products.dtype) * 2 - 1).to(products.device)


def _orthonormal(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.T)[0].T.contiguous()
