"""Differentiable eigenpairs of symmetric tridiagonal torch tensors, on CPU and CUDA, to any order.

With A v = lambda v, v a unit vector and A+ the pseudo-inverse of T - lambda I:

    d lambda = v' dT v                                  no gap in it: bounded, and at a repeated eigenvalue
    an element
                                                        of the Clarke subdifferential
    d v      = -A+ dT v                                 1 / gap in it: damped as
    `eigensolvers.pseudo_inverse` says,
                                                        so finite, and zero between eigenvalues that agree
    d (A+ b) = A+ db - A+ dT A+ b + d lambda A+ A+ b    (Golub and Pereyra, 1973)
               + A+ A+ dT v (v'b) + v (v' dT A+ A+ b)

Each is a sum of outer products with dT, so a gradient with respect to T needs two vectors a, b: a_i b_i for
the diagonal and a_i b_{i+1} + a_{i+1} b_i for the off-diagonal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from model.eigensolvers import cpu
from model.eigensolvers.gradients import eigenvalue_gradients
from model.eigensolvers.pseudo_inverse import DAMPING, solve_pseudo_inverse
from model.general_eig import eig as eig
from model.threads import for_ranges

_GRAIN_ROWS = 16384  # as in eigensolvers.dispatch: rows of work worth a second thread


@dataclass(frozen=True, slots=True)
class EigenTensors:
    """Eigenpairs, ascending: eigenvalues (..., 2 window + 1), unit eigenvectors (..., 2 window + 1, n)."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigvalsh_tridiagonal(diag: Tensor, off_diag: Tensor, *, eig_idx: int) -> Tensor:
    """Eigenvalue `eig_idx` of each matrix: diag (..., n), off_diag (..., n - 1) -> (...), differentiable.

    As `model.eigensolvers.eigvalsh_tridiagonal`, on the device and in the floating dtype of the tensors;
    the gradient is (v_i^2, 2 v_i v_{i+1}). Raises ValueError for shapes that do not match or an eig_idx
    outside [0, n).
    """
    d, e, shape = _batched(diag, off_diag, eig_idx, 0)
    return _eigenpairs(d, e, eig_idx, 0)[0].reshape(shape).to(diag.dtype)


def eigh_tridiagonal(diag: Tensor, off_diag: Tensor, *, eig_idx: int, window: int = 0) -> EigenTensors:
    """Eigenpairs around `eig_idx`, differentiable: (..., 2 window + 1) and (..., 2 window + 1, n).

    As `model.eigensolvers.eigh_tridiagonal`. A vector's sign is arbitrary but does not change under small
    changes of the matrix unless the solver's twist row changes; use expressions that do not depend on it.
    Gradients of vectors divide by gaps; a gap g counts as (g^2 + delta^2) / g with delta = 2^-26 max
    |T_ij|: they are finite always, and leave out the direction of an eigenvalue that agrees to rounding.
    """
    d, e, shape = _batched(diag, off_diag, eig_idx, window)
    values, vectors = _eigenpairs(d, e, eig_idx, window)
    places = 2 * window + 1
    return EigenTensors(
        values.to(diag.dtype).reshape(*shape, places),
        vectors.to(diag.dtype).reshape(*shape, places, d.shape[-1]),
    )


def _batched(diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor, Any]:
    """Contiguous float64 (M, n) and (M, n - 1), and the batch shape."""
    if diag.ndim == 0 or off_diag.ndim == 0 or off_diag.shape[-1] != diag.shape[-1] - 1:
        raise ValueError(
            "diag must be (..., n) with n >= 1 and off_diag (..., n - 1); "
            f"got {tuple(diag.shape)} and {tuple(off_diag.shape)}"
        )
    n = diag.shape[-1]
    if not 0 <= eig_idx < n:
        raise ValueError(f"eig_idx must be in [0, {n}); got {eig_idx}")
    if window < 0:
        raise ValueError(f"window must be at least 0; got {window}")
    if not (diag.is_floating_point() and off_diag.is_floating_point()):
        raise ValueError(f"diag and off_diag must be floating; got {diag.dtype} and {off_diag.dtype}")
    shape = diag.shape[:-1]
    if shape != off_diag.shape[:-1]:
        shape = torch.broadcast_shapes(shape, off_diag.shape[:-1])  # type: ignore[no-untyped-call]
        diag, off_diag = diag.expand(*shape, n), off_diag.expand(*shape, n - 1)
    d, e = _rows(diag, shape.numel(), n), _rows(off_diag, shape.numel(), n - 1)
    return d, e, shape


def _rows(t: Tensor, count: int, length: int) -> Tensor:
    """`t` as contiguous float64 (count, length); itself if it is that: every step is a node of the graph."""
    if t.dtype is not torch.float64:
        t = t.to(torch.float64)
    return (t if t.ndim == 2 else t.reshape(count, length)).contiguous()


def _grain(n: int, places: int) -> int:
    return max(1, _GRAIN_ROWS // (32 * n * places)) * 32


def _outer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of sum over places of a' dT b with respect to (diag, off_diag); a, b (M, places, n)."""
    if a.shape[1] == 1:
        a, b = a[:, 0], b[:, 0]
        return a * b, a[:, :-1] * b[:, 1:] + a[:, 1:] * b[:, :-1]
    return (a * b).sum(1), (a[..., :-1] * b[..., 1:] + a[..., 1:] * b[..., :-1]).sum(1)


def _first_order(weights: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """`_outer(weights v, v)` where nobody will differentiate it again."""
    count, places, n = vectors.shape
    grad_diag, grad_off = vectors.new_empty((count, n)), vectors.new_empty((count, n - 1))
    w, v, d, e = (t.numpy() for t in (weights.contiguous(), vectors.detach(), grad_diag, grad_off))
    for_ranges(count, _grain(n, places), lambda i, j: eigenvalue_gradients(w[i:j], v[i:j], d[i:j], e[i:j]))
    return grad_diag, grad_off


class _Eigenpairs(Function):
    """(M, n), (M, n - 1) -> eigenvalues (M, places) and eigenvectors (M, places, n), all float64."""

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor]:
        count, n = diag.shape
        places = 2 * window + 1
        values = diag.new_empty((count, places))
        vectors = diag.new_empty((count, places, n))
        if diag.is_cuda:
            from model.eigensolvers import triton_gpu

            triton_gpu.solve_window_tensors(diag, off_diag, eig_idx, window, values, vectors)
        else:
            d, e, lam, v = (t.detach().numpy() for t in (diag, off_diag, values, vectors))
            for_ranges(
                count,
                _grain(n, places),
                lambda i, j: cpu.solve_window(d[i:j], e[i:j], eig_idx, window, lam[i:j], v[i:j]),
            )
        ctx.save_for_backward(diag, off_diag, values, vectors)
        ctx.set_materialize_grads(False)
        return values, vectors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        grad_values, grad_vectors = grads
        diag, off_diag, values, vectors = ctx.saved_tensors
        if grad_vectors is None and grad_values is not None and not (torch.is_grad_enabled() or diag.is_cuda):
            return *_first_order(grad_values, vectors), None, None
        left: Tensor | None = None
        if grad_values is not None:
            left = grad_values[..., None] * vectors
        if grad_vectors is not None:
            moved = _pseudo_inverse(diag, off_diag, values, vectors, grad_vectors)
            left = -moved if left is None else left - moved
        if left is None:
            return None, None, None, None
        return *_outer(left, vectors), None, None


class _PseudoInverse(Function):
    """A+ b for every place: values (M, places), vectors and rhs (M, places, n) -> (M, places, n).

    values and vectors are functions of the matrix; their share of the derivative is part of the matrix's.
    """

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
        rhs = rhs.contiguous()
        if diag.is_cuda:
            out = _pseudo_inverse_dense(diag, off_diag, values, vectors, rhs)
        else:
            out = torch.empty_like(vectors)
            d, e, lam, v, b, x = (t.detach().numpy() for t in (diag, off_diag, values, vectors, rhs, out))
            for_ranges(
                len(d),
                _grain(*vectors.shape[:0:-1]),
                lambda i, j: solve_pseudo_inverse(d[i:j], e[i:j], lam[i:j], v[i:j], b[i:j], x[i:j]),
            )
        ctx.save_for_backward(diag, off_diag, values, vectors, rhs, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        diag, off_diag, values, vectors, rhs, x = ctx.saved_tensors

        def invert(b: Tensor) -> Tensor:
            return _pseudo_inverse(diag, off_diag, values, vectors, b)

        def dot(a: Tensor, b: Tensor) -> Tensor:
            return (a * b).sum(-1, keepdim=True)

        y = invert(grad)
        parts = [
            _outer(-y, x),
            _outer(dot(y, x) * vectors, vectors),
            _outer(dot(vectors, rhs) * invert(y), vectors),
            _outer(dot(vectors, grad) * vectors, invert(x)),
        ]
        grad_diag, grad_off = (torch.stack(side).sum(0) for side in zip(*parts, strict=True))
        return grad_diag, grad_off, None, None, y


# torch leaves Function.apply without types; everything calls these.
_eigenpairs: Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]] = _Eigenpairs.apply
_pseudo_inverse: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] = _PseudoInverse.apply


def _pseudo_inverse_dense(diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    """The readable twin of `solve_pseudo_inverse`, by dense complex solves: for CUDA and for tests."""
    size = torch.cat([diag, off_diag], -1).abs().amax(-1)
    inside = torch.isfinite(values) & (size[:, None] > 0)
    shift = torch.where(inside, values, 0.0) + 1j * DAMPING * torch.where(size > 0, size, 1.0)[:, None]
    matrix = torch.diag_embed(diag) + torch.diag_embed(off_diag, 1) + torch.diag_embed(off_diag, -1)
    eye = torch.eye(diag.shape[-1], dtype=diag.dtype, device=diag.device)
    b = rhs - (vectors * rhs).sum(-1, keepdim=True) * vectors
    x = torch.linalg.solve(matrix[:, None] - shift[..., None, None] * eye, b.to(shift.dtype)).real
    x = x - (vectors * x).sum(-1, keepdim=True) * vectors
    return torch.where(inside[..., None], x, torch.where(torch.isnan(values), torch.nan, 0.0)[..., None])


def smoothed_eigvalsh_tridiagonal(diag: Tensor, off_diag: Tensor, *, eig_idx: int, smoothing: float) -> Tensor:
    """The Moreau-smoothed eigenvalue `eig_idx`: (..., n), (..., n - 1) -> (...), with a Lipschitz gradient.

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
    return _smoothed(d, e, eig_idx, smoothing, 2).to(diag.dtype).reshape(shape)


def _smoothed(diag: Tensor, off_diag: Tensor, eig_idx: int, smoothing: float, window: int) -> Tensor:
    """Smoothed eigenvalues (M,), starting with `window` neighbours on either side."""
    everything = max(eig_idx, diag.shape[-1] - 1 - eig_idx)
    window = min(window, everything)
    values, _ = _eigenpairs(diag, off_diag, eig_idx, window)
    result, sufficient = _envelope_difference(values, smoothing)
    if window < everything and not bool(sufficient.all()):
        rows = torch.nonzero(~sufficient)[:, 0]
        wider = _smoothed(diag[rows], off_diag[rows], eig_idx, smoothing, 2 * window + 1)
        result = result.index_put((rows,), wider)
    return result


def _envelope_difference(values: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Difference of the two envelopes from a window (M, 2 w + 1), and whether it was wide enough (M,)."""
    window = values.shape[1] // 2
    centre = values[:, window : window + 1].detach()
    # Weights lie within 1 of the centre's: a place further away has the same, 0 or 1, in both projections, and
    # how far it is does not matter. Held at 2, places beyond the spectrum and a tiny smoothing do no harm.
    y = ((values - centre) / smoothing).clamp(-2.0, 2.0)
    upper = _capped_weights(y, window + 1)
    lower = _capped_weights(y, window)
    gain = ((upper - lower) * y).sum(1) - 0.5 * ((upper * upper).sum(1) - (lower * lower).sum(1))
    sufficient = ((upper[:, 0] <= 0) & (lower[:, -1] >= 1)) | torch.isnan(centre[:, 0])
    return centre[:, 0] + smoothing * gain, sufficient


def _capped_weights(y: Tensor, total: int) -> Tensor:
    """The projection clip(y + shift, 0, 1) of y (M, m) onto the weights in [0, 1] that sum to `total`."""
    with torch.no_grad():
        breaks = torch.cat([-y, 1 - y], 1).sort(1).values
        sums = (y[:, None, :] + breaks[:, :, None]).clamp(0, 1).sum(2)
        # The sum grows with the shift, linearly between breaks: find the piece that reaches the total.
        piece = (sums <= total).sum(1, keepdim=True).clamp(1, breaks.shape[1] - 1)
        middle = (breaks.gather(1, piece - 1) + breaks.gather(1, piece)) / 2
        at_one = y + middle >= 1
        free = (y + middle > 0) & ~at_one
        count = free.sum(1, keepdim=True)
    shift = (total - at_one.sum(1, keepdim=True) - (y * free).sum(1, keepdim=True)) / count.clamp(min=1)
    return torch.where(free, y + torch.where(count > 0, shift, 0.0), at_one.to(y.dtype)).clamp(0, 1)
