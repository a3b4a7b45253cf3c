"""Differentiate the general eigendecomposition, with gradients that stay finite where eigenvalues meet.

Let A X = X B, B block-diagonal with one block B_c for each cluster of eigenvalues that coincide to rounding,
N its part without the clusters' means mu_c, and F = X^-1 dA X. Then, to second order (Kato, Perturbation
theory for linear operators, II.2; Stewart and Sun, Matrix perturbation theory, V.2),

    X(A + dA) = X (I + Y),    Y B - B Y = off-diagonal blocks of F + F Y  -  Y times the diagonal blocks of F
    mu_c      = mu_c + trace of the diagonal block c of F + F Y, over its size

For simple eigenvalues Y_ij = F_ij / (lambda_j - lambda_i) to first order and X are the eigenvectors. The
result is LAPACK's, plus the expressions above in dA = A - (A as a constant), which is zero: torch
differentiates them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

#: Eigenvalues nearer than this times sqrt(eps), relative to the matrix's norm, coincide: 2.4e-7 in double
#: precision. LAPACK splits a defective pair by sqrt(eps); three, by eps^(1/3), are for the caller to join.
COINCIDE_ROOTS = 16.0
#: Share of a gradient along the phases of eigenvectors above which a loss is not a function of A alone.
PHASE_TOLERANCE = 1e-6

Gauge = Literal["check", "fixed"]


class GeneralEig(NamedTuple):
    """Hold eigenvalues (..., n) and unit eigenvectors (..., n, n) in columns, complex, in LAPACK's order."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eig(matrix: Tensor, *, coincide: float | None = None, gauge: Gauge = "check") -> GeneralEig:
    """Return eigenvalues and eigenvectors of real or complex matrices (..., n, n), differentiable twice.

    Eigenvectors have norm 1, and their largest entry (the first of the largest) is real and positive.

    Gradients. Those of simple eigenvalues, w_i v_i' with left and right eigenvectors and w_i' v_i = 1, have
    no gaps in them; those of eigenvectors divide by gaps. Eigenvalues within ``coincide`` ||A||_F of each
    other form a cluster, in chains, and there neither exists in general. Instead, finite for every matrix:

    - each eigenvalue of a cluster gets the derivative of the cluster's mean, which is differentiable even
      where the matrix is defective. A function of the cluster's mean gets its gradient; so does any
      symmetric function of its eigenvalues, unless the matrix is defective there.
    - eigenvectors of a cluster move only out of its invariant subspace. Any function of the subspace alone
      gets its gradient; how vectors turn within it is left out.

    Derivatives of third and higher order are not those of the eigenvalues: do not take them.

    Args:
        matrix: floating or complex, on any device that has ``torch.linalg.eig``.
        coincide: relative distance within which eigenvalues are a cluster; 16 sqrt(eps) by default.
        gauge: "check": raise in the backward pass if the loss depends on the phases of eigenvectors, which
            the equation A v = lambda v leaves open, as ``torch.linalg.eig`` does. "fixed": take the phase
            described above as part of the function.

    Raises:
        ValueError: no square matrices, no floating or complex type, or an unknown gauge.
        RuntimeError: in the backward pass, a loss that depends on phases; and what ``torch.linalg.eig``
            raises, for matrices that are not finite.
    """
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"matrix must be (..., n, n); got {tuple(matrix.shape)}")
    if not (matrix.is_floating_point() or matrix.is_complex()):
        raise ValueError(f"matrix must be floating or complex; got {matrix.dtype}")
    if gauge not in ("check", "fixed"):
        raise ValueError(f"gauge must be check or fixed; got {gauge!r}")
    constant = matrix.detach()
    values, vectors = torch.linalg.eig(constant)
    vectors = _in_gauge(vectors)
    if not (matrix.requires_grad and torch.is_grad_enabled()):
        return GeneralEig(values, vectors)
    reach = COINCIDE_ROOTS * torch.finfo(matrix.dtype).eps ** 0.5 if coincide is None else coincide
    blocks = _blocks(constant, values, vectors, reach)
    change = torch.linalg.solve(blocks.basis, (matrix - constant).to(values.dtype) @ blocks.basis)
    values = values + _mean_changes(change, blocks)
    moved = blocks.basis @ _second_order(change, blocks) @ blocks.coordinates
    vectors = _in_gauge(vectors + moved, of=vectors)
    if gauge == "check" and vectors.requires_grad:
        fixed = vectors.detach()
        vectors.register_hook(lambda slope: _check_phase(slope, fixed))
    return GeneralEig(values, vectors)


class _Blocks(NamedTuple):
    """Write A = basis (mean + rest) basis^-1, in blocks that belong to clusters of eigenvalues.

    Attributes:
        basis: (..., n, n), X: eigenvectors, or orthonormal vectors of a cluster's subspace.
        coordinates: (..., n, n), X^-1 times the eigenvectors.
        same: (..., n, n) bool, which columns belong to one cluster.
        inverse_gaps: (..., n, n), 1 / (mu_j - mu_i) between clusters, 0 within.
        rest: (..., n, n), N: block-diagonal, and nilpotent to rounding.
        largest: columns in the largest cluster.
    """

    basis: Tensor
    coordinates: Tensor
    same: Tensor
    inverse_gaps: Tensor
    rest: Tensor
    largest: int


def _blocks(constant: Tensor, values: Tensor, vectors: Tensor, coincide: float) -> _Blocks:
    norm = torch.linalg.matrix_norm(constant)[..., None, None]
    n = values.shape[-1]
    same = (values[..., :, None] - values[..., None, :]).abs() <= coincide * norm
    for _ in range(max(1, n - 1).bit_length()):  # chains: the transitive closure, by squaring
        same = (same.to(norm.dtype) @ same.to(norm.dtype)) > 0
    size = same.sum(dim=-1)
    mean = (same.to(values.dtype) @ values[..., None])[..., 0] / size
    gaps = mean[..., None, :] - mean[..., :, None]
    inverse_gaps = torch.where(same, 0.0, 1.0 / torch.where(same, 1.0, gaps))
    eye = torch.eye(n, dtype=values.dtype, device=values.device).expand_as(vectors)
    if not bool((size > 1).any()):
        return _Blocks(vectors, eye, same, inverse_gaps, torch.zeros_like(eye), 1)
    basis = vectors.clone()
    for place in torch.nonzero((size > 1).any(dim=-1)):
        index = tuple(place.tolist())
        basis[index] = _invariant_bases(constant[index], values[index], vectors[index], same[index])
    inner = torch.linalg.solve(basis, constant.to(basis.dtype) @ basis)
    rest = torch.where(same, inner - torch.diag_embed(mean), 0.0)
    coordinates = torch.where(same, torch.linalg.solve(basis, vectors), 0.0)
    return _Blocks(basis, coordinates, same, inverse_gaps, rest, int(size.max()))


def _invariant_bases(matrix: Tensor, values: Tensor, vectors: Tensor, same: Tensor) -> Tensor:
    """Return eigenvectors (n, n), those of each cluster replaced by an orthonormal basis of its invariant subspace.

    Eigenvectors of a defective matrix do not span the subspace; the leading Schur vectors do, when LAPACK has
    moved the cluster to the front.
    """
    form, turn = scipy.linalg.schur(matrix.cpu().numpy(), output="complex")
    (reorder,) = scipy.linalg.get_lapack_funcs(("trsen",), (form,))
    lam, basis, clusters = values.cpu().numpy(), vectors.cpu().numpy().copy(), same.cpu().numpy()
    for i in range(len(lam)):
        members = np.flatnonzero(clusters[i])
        if len(members) == 1 or members[0] != i:
            continue
        # The two factorisations round differently: the nearest ones are the cluster.
        distance = np.abs(np.diagonal(form) - lam[members].mean())
        chosen = np.zeros(len(lam), np.int32)
        chosen[np.argsort(distance, kind="stable")[: len(members)]] = 1
        basis[:, members] = reorder(chosen, form, turn, job="N")[1][:, : len(members)]
    return torch.from_numpy(basis).to(vectors)


def _solve(right: Tensor, blocks: _Blocks) -> Tensor:
    """Return Y with Y B - B Y = ``right`` between clusters and zero within.

    Y = (right + N Y - Y N) / gaps: as N is nilpotent, as many rounds as two clusters have columns are exact.
    """
    solution = right * blocks.inverse_gaps
    for _ in range(2 * (blocks.largest - 1)):
        solution = (right + blocks.rest @ solution - solution @ blocks.rest) * blocks.inverse_gaps
    return solution


def _mean_changes(change: Tensor, blocks: _Blocks) -> Tensor:
    """Return the change (..., n) of each eigenvalue's cluster mean, to second order."""
    whole = torch.diagonal(change + change @ _solve(change, blocks), dim1=-2, dim2=-1)
    same = blocks.same.to(whole.dtype)
    return (same @ whole[..., None])[..., 0] / same.sum(dim=-1)


def _second_order(change: Tensor, blocks: _Blocks) -> Tensor:
    """Return Y (..., n, n), to second order."""
    first = _solve(change, blocks)
    return first + _solve(change @ first - first @ torch.where(blocks.same, change, 0.0), blocks)


def _in_gauge(vectors: Tensor, of: Tensor | None = None) -> Tensor:
    """Return columns of norm 1 whose largest entry (where ``of`` has it) is real and positive."""
    size = (vectors if of is None else of).detach().abs()
    # The first of equally large ones, rounding aside: otherwise the phase would hang on the last bit.
    largest = (size >= (1 - 1e-6) * size.amax(dim=-2, keepdim=True)).to(torch.uint8).argmax(dim=-2, keepdim=True)
    pivot = vectors.gather(-2, largest)
    return vectors * (pivot.conj() / pivot.abs()) / torch.linalg.vector_norm(vectors, dim=-2, keepdim=True)


def _check_phase(slope: Tensor | None, vectors: Tensor) -> Tensor | None:
    """Return the slope (None where nothing depends on the vectors), unless it is one by the columns' phases."""
    if slope is None:
        return None
    along = (vectors.conj() * slope).sum(dim=-2).imag.abs()
    bound = PHASE_TOLERANCE * torch.linalg.vector_norm(slope, dim=-2).clamp(min=1.0)
    if bool((along > bound).any()):
        raise RuntimeError(
            "eig: the loss depends on the phase of an eigenvector, which A v = lambda v leaves open; use a "
            "loss that does not (such as absolute values), or gauge='fixed' to take the phase of eig as given"
        )
    return slope
