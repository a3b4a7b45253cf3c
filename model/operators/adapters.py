"""Operators of SciPy and of curvlinops as ours, and ours as theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from eigenserve.model.operators.matrices import CallableOperator
from eigenserve.model.operators.operator import SymmetricOperator


def from_scipy(operator: Any, *, device: torch.device | str = "cpu") -> CallableOperator:
    """Return a SciPy LinearOperator, which must be symmetric, as an operator of float32 or float64 vectors.

    Raises:
        ValueError: one that is not square or not real; of a product, where it turns out complex.
    """
    linear = scipy.sparse.linalg.aslinearoperator(operator)
    size = _square(linear.shape)
    _check_real(linear.dtype)
    dtype = torch.float32 if linear.dtype == np.float32 else torch.float64

    def product(vector: Tensor) -> Tensor:
        image = np.asarray(linear.matvec(vector.cpu().numpy())).reshape(size)
        _check_real(image.dtype)
        return torch.from_numpy(image).to(device=vector.device, dtype=dtype)

    return CallableOperator(product, size, dtype=dtype, device=device)


def to_scipy(operator: SymmetricOperator) -> Any:
    """Return an operator as a SciPy LinearOperator: for `eigsh`, `cg`, `minres` and others."""
    dtype = np.dtype(np.float32 if operator.dtype == torch.float32 else np.float64)

    def tensor(array: Any) -> Tensor:
        return torch.from_numpy(np.array(array, dtype)).to(operator.device)

    def matvec(vector: Any) -> Any:
        return operator.matvec(tensor(vector).reshape(-1)).detach().cpu().numpy()

    def matmat(columns: Any) -> Any:
        return operator.matmat(tensor(columns).T.contiguous()).detach().cpu().numpy().T

    shape = (operator.size, operator.size)
    return scipy.sparse.linalg.LinearOperator(shape, matvec=matvec, rmatvec=matvec, matmat=matmat, dtype=dtype)


def from_curvlinops(operator: Any) -> CallableOperator:
    """Return a symmetric linear operator of curvlinops as one of ours."""
    size = _square(operator.shape)
    return CallableOperator(lambda vector: operator @ vector, size, dtype=operator.dtype, device=operator.device)


def to_curvlinops(operator: SymmetricOperator) -> Any:
    """Return an operator as one of curvlinops: for its inverses, traces and norms.

    Raises:
        ImportError: curvlinops-for-pytorch is not installed.
    """
    from curvlinops._torch_base import PyTorchLinearOperator

    class Ours(PyTorchLinearOperator):  # type: ignore[misc]
        SELF_ADJOINT = True
        dtype, device = operator.dtype, operator.device

        def _matmat(self, X: list[Tensor]) -> list[Tensor]:
            return [operator.matmat(X[0].T.contiguous()).T]

    return Ours([(operator.size,)], [(operator.size,)])


def _check_real(dtype: Any) -> None:
    if np.dtype(dtype).kind == "c":
        raise ValueError(
            f"an operator must be real, as a symmetric one is; got {dtype}. A Hermitian matrix A + iB has the "
            "eigenvalues of [[A, -B], [B, A]], each twice"
        )


def _square(shape: tuple[int, ...]) -> int:
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"an operator must be square, as a symmetric one is; got {tuple(shape)}")
    return int(shape[0])
