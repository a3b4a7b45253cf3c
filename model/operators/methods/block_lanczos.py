"""Find eigenpairs with all copies of multiple eigenvalues, by block Lanczos with thick restart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eigenserve.model.operators.arguments import Which, check_which, random_vectors, real, seeded, whole
from eigenserve.model.operators.methods.krylov_basis import KrylovBasis
from eigenserve.model.operators.methods.lanczos import DEFAULT_BASIS
from eigenserve.model.operators.methods.projected import wanted_pairs_dense
from eigenserve.model.operators.methods.result import EigenResult, Progress, as_result, is_converged
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.products import FloatArray, Products


def block_lanczos(
    operator: SymmetricOperator,
    k: int = 10,
    max_iter: int | None = None,
    tol: float = 1e-4,
    which: Which = "LM",
    seed: int = 0,
    *,
    block_size: int = 5,
    max_basis: int | None = None,
    basis_device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> EigenResult:
    """Find the k most wanted eigenpairs in the Krylov space of ``block_size`` random vectors at once.

    It finds eigenvalues of multiplicity up to ``block_size``, and clusters as fast as if they were one; an
    operator whose ``matmat`` reads its matrix once for all vectors can make it faster than ``lanczos`` where
    memory traffic is what costs. For simple, separated eigenvalues it needs more products than ``lanczos``.

    Args:
        operator: the matrix.
        k: how many.
        max_iter: products with a vector at most; by default 20 k ``block_size``, at least 50.
        tol: as for ``lanczos``; the residual of a Ritz pair is ||R s||, R the triangular factor of the
            residual block and s the last entries of the projected eigenvector.
        which: LM, LA or SA.
        seed: of the start.
        block_size: vectors at once.
        max_basis: vectors kept; by default the larger of 50 and 2 k + 4 ``block_size``.
        basis_device: where to keep them, the operator's device by default; eigenvectors are returned there.
        progress: called after each block.

    Raises:
        TypeError: no operator, or no numbers where numbers are due.
        ValueError: a request that cannot be met, or a matrix that is not finite.

    Source: Golub and Underwood (1977); restarted as by Wu and Simon (2000).
    """
    products = Products(operator, basis_device)
    n, dtype = products.size, products.dtype
    k, tol = whole("k", k, 1, n), real("tol", tol, 0.0)
    block_size = min(whole("block_size", block_size, 1), n)
    max_iter = whole("max_iter", max(DEFAULT_BASIS, 20 * k * block_size) if max_iter is None else max_iter, k)
    check_which(which)
    max_basis = max(DEFAULT_BASIS, 2 * k + 4 * block_size) if max_basis is None else max_basis
    max_basis = whole("max_basis", max_basis, min(k + 2 * block_size, n))
    basis = KrylovBasis(min(max_basis, n), n, dtype, products.device)
    generator = seeded(seed)
    block = _orthonormal(random_vectors(block_size, n, dtype, generator).to(products.device), basis, generator)[0]
    projected: FloatArray = np.empty((0, 0))
    scale = 0.0
    while True:
        basis.append(block)
        product = products.matmat(block)
        coupling = (basis.vectors @ product.T).cpu().double().numpy()
        projected = _bordered(projected, coupling)
        scale = max(scale, float(np.abs(coupling).max()))
        room = n - basis.count
        following, triangle = _orthonormal(product, basis, generator, room)
        if basis.count < k and products.count < max_iter and room:
            block = following
            continue
        pairs = wanted_pairs_dense(projected, k, which)
        residuals = np.linalg.norm(pairs.vectors[:, -len(block) :] @ triangle.T, axis=1)
        converged = is_converged(pairs.values, residuals, scale, tol)
        if progress is not None:
            progress(products.count, max_iter, int(converged.sum()))
        if (len(pairs.values) == k and converged.all()) or not room or products.count >= max_iter:
            break
        block = following
        if basis.count + len(block) > basis.capacity:
            keep = min(k + (basis.count - k) // 2, basis.capacity - len(block))
            pairs = wanted_pairs_dense(projected, keep, which)
            basis.compress(torch.from_numpy(pairs.vectors))
            projected = np.diag(pairs.values)
    vectors = basis.combine(torch.from_numpy(pairs.vectors))
    return as_result(products, pairs.values, vectors, residuals, converged, scale)


def _bordered(projected: FloatArray, coupling: FloatArray) -> FloatArray:
    """Return the projected matrix (m, m) and the columns of a new block: coupling (m + b, b) of all to it."""
    old, total = len(projected), len(coupling)
    wider = np.empty((total, total))
    wider[:old, :old] = projected
    wider[:, old:] = coupling
    wider[old:, :old] = coupling[:old].T
    corner = coupling[old:]
    wider[old:, old:] = (corner + corner.T) / 2
    return wider


def _orthonormal(
    vectors: Tensor, basis: KrylovBasis, generator: torch.Generator, room: int | None = None
) -> tuple[Tensor, FloatArray]:
    """Return up to ``room`` orthonormal vectors (b', n) orthogonal to the basis, and the triangle R (b', b).

    vectors - (their part in the basis) = R' times the result. Where they depend on each other or on the
    basis, random vectors take the places of those that are missing, with rows of R near zero.
    """
    vectors = _outside(vectors, basis)
    q, r = torch.linalg.qr(vectors.T)
    lost = torch.diagonal(r).abs() <= 10 * torch.finfo(q.dtype).eps * r.abs().max()
    if bool(lost.any()):
        fresh = random_vectors(int(lost.sum()), len(q), q.dtype, generator).to(q.device)
        q[:, lost] = fresh.T
        r[lost] = 0.0
    again, correction = torch.linalg.qr(_outside(q.T, basis).T)
    r = correction @ r
    if room is not None and room < len(vectors):
        again, r = again[:, :room], r[:room]
    return again.T.contiguous(), r.cpu().double().numpy()


def _outside(vectors: Tensor, basis: KrylovBasis) -> Tensor:
    """Return the part of ``vectors`` (b, n) orthogonal to the basis, by classical Gram-Schmidt done twice."""
    if basis.count:
        for _ in range(2):
            vectors = vectors - (vectors @ basis.vectors.T) @ basis.vectors
    return vectors
