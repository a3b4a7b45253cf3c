"""Compute one eigenvalue of an affine pencil as a single node: what a training step of a small layer costs.

    T_o(x) = A_o + sum over i of x_i M_io,    out_o(x) = lambda_k(T_o(x))

Written with torch's operations, a step is a product, two slices, two conversions and their backward passes, and at 64
rows of order 15 nearly all of its time is what each of them costs to launch. Here rows are assembled, solved and taken
back by three kernels. They use none of torch's threads, which spin after each parallel operation: on busy cores the
composed path waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from eigenserve.model.autograd.functions import eigenpairs, eigenvalues, is_plain, is_readable
from eigenserve.model.torch import affine_kernels
from eigenserve.model.torch.affine_kernels import as_array
from eigenserve.model.torch.affine_library import affine_eigenpairs, form, to_inputs, to_matrices

#: Matrices' entries up to which the kernels here are used: 128 kB of float32 stay in the second cache while rows pass.
#: Beyond, a product by BLAS is faster.
MOST_ENTRIES = 32_768
#: Inputs up to which matrices are added in float64 in larger layers, too: with 8 that costs nothing, since nothing has
#: to be converted afterwards; with 32 it would cost an eighth of a step, with 784 more than half.
MOST_INPUTS = 16
_FLOATS = (torch.float32, torch.float64)


def affine_eigenvalues(x: Tensor, matrices: Tensor, eig_idx: int, shape: Sequence[int]) -> Tensor:
    """Return eigenvalue `eig_idx` of every row's matrices: x (B, F), matrices (F + 1, H, 2 n - 1) -> B H in this shape.

    The last of the matrices is the constant; each is its diagonal and then its off-diagonal. The result has the dtype
    that x and the matrices promote to; inside, eigenvalues are float64. A result that is reshaped afterwards would be
    another node of the graph.
    """
    if matrices.numel() <= MOST_ENTRIES and x.is_cpu:
        if x.dtype is matrices.dtype and x.dtype in _FLOATS:
            return _small_layer(x, matrices, eig_idx, shape)
        # Other pairs of types would have their kernels compiled, seconds each.
        values = _small_layer(x.double(), matrices.double(), eig_idx, shape)
        return values.to(torch.promote_types(x.dtype, matrices.dtype))
    values = eigenvalues(*_rows(*affine_matrices(x, matrices)), eig_idx)
    return values.reshape(shape).to(torch.promote_types(x.dtype, matrices.dtype))


def _small_layer(x: Tensor, matrices: Tensor, eig_idx: int, shape: Sequence[int]) -> Tensor:
    if not is_plain(x, matrices):
        return affine_eigenpairs(x, matrices, eig_idx)[0].reshape(shape)
    if torch.is_grad_enabled() and (x.requires_grad or matrices.requires_grad):
        return _AffineEigenvalues.apply(x, matrices, eig_idx, shape)  # type: ignore[no-untyped-call]
    return affine_kernels.eigenvalues(x, matrices, eig_idx).view(shape)


def affine_matrices(x: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices of every row, float64 diag (B, H, n) and off_diag (B, H, n - 1).

    They are added in float64; those of a layer with more than MOST_ENTRIES numbers and MOST_INPUTS inputs in the dtype
    that x and the matrices promote to, float32 or better.
    """
    dtype = torch.float64
    if matrices.numel() > MOST_ENTRIES and x.shape[-1] > MOST_INPUTS:
        dtype = torch.promote_types(torch.promote_types(x.dtype, matrices.dtype), torch.float32)
    # The device "meta" has no autocast.
    with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
        table = matrices.to(dtype).flatten(1)
        entries = torch.addmm(table[-1], x.to(dtype), table[:-1]).unflatten(1, matrices.shape[1:]).double()
    n = (matrices.shape[-1] + 1) // 2
    return entries[..., :n], entries[..., n:]


def _rows(diag: Tensor, off_diag: Tensor) -> tuple[Tensor, Tensor]:
    return diag.flatten(0, 1).contiguous(), off_diag.flatten(0, 1).contiguous()


class _AffineEigenvalues(Function):
    """Compute `affine_eigenvalues` in eager mode, at half the price of the operator; differentiable to any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor, eig_idx: int, shape: Sequence[int]) -> Tensor:
        rows, table = as_array(x), as_array(matrices)
        values, vectors = affine_kernels.solved(rows, table, eig_idx)
        ctx.save_for_backward(x, matrices)
        ctx.arrays, ctx.eig_idx = (rows, table, vectors), eig_idx
        return torch.from_numpy(values.reshape(shape))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        # Read in any case: that is where torch finds that they were written to.
        x, matrices = ctx.saved_tensors
        need_x, need_matrices, _, _ = ctx.needs_input_grad
        grad_x = grad_matrices = None
        if torch.is_grad_enabled() or not is_readable(grad):
            diag, off_diag = affine_matrices(x, matrices)
            vectors = eigenpairs(*_rows(diag, off_diag), ctx.eig_idx, 0)[1].reshape(diag.shape)
            by_entry = form(grad.reshape(diag.shape[:-1]), vectors)
            if need_x:
                grad_x = to_inputs(by_entry, matrices).to(x.dtype)
            if need_matrices:
                grad_matrices = to_matrices(by_entry, x).to(matrices.dtype)
            return grad_x, grad_matrices, None, None
        rows, table, vectors = ctx.arrays
        weights = as_array(grad).reshape(vectors.shape[:2])
        if need_x:
            grad_x = torch.from_numpy(affine_kernels.row_slopes(weights, table, vectors, rows.dtype))
        if need_matrices:
            grad_matrices = torch.from_numpy(affine_kernels.table_slopes(weights, rows, vectors, table.dtype))
        return grad_x, grad_matrices, None, None
