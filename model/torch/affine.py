"""Compute one eigenvalue of an affine pencil as a single node: what a training step of a small layer costs.

    T_o(x) = A_o + sum over i of x_i M_io,    out_o(x) = lambda_k(T_o(x))

Written with torch's operations, a step is a product, two slices, two conversions and their backward passes, and at 64
rows of order 15 nearly all of its time is what each of them costs to launch. Here rows are assembled, solved and taken
back by three kernels. They use none of torch's threads, which spin after each parallel operation: on busy cores the
composed path waits for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd import Function

from eigenserve.model.autograd import kernels
from eigenserve.model.autograd.functions import eigenpairs, eigenvalues, is_plain, is_readable
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest
from eigenserve.model.kernels.threads import for_ranges

#: Matrices' entries up to which the kernels here are used: 128 kB of float32 stay in the second cache while rows pass.
#: Beyond, a product by BLAS is faster.
MOST_ENTRIES = 32_768
#: Rows whose share of the matrices' gradient is added up on its own: the same for any number of threads.
GRADIENT_ROWS = 512
_FLOATS = (torch.float32, torch.float64)


def affine_eigenvalues(x: Tensor, matrices: Tensor, eig_idx: int) -> Tensor:
    """Return eigenvalue `eig_idx` of every row's matrices: x (B, F), matrices (F + 1, H, 2 n - 1) -> (B, H).

    The last of the matrices is the constant; each is its diagonal and then its off-diagonal. The result has the dtype
    that x and the matrices promote to; inside, eigenvalues are float64.
    """
    if x.dtype in _FLOATS and matrices.dtype in _FLOATS and matrices.numel() <= MOST_ENTRIES and is_plain(x, matrices):
        return _AffineEigenvalues.apply(x, matrices, eig_idx)  # type: ignore[no-untyped-call]
    diag, off_diag = affine_matrices(x, matrices)
    values = eigenvalues(*_rows(diag, off_diag), eig_idx)
    return values.reshape(diag.shape[:-1]).to(torch.promote_types(x.dtype, matrices.dtype))


def affine_matrices(x: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices of every row, float64 diag (B, H, n) and off_diag (B, H, n - 1)."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, matrices.dtype), torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        table = matrices.to(dtype).flatten(1)
        entries = torch.addmm(table[-1], x.to(dtype), table[:-1]).unflatten(1, matrices.shape[1:]).double()
    n = (matrices.shape[-1] + 1) // 2
    return entries[..., :n], entries[..., n:]


def _rows(diag: Tensor, off_diag: Tensor) -> tuple[Tensor, Tensor]:
    return diag.flatten(0, 1).contiguous(), off_diag.flatten(0, 1).contiguous()


class _AffineEigenvalues(Function):
    """Compute `affine_eigenvalues` by the kernels below, differentiable to any order in reverse mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor, eig_idx: int) -> Tensor:
        count, heads, width = len(x), matrices.shape[1], matrices.shape[2]
        n = (width + 1) // 2
        diag = torch.empty((count * heads, n), dtype=torch.float64)
        off_diag = torch.empty((count * heads, n - 1), dtype=torch.float64)
        rows, table = x.detach().numpy(), matrices.detach().contiguous().numpy().reshape(-1, heads * width)
        d, e = diag.numpy(), off_diag.numpy()
        for_ranges(
            count,
            kernels.grain(n, heads),
            lambda i, j: assemble(rows[i:j], table, heads, d[i * heads : j * heads], e[i * heads : j * heads]),
        )
        dtype = torch.promote_types(x.dtype, matrices.dtype)
        if not any(ctx.needs_input_grad):
            return kernels.eigenvalues(diag, off_diag, eig_idx).view(count, heads).to(dtype)
        values, vectors = kernels.eigenpairs(diag, off_diag, eig_idx, 0)
        ctx.save_for_backward(x, matrices)
        ctx.vectors, ctx.eig_idx = vectors, eig_idx
        return values.view(count, heads).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        x, matrices = ctx.saved_tensors
        need_x, need_matrices, _ = ctx.needs_input_grad
        if torch.is_grad_enabled() or not is_readable(grad):
            return *_differentiable_gradients(x, matrices, grad, ctx.eig_idx, need_x, need_matrices), None
        count, heads, width = len(x), matrices.shape[1], matrices.shape[2]
        rows, table = x.detach().numpy(), matrices.detach().contiguous().numpy().reshape(-1, heads * width)
        weights, v = grad.contiguous().numpy(), ctx.vectors.numpy().reshape(count, heads, (width + 1) // 2)
        grad_x = torch.empty_like(x, memory_format=torch.contiguous_format) if need_x else x.new_empty((0, 0))
        parts = np.zeros((-(-count // GRADIENT_ROWS), *table.shape) if need_matrices else (0, 0, 0))
        gx = grad_x.detach().numpy()

        def work(start: int, stop: int) -> None:
            for first in range(start, stop, GRADIENT_ROWS):
                i, j = first, min(first + GRADIENT_ROWS, stop)
                pull_back(rows[i:j], table, weights[i:j], v[i:j], gx[i:j], parts[i // GRADIENT_ROWS :])

        for_ranges(count, GRADIENT_ROWS, work)
        total = torch.from_numpy(parts.sum(0)).view(matrices.shape).to(matrices.dtype) if need_matrices else None
        return grad_x if need_x else None, total, None


def _differentiable_gradients(
    x: Tensor, matrices: Tensor, grad: Tensor, eig_idx: int, need_x: bool, need_matrices: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients as a graph that can be differentiated again."""
    diag, off_diag = affine_matrices(x, matrices)
    v = eigenpairs(*_rows(diag, off_diag), eig_idx, 0)[1].reshape(diag.shape)
    # Only what `is_grads_batched` can batch: no flatten, no einsum.
    by_entry = torch.cat([v * v, 2.0 * v[..., :-1] * v[..., 1:]], -1)
    form = (grad.double()[..., None] * by_entry).reshape(len(x), -1 if len(x) else by_entry[0].numel())
    grad_x = (form @ matrices[:-1].double().flatten(1).mT).to(x.dtype) if need_x else None
    if not need_matrices:
        return grad_x, None
    inputs = torch.cat([x, torch.ones_like(x[:, :1])], 1).double()
    return grad_x, (inputs.mT @ form).reshape(matrices.shape).to(matrices.dtype)


def _cached(sources: int) -> Any:
    @njit(nogil=True, cache=True, error_model="numpy")
    def assemble(rows: Any, table: Any, heads: int, diag: Any, off_diag: Any) -> None:
        """Write diag (B H, n) and off_diag (B H, n - 1) for rows (B, F) and table (F + 1, H (2 n - 1))."""
        if sources < 0:  # only so that the digest is captured
            return
        features, total = table.shape[0] - 1, table.shape[1]
        n = diag.shape[1]
        entries = np.empty(total)
        for j in range(len(rows)):
            for c in range(total):
                entries[c] = table[features, c]
            for f in range(features):
                factor = np.float64(rows[j, f])
                for c in range(total):
                    entries[c] += factor * table[f, c]
            for h in range(heads):
                first, place = h * (2 * n - 1), j * heads + h
                for i in range(n):
                    diag[place, i] = entries[first + i]
                for i in range(n - 1):
                    off_diag[place, i] = entries[first + n + i]

    @njit(nogil=True, cache=True, error_model="numpy")
    def pull_back(rows: Any, table: Any, weights: Any, vectors: Any, grad_rows: Any, parts: Any) -> None:
        """Write grad_rows (B, F) and add to parts[0] (F + 1, H (2 n - 1)), whichever is not empty."""
        if sources < 0:
            return
        features, total = table.shape[0] - 1, table.shape[1]
        heads, n = vectors.shape[1], vectors.shape[2]
        form = np.empty(total)
        for j in range(len(rows)):
            for h in range(heads):
                first, weight = h * (2 * n - 1), np.float64(weights[j, h])
                for i in range(n):
                    form[first + i] = weight * vectors[j, h, i] * vectors[j, h, i]
                for i in range(n - 1):
                    form[first + n + i] = 2.0 * weight * vectors[j, h, i] * vectors[j, h, i + 1]
            if grad_rows.size:
                for f in range(features):
                    slope = 0.0
                    for c in range(total):
                        slope += form[c] * table[f, c]
                    grad_rows[j, f] = slope
            if parts.size:
                part = parts[0]
                for f in range(features):
                    factor = np.float64(rows[j, f])
                    for c in range(total):
                        part[f, c] += factor * form[c]
                for c in range(total):
                    part[features, c] += form[c]

    return assemble, pull_back


assemble, pull_back = _cached(source_digest(*SOLVER_SOURCES, Path(__file__)))
