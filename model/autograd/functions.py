"""Make eigenpairs nodes of torch's graph: contiguous float64 (M, n) and (M, n - 1), and their backward passes.

With A v = lambda v, v a unit vector and A+ the pseudo-inverse of T - lambda I:

    d lambda = v' dT v                                  no gap in it: bounded, and at a repeated eigenvalue
                                                        an element of the Clarke subdifferential
    d v      = -A+ dT v                                 1 / gap in it: damped as `eigensolvers.pseudo_inverse`
                                                        says, so finite, and zero where eigenvalues agree
    d (A+ b) = A+ db - A+ dT A+ b + d lambda A+ A+ b    (Golub and Pereyra, 1973)
               + A+ A+ dT v (v'b) + v (v' dT A+ A+ b)

Each is a sum of outer products with dT, so a gradient with respect to T needs two vectors a, b: a_i b_i for
the diagonal and a_i b_{i+1} + a_{i+1} b_i for the off-diagonal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function

from eigenserve.model.autograd.gradients import eigenvalue_gradients
from eigenserve.model.autograd.pseudo_inverse import DAMPING, solve_pseudo_inverse
from eigenserve.model.eigensolvers import cpu
from eigenserve.model.kernels.threads import for_ranges

FloatArray = NDArray[np.float64]

_GRAIN_ROWS = 16384  # as in eigensolvers.dispatch: rows of work worth a second thread


def _grain(n: int, places: int) -> int:
    return max(1, _GRAIN_ROWS // (32 * n * places)) * 32


def _outer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of sum over places of a' dT b by (diag, off_diag); a, b (M, places, n)."""
    if a.shape[1] == 1:
        a, b = a[:, 0], b[:, 0]
        return a * b, a[:, :-1] * b[:, 1:] + a[:, 1:] * b[:, :-1]
    return (a * b).sum(1), (a[..., :-1] * b[..., 1:] + a[..., 1:] * b[..., :-1]).sum(1)


def _first_order(weights: FloatArray, vectors: FloatArray) -> tuple[Tensor, Tensor]:
    """Return `_outer(weights v, v)` where it will not be differentiated again: (M, places), (M, places, n)."""
    count, places, n = vectors.shape
    grad_diag, grad_off = torch.empty((count, n), dtype=torch.float64), torch.empty((count, n - 1), dtype=torch.float64)
    d, e = grad_diag.numpy(), grad_off.numpy()
    for_ranges(count, _grain(n, places), lambda i, j: eigenvalue_gradients(weights[i:j], vectors[i:j], d[i:j], e[i:j]))
    return grad_diag, grad_off


class _Eigenvalues(Function):
    """Map (M, n), (M, n - 1) to eigenvalues (M,), all float64 on the CPU: `_Eigenpairs`' first, in half the time.

    What autograd spends on an output costs as much as fifty matrices; the vectors are none here. Where the
    gradient is to be differentiated again, they are computed again, as outputs.
    """

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, eig_idx: int) -> Tensor:
        values, vectors = diag.new_empty(len(diag)), diag.new_empty(diag.shape)
        d, e, lam, v = (t.detach().numpy() for t in (diag, off_diag, values, vectors))
        for_ranges(
            len(d),
            _grain(d.shape[1], 1),
            lambda i, j: cpu.solve_eigenpairs(d[i:j], e[i:j], eig_idx, lam[i:j], v[i:j]),
        )
        ctx.save_for_backward(diag, off_diag)
        ctx.vectors, ctx.eig_idx = v[:, None], eig_idx
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (weights,) = grads
        if torch.is_grad_enabled():
            diag, off_diag = ctx.saved_tensors
            _, vectors = eigenpairs(diag, off_diag, ctx.eig_idx, 0)
            return *_outer(weights[:, None, None] * vectors, vectors), None
        return *_first_order(weights.contiguous().numpy().reshape(-1, 1), ctx.vectors), None


class _Eigenpairs(Function):
    """Map (M, n), (M, n - 1) to eigenvalues (M, places) and eigenvectors (M, places, n), all float64."""

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, eig_idx: int, window: int) -> tuple[Tensor, Tensor]:
        count, n = diag.shape
        places = 2 * window + 1
        values = diag.new_empty((count, places))
        vectors = diag.new_empty((count, places, n))
        if diag.is_cuda:
            from eigenserve.model.eigensolvers import cuda

            cuda.solve_window_tensors(diag, off_diag, eig_idx, window, values, vectors)
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
            return *_first_order(grad_values.contiguous().numpy(), vectors.detach().numpy()), None, None
        left: Tensor | None = None
        if grad_values is not None:
            left = grad_values[..., None] * vectors
        if grad_vectors is not None:
            moved = pseudo_inverse(diag, off_diag, values, vectors, grad_vectors)
            left = -moved if left is None else left - moved
        if left is None:
            return None, None, None, None
        return *_outer(left, vectors), None, None


class _PseudoInverse(Function):
    """Apply A+ to b at every place: values (M, places), vectors and rhs (M, places, n) -> (M, places, n).

    values and vectors are functions of the matrix; their share of the derivative is part of the matrix's.
    """

    @staticmethod
    def forward(ctx: Any, diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
        rhs = rhs.contiguous()
        if diag.is_cuda:
            out = pseudo_inverse_dense(diag, off_diag, values, vectors, rhs)
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
            return pseudo_inverse(diag, off_diag, values, vectors, b)

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
eigenvalues: Callable[[Tensor, Tensor, int], Tensor] = _Eigenvalues.apply
eigenpairs: Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]] = _Eigenpairs.apply
pseudo_inverse: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] = _PseudoInverse.apply


def pseudo_inverse_dense(diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    """Apply the pseudo-inverse by dense complex solves: the readable twin of `solve_pseudo_inverse`; for CUDA."""
    size = torch.cat([diag, off_diag], -1).abs().amax(-1)
    inside = torch.isfinite(values) & (size[:, None] > 0)
    shift = torch.where(inside, values, 0.0) + 1j * DAMPING * torch.where(size > 0, size, 1.0)[:, None]
    matrix = torch.diag_embed(diag) + torch.diag_embed(off_diag, 1) + torch.diag_embed(off_diag, -1)
    eye = torch.eye(diag.shape[-1], dtype=diag.dtype, device=diag.device)
    b = rhs - (vectors * rhs).sum(-1, keepdim=True) * vectors
    x = torch.linalg.solve(matrix[:, None] - shift[..., None, None] * eye, b.to(shift.dtype)).real
    x = x - (vectors * x).sum(-1, keepdim=True) * vectors
    return torch.where(inside[..., None], x, torch.where(torch.isnan(values), torch.nan, 0.0)[..., None])
