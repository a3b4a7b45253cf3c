"""Make operators of a dense matrix, a sparse matrix or a function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from eigenserve.model.operators.arguments import whole
from eigenserve.model.operators.operator import SymmetricOperator, check_dtype, check_product

#: How far two mirrored entries may differ, in units of eps times the largest entry: sums in another order
#: differ by a few of them.
SYMMETRY_SLACK = 100
NOT_SYMMETRIC = "matrix must be symmetric; use (matrix + matrix.T) / 2 if that is what is meant"
NOT_FINITE = "matrix must be finite; got NaN or infinity"


class DenseOperator(SymmetricOperator):
    """Wrap a symmetric matrix (n, n) of float32 or float64, on the device where it lies.

    Raises:
        TypeError: no tensor.
        ValueError: no square matrix of such a type, or one that is not finite or not symmetric to
            100 eps times its largest entry.
    """

    def __init__(self, matrix: Tensor) -> None:
        if not isinstance(matrix, Tensor):
            raise TypeError(f"matrix must be a tensor; got {type(matrix).__name__}")
        _check_square(tuple(matrix.shape))
        check_dtype(matrix.dtype)
        self.matrix = matrix.detach()
        self.size, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device
        largest = self.matrix.abs().max()
        if not bool(torch.isfinite(largest)):
            raise ValueError(NOT_FINITE)
        slack = SYMMETRY_SLACK * torch.finfo(matrix.dtype).eps * largest
        if not bool(((self.matrix - self.matrix.T).abs() <= slack).all()):
            raise ValueError(NOT_SYMMETRIC)

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        return self.matrix @ vector

    def matmat(self, vectors: Tensor) -> Tensor:
        """See ``SymmetricOperator``: one matrix product."""
        return vectors @ self.matrix


class SparseMatrix:
    """Multiply tensors on a device by a SciPy sparse matrix (m, n).

    On a CPU the products are SciPy's (measured: half the time of PyTorch's), elsewhere those of a sparse CSR
    tensor.
    """

    def __init__(self, matrix: Any, dtype: torch.dtype, device: torch.device) -> None:
        with np.errstate(over="ignore"):  # infinity is what float32 makes of more than it holds
            self.scipy = scipy.sparse.csr_array(matrix, dtype=np.float32 if dtype == torch.float32 else np.float64)
        self._tensor = None if device.type == "cpu" else _csr_tensor(self.scipy, device)

    def times(self, dense: Tensor) -> Tensor:
        """Multiply by (n,) or (n, b)."""
        if self._tensor is None:
            return torch.from_numpy(self.scipy @ dense.numpy())
        return self._tensor @ dense


class SparseOperator(SymmetricOperator):
    """Wrap a symmetric SciPy sparse matrix or array (n, n).

    Raises:
        TypeError: no sparse matrix.
        ValueError: no square matrix of real numbers, or one that is not finite or not symmetric to
            100 eps times its largest entry.
    """

    def __init__(self, matrix: Any, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> None:
        if not scipy.sparse.issparse(matrix):
            raise TypeError(f"matrix must be a SciPy sparse matrix; got {type(matrix).__name__}")
        _check_square(matrix.shape)
        check_dtype(dtype)
        if matrix.dtype.kind not in "fiub":
            raise ValueError(f"matrix must hold real numbers; got {matrix.dtype}")
        self.size, self.dtype, self.device = matrix.shape[0], dtype, torch.device(device)
        self.matrix = SparseMatrix(matrix, dtype, self.device)
        rows = self.matrix.scipy
        largest = np.abs(rows.data).max(initial=0.0)
        if not np.isfinite(largest):
            raise ValueError(NOT_FINITE)
        # Measured: the time of some four products.
        if abs(rows - rows.T).max() > SYMMETRY_SLACK * torch.finfo(dtype).eps * largest:
            raise ValueError(NOT_SYMMETRIC)

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        return self.matrix.times(vector)

    def matmat(self, vectors: Tensor) -> Tensor:
        """See ``SymmetricOperator``: the matrix is read once for all vectors."""
        return self.matrix.times(vectors.T).T.contiguous()


class CallableOperator(SymmetricOperator):
    """Wrap a function that gives the product with a vector (n,).

    It may work in place, and return its argument or the same buffer every time: what it is given and what it
    returns are copied.

    Raises:
        TypeError: not a function, or a size that is not a whole number.
        ValueError: a size below 1, or another type than float32 or float64.
    """

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        size: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        if not callable(product):
            raise TypeError(f"product must be a function of a vector; got {type(product).__name__}")
        check_dtype(dtype)
        self.product = product
        self.size, self.dtype, self.device = whole("size", size, 1), dtype, torch.device(device)

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``.

        Raises:
            ValueError: the function gave something else than a vector (n,) of this type.
        """
        product = self.product(vector.clone())
        check_product(product, vector)
        return product.detach().clone()


def _check_square(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"matrix must be (n, n), n at least 1; got {shape}")


def _csr_tensor(matrix: Any, device: torch.device) -> Tensor:
    """Copy a SciPy CSR array to a device as a sparse CSR tensor."""
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
