"""Derivatives of eigenpairs as expressions in torch, differentiable themselves: any order follows from them.

With A = T - lambda I, v the unit eigenvector and A+ the pseudo-inverse of A:

    d lambda = v' dT v                                  no gap in it: bounded, and at a repeated eigenvalue
                                                        an element of the Clarke subdifferential
    d v      = -A+ dT v                                 1 / gap in it: damped as `pseudo_inverse` says, so
                                                        finite, and zero where eigenvalues agree
    d (A+ b) = A+ db - A+ dT A+ b + d lambda A+ A+ b    (Golub and Pereyra, 1973)
               + A+ A+ dT v (v'b) + v (v' dT A+ A+ b)

Each is a sum of outer products with dT, so a gradient with respect to T needs two vectors a, b: a_i b_i for
the diagonal and a_i b_{i+1} + a_{i+1} b_i for the off-diagonal.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from eigenserve.model.eigensolvers.pseudo_inverse import DAMPING


def outer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of the sum over places of a' dT b by (diag, off_diag); a, b (M, places, n)."""
    return (a * b).sum(1), (a[..., :-1] * b[..., 1:] + a[..., 1:] * b[..., :-1]).sum(1)


def times(diag: Tensor, off_diag: Tensor, vectors: Tensor) -> Tensor:
    """Multiply tridiagonal matrices (M, n), (M, n - 1) with vectors (M, places, n)."""
    d, e = diag[:, None], off_diag[:, None]
    zero = torch.zeros_like(vectors[..., :1])
    above = torch.cat([e * vectors[..., 1:], zero], -1)
    below = torch.cat([zero, e * vectors[..., :-1]], -1)
    return d * vectors + above + below


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products of vectors (..., n) as (..., 1)."""
    return (a * b).sum(-1, keepdim=True)


def pseudo_inverse_dense(diag: Tensor, off_diag: Tensor, values: Tensor, vectors: Tensor, rhs: Tensor) -> Tensor:
    """Apply A+ by dense complex solves: the readable twin of `solve_pseudo_inverse`, for CUDA and for tests."""
    size = torch.cat([diag, off_diag], -1).abs().amax(-1)
    inside = torch.isfinite(values) & (size[:, None] > 0)
    shift = torch.where(inside, values, 0.0) + 1j * DAMPING * torch.where(size > 0, size, 1.0)[:, None]
    matrix = torch.diag_embed(diag) + torch.diag_embed(off_diag, 1) + torch.diag_embed(off_diag, -1)
    eye = torch.eye(diag.shape[-1], dtype=diag.dtype, device=diag.device)
    b = rhs - dot(vectors, rhs) * vectors
    x = torch.linalg.solve(matrix[:, None] - shift[..., None, None] * eye, b.to(shift.dtype)).real
    x = x - dot(vectors, x) * vectors
    return torch.where(inside[..., None], x, torch.where(torch.isnan(values), torch.nan, 0.0)[..., None])


def pseudo_inverse_gradients(
    apply: Callable[..., Tensor],
    diag: Tensor,
    off_diag: Tensor,
    values: Tensor,
    vectors: Tensor,
    rhs: Tensor,
    x: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, None, None, Tensor]:
    """Return the gradients of <grad, x> for x = A+ rhs by each argument of ``apply``, which computes x.

    values and vectors are functions of the matrix; their share of the derivative is part of the matrix's.
    """

    def invert(b: Tensor) -> Tensor:
        return apply(diag, off_diag, values, vectors, b)

    y = invert(grad)
    parts = [
        outer(-y, x),
        outer(dot(y, x) * vectors, vectors),
        outer(dot(vectors, rhs) * invert(y), vectors),
        outer(dot(vectors, grad) * vectors, invert(x)),
    ]
    grad_diag, grad_off = (torch.stack(side).sum(0) for side in zip(*parts, strict=True))
    return grad_diag, grad_off, None, None, y


def pseudo_inverse_tangent(
    apply: Callable[..., Tensor], tensors: tuple[Tensor, ...], changes: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return d (A+ b) for changes of diag, off_diag and rhs; tensors are the arguments of ``apply`` and its result."""
    diag, off_diag, values, vectors, rhs, x = tensors
    d_diag, d_off, d_rhs = changes

    def invert(b: Tensor) -> Tensor:
        return apply(diag, off_diag, values, vectors, b)

    turn = times(d_diag, d_off, vectors)
    inner = d_rhs - times(d_diag, d_off, x) + dot(vectors, turn) * x
    return invert(inner + dot(vectors, rhs) * invert(turn)) + dot(turn, invert(x)) * vectors
