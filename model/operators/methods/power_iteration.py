"""Find the k largest magnitudes, one after the other, in little memory, by power iteration with deflation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eigenserve.model.operators.arguments import random_vectors, real, seeded, whole
from eigenserve.model.operators.methods.krylov_basis import KrylovBasis
from eigenserve.model.operators.methods.projected import wanted_pairs_dense
from eigenserve.model.operators.methods.result import EigenResult, Progress, as_result, is_converged
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.products import Products

#: Squares of this are numbers of float32 still.
MOST_MOMENTUM = 2.0**60


def deflated_power_iteration(
    operator: SymmetricOperator,
    k: int = 10,
    max_iter: int = 100,
    tol: float = 1e-4,
    momentum: float = 0.0,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> EigenResult:
    """Find the k eigenpairs of largest magnitude, each by power iteration orthogonal to those before it.

    Iterations for a vector end when its residual A v - theta v, as far as it is orthogonal to the vectors
    before, and the change of its Rayleigh quotient theta since the last step are at most tol |theta| / 2. A
    vector that is not exact spoils those deflated against it, so in the end the k vectors are turned into the
    Ritz vectors of the space they span, without a further product. A pair has converged when its residual
    ||A v - theta v||, that of the operator itself, is at most tol |theta| (see ``is_converged`` near zero) or
    is rounding.

    The rate is |lambda_2 / lambda_1| per step, so eigenvalues of nearly equal magnitude take long, and
    lambda next to -lambda converges only if both are asked for: ``lanczos`` has neither fault, this is the
    baseline. It keeps 2 k + 4 vectors.

    Args:
        operator: the matrix.
        k: how many.
        max_iter: products at most for each vector.
        tol: of residuals and changes, relative.
        momentum: beta in x_(t+1) = A x_t - beta x_(t-1). The best is (lambda_2 / 2)^2; with it the rate
            goes with the square root of the gap. It must be below (lambda_1 / 2)^2, or nothing grows.
        seed: of the starts.
        progress: called after each vector; its last argument counts vectors whose iterations ended by themselves.

    Raises:
        TypeError: no operator, or no numbers where numbers are due.
        ValueError: a request that cannot be met, or a matrix that is not finite.

    Source: De Sa, He, Mitliagkas, Re and Xu (2018), Accelerated stochastic power iteration.
    """
    products = Products(operator)
    n, dtype, device = products.size, products.dtype, products.device
    k, max_iter = whole("k", k, 1, n), whole("max_iter", max_iter, 1)
    tol, momentum = real("tol", tol, 0.0), real("momentum", momentum, 0.0)
    found, images = KrylovBasis(k, n, dtype, device), KrylovBasis(k, n, dtype, device)
    generator = seeded(seed)
    scale, settled = 0.0, 0
    for _ in range(k):
        start = random_vectors(1, n, dtype, generator)[0].to(device)
        end = _iterate(products, found, start, max_iter, tol / 2, momentum, scale)
        found.append(end.vector)
        images.append(end.image)
        scale, settled = end.scale, settled + end.settled
        if progress is not None:
            progress(products.count, k * max_iter, settled)
    projected = (found.vectors @ images.vectors.T).cpu().double().numpy()
    pairs = wanted_pairs_dense((projected + projected.T) / 2, k, "LM")
    weights = torch.from_numpy(pairs.vectors)
    found.compress(weights)
    residuals = np.zeros(k)
    for i, value in enumerate(pairs.values.tolist()):
        error = images.combine(weights[i : i + 1])[0] - value * found.vectors[i]
        residuals[i] = float(torch.linalg.vector_norm(error))
    converged = is_converged(pairs.values, residuals, scale, tol) | (residuals <= products.rounding(scale))
    return as_result(products, pairs.values, found.vectors, residuals, converged)


class _End(NamedTuple):
    """Hold where iterations ended: a unit vector, its product, ||A|| as far as known, and whether it had settled."""

    vector: Tensor
    image: Tensor
    scale: float
    settled: bool


def _iterate(
    products: Products, found: KrylovBasis, start: Tensor, max_iter: int, tol: float, momentum: float, scale: float
) -> _End:
    """Take up to ``max_iter`` steps orthogonal to ``found``; ``scale`` is ||A|| as far as known."""
    step, before, value = found.orthogonalize(start), torch.zeros_like(start), np.inf
    length = float(torch.linalg.vector_norm(step))
    for _ in range(max_iter):
        # The recurrence is linear: both of its vectors are scaled alike.
        before, vector = before / length, step / length
        image = products.matvec(vector)
        last, value = value, float(vector @ image)
        scale = max(scale, float(torch.linalg.vector_norm(image)))
        # Along the vectors found before, the error is theirs, and no iteration here can reduce it.
        own = float(torch.linalg.vector_norm(found.orthogonalize(image - value * vector)))
        parts = is_converged(np.array([value] * 2), np.array([own, abs(value - last)]), scale, tol)
        if parts.all() or own <= products.rounding(scale):
            return _End(vector, image, scale, True)
        # In the units of the scaled products. Beyond (||A|| / 2)^2 the vectors only turn round, by any amount.
        with np.errstate(over="ignore"):
            beta = min(float(np.ldexp(momentum, -2 * products.exponent)), MOST_MOMENTUM)
        step, before = found.orthogonalize(image - beta * before), vector
        length = float(torch.linalg.vector_norm(step))
        if length == 0.0:
            break
    return _End(vector, image, scale, False)
