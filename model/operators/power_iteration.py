"""Power iteration with deflation: the k largest magnitudes, one after the other, in little memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.operators.basis import KrylovBasis
from model.operators.operator import SymmetricOperator, check_operator
from model.operators.result import (
    EigenResult,
    Progress,
    as_result,
    check_request,
    is_converged,
    order,
    random_vectors,
    seeded,
)


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
    """The k eigenpairs of largest magnitude, each by power iteration orthogonal to those before it.

    A pair has converged when both its residual A v - theta v, as far as it is orthogonal to the pairs before,
    and the change of its Rayleigh quotient theta since the last step are at most tol |theta| (see
    ``is_converged`` near zero); the residuals returned are whole. The rate is
    |lambda_2 / lambda_1| per step, so eigenvalues of nearly equal magnitude take long, and lambda beside
    -lambda never converges: ``lanczos`` has neither fault, this is the baseline that needs the least memory.

    Args:
        operator: the matrix.
        k: how many.
        max_iter: products at most for each pair.
        tol: of residuals and changes, relative.
        momentum: beta in x_(t+1) = A x_t - beta x_(t-1). The best is (lambda_2 / 2)^2; with it the rate
            goes with the square root of the gap. It must be below (lambda_1 / 2)^2, or nothing grows.
        seed: of the starts.
        progress: told after each pair.

    Raises:
        ValueError: a request that cannot be met, or a matrix that is not finite.

    Source: De Sa, He, Mitliagkas, Re and Xu (2018), Accelerated stochastic power iteration.
    """
    check_operator(operator)
    check_request(operator.size, k, max_iter, tol, "LM", least_iter=1)
    if not momentum >= 0:
        raise ValueError(f"momentum must be at least 0; got {momentum}")
    found = KrylovBasis(k, operator.size, operator.dtype, operator.device)
    generator = seeded(seed)
    values, residuals, converged = np.zeros(k), np.zeros(k), np.zeros(k, bool)
    iterations, scale = 0, 0.0
    for i in range(k):
        start = random_vectors(1, operator.size, operator.dtype, generator)[0].to(operator.device)
        vector = _unit(found.orthogonalize(start))
        before, value = torch.zeros_like(vector), np.inf
        for _ in range(max_iter):
            product = operator.matvec(vector)
            iterations += 1
            last, value = value, float(vector @ product)
            error = product - value * vector
            residual = float(torch.linalg.vector_norm(error))
            if not np.isfinite(residual):
                raise ValueError("the operator's products must be finite; got NaN or infinity")
            scale = max(scale, abs(value))
            # Along the vectors found before, the error is theirs, and no iteration here can reduce it.
            own = float(torch.linalg.vector_norm(found.orthogonalize(error)))
            parts = is_converged(np.array([value] * 2), np.array([own, abs(value - last)]), scale, tol)
            if parts.all():
                converged[i] = True
                break
            step = found.orthogonalize(product - momentum * before)
            length = float(torch.linalg.vector_norm(step))
            if length <= torch.finfo(operator.dtype).tiny:
                break  # the vector is in the null space, and its eigenvalue 0 is exact
            # The recurrence is linear: both of its vectors are scaled alike.
            before, vector = vector / length, step / length
        values[i], residuals[i] = value, residual
        found.append(vector)
        if progress is not None:
            progress(iterations, k * max_iter, int(converged.sum()))
    chosen = order(values, "LM")
    vectors = found.vectors[torch.from_numpy(chosen).to(operator.device)]
    return as_result(values[chosen], vectors, residuals[chosen], iterations, converged[chosen])


def _unit(vector: Tensor) -> Tensor:
    return vector / torch.linalg.vector_norm(vector)
