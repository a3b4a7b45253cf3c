"""Operators made of a dense matrix, a sparse matrix or a function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from model.operators.operator import SymmetricOperator


class DenseOperator(SymmetricOperator):
    """A symmetric matrix (n, n), on the device where it lies.

    Raises:
        ValueError: no square matrix, or one that is not symmetric to rounding.
    """

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"matrix must be (n, n); got {tuple(matrix.shape)}")
        # Sums in another order differ by a few units in the last place of the largest entry.
        slack = 100 * torch.finfo(matrix.dtype).eps * matrix.abs().max()
        if not bool(((matrix - matrix.T).abs() <= slack).all()):
            raise ValueError("matrix must be symmetric; use (matrix + matrix.T) / 2 if that is what is meant")
        self.matrix = matrix
        self.size, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        return self.matrix @ vector

    def matmat(self, vectors: Tensor) -> Tensor:
        """See ``SymmetricOperator``: one matrix product."""
        return vectors @ self.matrix


class SparseMatrix:
    """A SciPy sparse matrix (m, n) that multiplies tensors on a device.

    On a CPU the products are SciPy's (measured: half the time of PyTorch's), elsewhere those of a sparse CSR
    tensor.
    """

    def __init__(self, matrix: Any, dtype: torch.dtype, device: torch.device) -> None:
        self.scipy = scipy.sparse.csr_array(matrix, dtype=np.float32 if dtype == torch.float32 else np.float64)
        self._tensor = None if device.type == "cpu" else _csr_tensor(self.scipy, device)

    def times(self, dense: Tensor) -> Tensor:
        """The product with (n,) or (n, b)."""
        if self._tensor is None:
            return torch.from_numpy(self.scipy @ dense.numpy())
        return self._tensor @ dense


class SparseOperator(SymmetricOperator):
    """A symmetric SciPy sparse matrix or array (n, n).

    Raises:
        ValueError: no square sparse matrix.
    """

    def __init__(self, matrix: Any, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> None:
        if not scipy.sparse.issparse(matrix) or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"matrix must be a SciPy sparse matrix (n, n); got {type(matrix).__name__}")
        self.size, self.dtype, self.device = matrix.shape[0], dtype, torch.device(device)
        self.matrix = SparseMatrix(matrix, dtype, self.device)

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        return self.matrix.times(vector)

    def matmat(self, vectors: Tensor) -> Tensor:
        """See ``SymmetricOperator``: the matrix is read once for all vectors."""
        return self.matrix.times(vectors.T).T.contiguous()


class CallableOperator(SymmetricOperator):
    """A function that gives the product with a vector (n,)."""

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        size: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.product = product
        self.size, self.dtype, self.device = size, dtype, torch.device(device)

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``.

        Raises:
            ValueError: the function gave something else than a vector (n,).
        """
        result = self.product(vector)
        if result.shape != vector.shape:
            raise ValueError(f"the product must be a vector of shape {tuple(vector.shape)}; got {tuple(result.shape)}")
        # A function that returns its argument would let the caller's updates change that vector.
        return result.clone() if result.data_ptr() == vector.data_ptr() else result


def _csr_tensor(matrix: Any, device: torch.device) -> Tensor:
    """A SciPy CSR array as a sparse CSR tensor on a device."""
    with warnings.catch_warnings():
        # PyTorch calls the layout a beta feature once per process; products with it are all that is used.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data),
            matrix.shape,
            device=device,
        )
