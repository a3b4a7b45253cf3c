"""Matrices with a known spectrum, and an operator that counts its products."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from eigenserve.model.operators import SymmetricOperator


class Counted(SymmetricOperator):
    """Another operator, and how many vectors it was multiplied with."""

    def __init__(self, inner: SymmetricOperator) -> None:
        self.inner, self.products = inner, 0
        self.size, self.dtype, self.device = inner.size, inner.dtype, inner.device

    def matvec(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.inner.matvec(vector)


@pytest.fixture
def counted() -> Callable[[SymmetricOperator], Counted]:
    return Counted


@pytest.fixture
def with_spectrum() -> Callable[[Sequence[float]], Tensor]:
    """Eigenvalues (n,) -> a dense symmetric matrix (n, n) with random eigenvectors."""

    def build(eigenvalues: Sequence[float], seed: int = 0) -> Tensor:
        lam = torch.as_tensor(np.array(eigenvalues, np.float64))
        draw = torch.randn(len(lam), len(lam), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        q = torch.linalg.qr(draw).Q
        matrix = (q * lam) @ q.T
        return (matrix + matrix.T) / 2

    return build


@pytest.fixture
def path_laplacian() -> Callable[[int], scipy.sparse.sparray]:
    """n -> the Laplacian of a path with fixed ends; eigenvalues 4 sin^2(j pi / (2 n + 2))."""

    def build(n: int) -> scipy.sparse.sparray:
        return scipy.sparse.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])

    return build
