"""Differentiate eigenpairs of symmetric tridiagonal torch tensors, on CPU and CUDA, to any order.

Eigenvalues have gradients without gaps in them; gradients of vectors are finite always; the smoothed eigenvalue has a
Lipschitz gradient. The formulas are in ``model.autograd.derivatives``. All of it works under `torch.func`,
`torch.compile` and `torch.export`, as operators that ``model.autograd.library`` registers.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eigenserve.model.autograd.derivatives import outer
from eigenserve.model.autograd.functions import eigenpairs, eigenvalues, is_traced


@dataclass(frozen=True, slots=True)
class EigenTensors:
    """Hold eigenpairs, ascending: eigenvalues (..., 2 window + 1), unit eigenvectors (..., 2 window + 1, n)."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigvalsh_tridiagonal(diag: Tensor, off_diag: Tensor, *, eig_idx: int) -> Tensor:
    """Return eigenvalue `eig_idx` of each matrix: diag (..., n), off_diag (..., n - 1) -> (...), differentiable.

    As `eigenserve.model.eigensolvers.eigvalsh_tridiagonal`, on the device and in the floating dtype of the tensors;
    the gradient is (v_i^2, 2 v_i v_{i+1}). Raises ValueError for shapes that do not match or an eig_idx
    outside [0, n).
    """
    d, e, shape = _batched(diag, off_diag, eig_idx, 0)
    values = eigenvalues(d, e, operator.index(eig_idx))
    if values.shape != shape:
        values = values.reshape(shape)
    return values if diag.dtype is torch.float64 else values.to(diag.dtype)


def eigh_tridiagonal(diag: Tensor, off_diag: Tensor, *, eig_idx: int, window: int = 0) -> EigenTensors:
    """Return eigenpairs around `eig_idx`, differentiable: (..., 2 window + 1) and (..., 2 window + 1, n).

    As `eigenserve.model.eigensolvers.eigh_tridiagonal`. A vector's sign is arbitrary but does not change under small
    changes of the matrix unless the solver's twist row changes; use expressions that do not depend on it.
    Gradients of vectors divide by gaps; a gap g counts as (g^2 + delta^2) / g with delta = 2^-26 max
    |T_ij|: they are finite always, and leave out the direction of an eigenvalue that agrees to rounding.
    """
    d, e, shape = _batched(diag, off_diag, eig_idx, window)
    values, vectors = eigenpairs(d, e, operator.index(eig_idx), operator.index(window))
    places = 2 * window + 1
    return EigenTensors(
        values.to(diag.dtype).reshape(*shape, places),
        vectors.to(diag.dtype).reshape(*shape, places, d.shape[-1]),
    )


def _batched(diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor, Any]:
    """Return contiguous float64 (M, n) and (M, n - 1), and the batch shape."""
    if not (isinstance(diag, Tensor) and isinstance(off_diag, Tensor)):
        raise TypeError(f"diag and off_diag must be tensors; got {type(diag).__name__} and {type(off_diag).__name__}")
    if diag.device != off_diag.device:
        raise ValueError(f"diag and off_diag must be on one device; got {diag.device} and {off_diag.device}")
    if diag.ndim == 0 or off_diag.ndim == 0 or off_diag.shape[-1] != diag.shape[-1] - 1:
        raise ValueError(
            "diag must be (..., n) with n >= 1 and off_diag (..., n - 1); "
            f"got {tuple(diag.shape)} and {tuple(off_diag.shape)}"
        )
    n = diag.shape[-1]
    if not 0 <= operator.index(eig_idx) < n:
        raise ValueError(f"eig_idx must be in [0, {n}); got {eig_idx}")
    if operator.index(window) < 0:
        raise ValueError(f"window must be at least 0; got {window}")
    if not (diag.is_floating_point() and off_diag.is_floating_point()):
        raise ValueError(f"diag and off_diag must be floating; got {diag.dtype} and {off_diag.dtype}")
    shape = diag.shape[:-1]
    if shape != off_diag.shape[:-1]:
        try:
            shape = torch.broadcast_shapes(shape, off_diag.shape[:-1])
        except RuntimeError:
            received = f"{tuple(diag.shape)} and {tuple(off_diag.shape)}"
            raise ValueError(f"the batch axes of diag and off_diag must broadcast; got {received}") from None
        diag, off_diag = diag.expand(*shape, n), off_diag.expand(*shape, n - 1)
    return _rows(diag, shape, n), _rows(off_diag, shape, n - 1), shape


def _rows(t: Tensor, shape: Any, length: int) -> Tensor:
    """Return `t` as contiguous float64 (M, length); itself if it is that: every step is a node of the graph."""
    if t.dtype is not torch.float64:
        t = t.to(torch.float64)
    # Not shape.numel(), which makes a constant of an exported graph's batch size.
    return (t if t.ndim == 2 else t.reshape(math.prod(shape), length)).contiguous()


def smoothed_eigvalsh_tridiagonal(diag: Tensor, off_diag: Tensor, *, eig_idx: int, smoothing: float) -> Tensor:
    """Return the Moreau-smoothed eigenvalue `eig_idx`: (..., n), (..., n - 1) -> (...), with a Lipschitz gradient.

    The sum of the r largest eigenvalues is a convex maximum over 0 <= q_j <= 1, sum q_j = r of sum q_j
    lambda_j; its Moreau envelope subtracts smoothing / 2 ||q||^2 inside the maximum, and an eigenvalue is
    the difference of two such sums, r = n - eig_idx and r - 1 (A. Shtoff, "When Eigenvalues Collide",
    2026-07-01). The result is a weighted mean of neighbouring eigenvalues and a correction, gradient sum
    over j of w_j v_j v_j' with w_j >= 0, sum w_j = 1; each of the two sums has a gradient with Lipschitz
    constant 1 / smoothing. Unlike in the source, only a window of neighbours is computed, widened until
    weights of 0 below and 1 above prove that the rest cannot matter.

    smoothing is in units of the eigenvalues; as it goes to 0 the result goes to the eigenvalue. Raises
    ValueError as `eigvalsh_tridiagonal` does, and for a smoothing that is not positive and finite.
    """
    smoothing = float(smoothing)
    if not 0 < smoothing < math.inf:
        raise ValueError(f"smoothing must be positive and finite; got {smoothing}")
    d, e, shape = _batched(diag, off_diag, eig_idx, 0)
    return _smoothed(_envelope_difference, d, e, operator.index(eig_idx), smoothing, 2).to(diag.dtype).reshape(shape)


def eigenvalue_forms(diag: Tensor, off_diag: Tensor, *, eig_idx: int, smoothing: float | None = None) -> Tensor:
    """Return the gradient of an eigenvalue, smoothed or not, by its matrix's entries, without a graph.

    float64 diag (..., n), off_diag (..., n - 1) -> (..., 2 n - 1), by the diagonal and then by the off-diagonal. It
    comes from the eigenvectors, not from autograd, so modes in which autograd does not run have it, too. Raises
    ValueError as `eigvalsh_tridiagonal` does.
    """
    with torch.no_grad():
        d, e, shape = _batched(diag, off_diag, eig_idx, 0)
        if smoothing is None:
            vectors = eigenpairs(d, e, operator.index(eig_idx), 0)[1]
            forms = torch.cat(outer(vectors, vectors), -1)
        else:
            forms = _smoothed(_envelope_forms, d, e, operator.index(eig_idx), smoothing, 2)
    return forms.reshape(*shape, forms.shape[-1])


def _smoothed(
    take: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]],
    diag: Tensor,
    off_diag: Tensor,
    eig_idx: int,
    smoothing: float,
    window: int,
) -> Tensor:
    """Return what ``take`` makes of eigenpairs (M,), starting with `window` neighbours on either side."""
    everything = max(eig_idx, diag.shape[-1] - 1 - eig_idx)
    # What a window of values says of the next step, a graph or a transform cannot ask: there it is all of them.
    window = everything if is_traced() else min(window, everything)
    values, vectors = eigenpairs(diag, off_diag, eig_idx, window)
    result, sufficient = take(values, vectors, smoothing)
    if window < everything and not bool(sufficient.all()):
        rows = torch.nonzero(~sufficient)[:, 0]
        wider = _smoothed(take, diag[rows], off_diag[rows], eig_idx, smoothing, 2 * window + 1)
        result = result.index_put((rows,), wider)
    return result


def _envelope_difference(values: Tensor, _: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the difference of the two envelopes from a window (M, 2 w + 1), and whether it was wide enough (M,)."""
    y, upper, lower, sufficient = _envelope_weights(values, smoothing)
    gain = ((upper - lower) * y).sum(1) - 0.5 * ((upper * upper).sum(1) - (lower * lower).sum(1))
    return values[:, values.shape[1] // 2].detach() + smoothing * gain, sufficient


def _envelope_forms(values: Tensor, vectors: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the gradient of that difference by entries (M, 2 n - 1), and whether the window was wide enough (M,)."""
    _, upper, lower, sufficient = _envelope_weights(values, smoothing)
    return torch.cat(outer((upper - lower)[..., None] * vectors, vectors), -1), sufficient


def _envelope_weights(values: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a window's places and their weights in both envelopes, (M, 2 w + 1), and whether it was wide enough."""
    window = values.shape[1] // 2
    centre = values[:, window : window + 1].detach()
    # Weights lie within 1 of the centre's: a place further away has the same, 0 or 1, in both projections, and
    # how far it is does not matter. Held at 2, places beyond the spectrum and a tiny smoothing do no harm.
    y = ((values - centre) / smoothing).clamp(-2.0, 2.0)
    upper = _capped_weights(y, window + 1)
    lower = _capped_weights(y, window)
    return y, upper, lower, ((upper[:, 0] <= 0) & (lower[:, -1] >= 1)) | torch.isnan(centre[:, 0])


_SUM_ROUNDING = 1e-10  # of sums of up to thousands of lengths below 3: where the total is met exactly, it counts as met


def _capped_weights(y: Tensor, total: int) -> Tensor:
    """Return the projection clip(y + shift, 0, 1) of y (M, m) onto the weights in [0, 1] that sum to `total`."""
    with torch.no_grad():
        # The sum grows with the shift, linearly between breaks, where a place begins or ends to grow: find the piece
        # that reaches the total.
        breaks, order = torch.cat([-y, 1 - y], 1).sort(1)
        growing = torch.where(order < y.shape[1], 1.0, -1.0).cumsum(1)[:, :-1]
        sums = torch.cat([torch.zeros_like(y[:, :1]), (growing * breaks.diff(dim=1)).cumsum(1)], 1)
        piece = (sums <= total + _SUM_ROUNDING).sum(1, keepdim=True).clamp(1, breaks.shape[1] - 1)
        middle = (breaks.gather(1, piece - 1) + breaks.gather(1, piece)) / 2
        at_one = y + middle >= 1
        free = (y + middle > 0) & ~at_one
        count = free.sum(1, keepdim=True)
    shift = (total - at_one.sum(1, keepdim=True) - (y * free).sum(1, keepdim=True)) / count.clamp(min=1)
    return torch.where(free, y + torch.where(count > 0, shift, 0.0), at_one.to(y.dtype)).clamp(0, 1)
