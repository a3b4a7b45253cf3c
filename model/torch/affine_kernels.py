"""Rows of an affine pencil, assembled and taken back: kernels that keep one row's matrices in registers and cache.

Tensors in and out are plain CPU tensors, without a graph: x (B, F) and matrices (F + 1, H, 2 n - 1), float32 or float64
each, vectors (B, H, n) float64. The functions of arrays take and give the same as NumPy's, which cost a third of what
tensors do: at 64 rows that is as much as a kernel.
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
    rows, table = as_array(x), as_array(matrices)
    _, heads, width = table.shape
    n = (width + 1) // 2
    values = np.empty(len(rows) * heads)

    def work(i: int, j: int) -> None:
        d, e = np.empty(((j - i) * heads, n)), np.empty(((j - i) * heads, n - 1))
        assemble(rows[i:j], table, d, e)
        cpu.solve_eigenvalues(d, e, eig_idx, values[i * heads : j * heads])

    for_ranges(len(rows), _grain(n, heads), work)
    return torch.from_numpy(values.astype(_promoted(rows, table), copy=False).reshape(len(rows), heads))


def eigenpairs(x: Tensor, matrices: Tensor, eig_idx: int) -> tuple[Tensor, Tensor]:
    """Return as `eigenvalues`, and the eigenvectors (B, H, n)."""
    values, vectors = solved(as_array(x), as_array(matrices), eig_idx)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def input_gradient(grad: Tensor, matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the gradient of the sum of grad (B, H) times the outputs by x, (B, F), in the matrices' dtype."""
    table = as_array(matrices)
    return torch.from_numpy(row_slopes(as_array(grad), table, as_array(vectors), table.dtype))


def matrix_gradient(grad: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """Return the gradient of the sum of grad (B, H) times the outputs by the matrices, in the dtype of x."""
    rows = as_array(x)
    return torch.from_numpy(table_slopes(as_array(grad), rows, as_array(vectors), rows.dtype))


def as_array(tensor: Tensor) -> Any:
    """Return a tensor's numbers as a contiguous array."""
    return tensor.detach().contiguous().numpy()


def solved(rows: Any, table: Any, eig_idx: int) -> tuple[Any, Any]:
    """Return as `eigenpairs`, of arrays."""
    count, (_, heads, width) = len(rows), table.shape
    n = (width + 1) // 2
    values, vectors = np.empty((count, heads), _promoted(rows, table)), np.empty((count, heads, n))
    grain = _grain(n, heads)
    if count <= grain:
        solve_rows(rows, table, eig_idx, values, vectors)
    else:
        for_ranges(count, grain, lambda i, j: solve_rows(rows[i:j], table, eig_idx, values[i:j], vectors[i:j]))
    return values, vectors


def row_slopes(weights: Any, table: Any, vectors: Any, dtype: Any) -> Any:
    """Return as `input_gradient`, of arrays and in this dtype."""
    slopes = np.empty((len(weights), len(table) - 1), dtype)
    for_ranges(len(weights), GRADIENT_ROWS, lambda i, j: pull_to_rows(weights[i:j], vectors[i:j], table, slopes[i:j]))
    return slopes


def table_slopes(weights: Any, rows: Any, vectors: Any, dtype: Any) -> Any:
    """Return as `matrix_gradient`, of arrays and in this dtype."""
    count, heads, n = vectors.shape
    shape = (rows.shape[1] + 1, heads, 2 * n - 1)
    if count <= GRADIENT_ROWS:
        total = np.empty(shape, dtype)
        pull_to_matrices(weights, vectors, rows, total)
        return total
    parts = np.empty((-(-count // GRADIENT_ROWS), *shape))

    def work(start: int, stop: int) -> None:
        for i in range(start, stop, GRADIENT_ROWS):
            j = min(i + GRADIENT_ROWS, stop)
            pull_to_matrices(weights[i:j], vectors[i:j], rows[i:j], parts[i // GRADIENT_ROWS])

    for_ranges(count, GRADIENT_ROWS, work)
    return parts.sum(0).astype(dtype, copy=False)


def _promoted(rows: Any, table: Any) -> Any:
    return rows.dtype if rows.dtype == table.dtype else np.float64


def _grain(n: int, heads: int) -> int:
    return max(1, kernels.grain(n) // heads)


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


@part
def _assemble(rows: Any, table: Any, diag: Any, off_diag: Any) -> None:
    """Write diag (B H, n) and off_diag (B H, n - 1) for rows (B, F) and table (F + 1, H, 2 n - 1)."""
    features, heads, width = table.shape
    features, n, total = features - 1, diag.shape[1], heads * width
    flat = table.reshape(features + 1, total)
    entries = np.empty(total)
    for j in range(len(rows)):
        for c in range(total):
            entries[c] = flat[features, c]
        for f in range(features):
            factor = np.float64(rows[j, f])
            for c in range(total):
                entries[c] += factor * flat[f, c]
        for h in range(heads):
            first, place = h * (2 * n - 1), j * heads + h
            for i in range(n):
                diag[place, i] = entries[first + i]
            for i in range(n - 1):
                off_diag[place, i] = entries[first + n + i]


def _cached(sources: int) -> Any:
    @kernel
    def assemble(rows: Any, table: Any, diag: Any, off_diag: Any) -> None:
        if sources >= 0:  # only so that the digest is captured
            _assemble(rows, table, diag, off_diag)

    @kernel
    def solve_rows(rows: Any, table: Any, eig_idx: int, values: Any, vectors: Any) -> None:
        """Write values (B, H) and vectors (B, H, n) for rows (B, F) and table (F + 1, H, 2 n - 1)."""
        if sources < 0:
            return
        count, heads, n = vectors.shape
        d, e, found = np.empty((count * heads, n)), np.empty((count * heads, n - 1)), np.empty(count * heads)
        _assemble(rows, table, d, e)
        cpu.solve_batch(d, e, eig_idx, found, vectors.reshape(count * heads, n))
        for j in range(count):
            for h in range(heads):
                values[j, h] = found[j * heads + h]

    @kernel
    def pull_to_rows(weights: Any, vectors: Any, table: Any, grad_rows: Any) -> None:
        """Write grad_rows (B, F)."""
        if sources < 0:
            return
        features, heads, width = table.shape
        features, total = features - 1, heads * width
        flat, form = table.reshape(features + 1, total), np.empty(total)
        for j in range(len(weights)):
            _form(weights, vectors, j, form)
            for f in range(features):
                slope = 0.0
                for c in range(total):
                    slope += form[c] * flat[f, c]
                grad_rows[j, f] = slope

    @kernel
    def pull_to_matrices(weights: Any, vectors: Any, rows: Any, out: Any) -> None:
        """Write out (F + 1, H, 2 n - 1)."""
        if sources < 0:
            return
        features, heads, width = out.shape
        features, total = features - 1, heads * width
        form, sums = np.empty(total), np.zeros((features + 1, total))
        for j in range(len(weights)):
            _form(weights, vectors, j, form)
            for f in range(features):
                factor = np.float64(rows[j, f])
                for c in range(total):
                    sums[f, c] += factor * form[c]
            for c in range(total):
                sums[features, c] += form[c]
        for f in range(features + 1):
            for h in range(heads):
                for i in range(width):
                    out[f, h, i] = sums[f, h * width + i]

    return assemble, solve_rows, pull_to_rows, pull_to_matrices


assemble, solve_rows, pull_to_rows, pull_to_matrices = _cached(source_digest(*SOLVER_SOURCES, Path(__file__)))
