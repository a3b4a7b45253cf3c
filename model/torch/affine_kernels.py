"""Rows of an affine pencil, assembled and taken back: kernels that keep one row's matrices in registers and cache.

Tensors in and out are plain CPU tensors, without a graph: x (B, F) and matrices (F + 1, H, 2 n - 1), float32 or float64
each, vectors (B, H, n) float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eigenserve.model.autograd import kernels
from eigenserve.model.eigensolvers import cpu
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest
from eigenserve.model.kernels.threads import for_ranges

#: Rows whose share of the matrices' gradient is added up separately: the same for any number of threads.
GRADIENT_ROWS = 512


def eigenvalues(x: Tensor, matrices: Tensor, eig_idx: int) -> Tensor:
    """Return eigenvalue `eig_idx` of every row's matrices, (B, H), in the dtype that x and the matrices promote to."""
    return _solved(x, matrices, eig_idx, False)[0]


def eigenpairs(x: Tensor, matrices: Tensor, eig_idx: int) -> tuple[Tensor, Tensor]:
    """Return as `eigenvalues`, and the eigenvectors (B, H, n)."""
    return _solved(x, matrices, eig_idx, True)


def _solved(x: Tensor, matrices: Tensor, eig_idx: int, with_vectors: bool) -> tuple[Tensor, Tensor]:
    rows, table = _array(x), _array(matrices)
    count, (features, heads, width) = len(rows), table.shape
    n = (width + 1) // 2
    table = table.reshape(features, heads * width)
    values, vectors = np.empty(count * heads), np.empty((count * heads if with_vectors else 0, n))

    def work(i: int, j: int) -> None:
        d, e = np.empty(((j - i) * heads, n)), np.empty(((j - i) * heads, n - 1))
        assemble(rows[i:j], table, heads, d, e)
        i, j = i * heads, j * heads
        if with_vectors:
            cpu.solve_eigenpairs(d, e, eig_idx, values[i:j], vectors[i:j])
        else:
            cpu.solve_eigenvalues(d, e, eig_idx, values[i:j])

    for_ranges(count, max(1, kernels.grain(n) // heads), work)
    # NumPy rounds and reshapes for a third of what torch takes: at 64 rows that is as much as a kernel.
    rounded = values.astype(np.result_type(rows, table), copy=False).reshape(count, heads)
    return torch.from_numpy(rounded), torch.from_numpy(vectors.reshape(-1, heads, n) if with_vectors else vectors)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


def input_gradient(grad: Tensor, matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the gradient of the sum of grad (B, H) times the outputs by x, (B, F), in the matrices' dtype."""
    out = matrices.new_empty((len(grad), len(matrices) - 1))
    table = _array(matrices).reshape(len(matrices), -1)
    weights, v, rows = _array(grad), _array(vectors), out.numpy()
    for_ranges(len(grad), GRADIENT_ROWS, lambda i, j: pull_to_rows(weights[i:j], v[i:j], table, rows[i:j]))
    return out


def matrix_gradient(grad: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """Return the gradient of the sum of grad (B, H) times the outputs by the matrices, in the dtype of x."""
    weights, rows, v = _array(grad), _array(x), _array(vectors)
    count, heads, n = v.shape
    parts = np.zeros((max(1, -(-count // GRADIENT_ROWS)), rows.shape[1] + 1, heads * (2 * n - 1)))

    def work(start: int, stop: int) -> None:
        for i in range(start, stop, GRADIENT_ROWS):
            j = min(i + GRADIENT_ROWS, stop)
            pull_to_matrices(weights[i:j], v[i:j], rows[i:j], parts[i // GRADIENT_ROWS])

    for_ranges(count, GRADIENT_ROWS, work)
    total = parts[0] if len(parts) == 1 else parts.sum(0)
    return torch.from_numpy(total.astype(rows.dtype, copy=False).reshape(-1, heads, 2 * n - 1))


@part
def _form(weights: Any, vectors: Any, j: int, form: Any) -> None:
    """Write the gradient of row j's outputs by its matrices' entries, H (2 n - 1) numbers."""
    heads, n = vectors.shape[1], vectors.shape[2]
    for h in range(heads):
        first, weight = h * (2 * n - 1), np.float64(weights[j, h])
        for i in range(n):
            form[first + i] = weight * vectors[j, h, i] * vectors[j, h, i]
        for i in range(n - 1):
            form[first + n + i] = 2.0 * weight * vectors[j, h, i] * vectors[j, h, i + 1]


def _cached(sources: int) -> Any:
    @kernel
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

    @kernel
    def pull_to_rows(weights: Any, vectors: Any, table: Any, grad_rows: Any) -> None:
        """Write grad_rows (B, F)."""
        if sources < 0:
            return
        features, total = table.shape[0] - 1, table.shape[1]
        form = np.empty(total)
        for j in range(len(weights)):
            _form(weights, vectors, j, form)
            for f in range(features):
                slope = 0.0
                for c in range(total):
                    slope += form[c] * table[f, c]
                grad_rows[j, f] = slope

    @kernel
    def pull_to_matrices(weights: Any, vectors: Any, rows: Any, part: Any) -> None:
        """Add to part (F + 1, H (2 n - 1))."""
        if sources < 0:
            return
        features, total = part.shape[0] - 1, part.shape[1]
        form = np.empty(total)
        for j in range(len(rows)):
            _form(weights, vectors, j, form)
            for f in range(features):
                factor = np.float64(rows[j, f])
                for c in range(total):
                    part[f, c] += factor * form[c]
            for c in range(total):
                part[features, c] += form[c]

    return assemble, pull_to_rows, pull_to_matrices


assemble, pull_to_rows, pull_to_matrices = _cached(source_digest(*SOLVER_SOURCES, Path(__file__)))
