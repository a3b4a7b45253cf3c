"""Define what an eigensolver needs to know of a matrix it never sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor


class SymmetricOperator(ABC):
    """Represent a real symmetric n x n matrix by its products with vectors.

    Nothing checks the symmetry here: with another matrix the results mean nothing.

    Attributes:
        size: n, at least 1.
        dtype: of the vectors, float32 or float64.
        device: where the vectors of a product live.
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def matvec(self, vector: Tensor) -> Tensor:
        """Multiply by a vector (n,), which stays as it is."""

    def matmat(self, vectors: Tensor) -> Tensor:
        """Multiply by the rows of ``vectors`` (b, n) -> (b, n)."""
        products = torch.empty_like(vectors)
        for i, vector in enumerate(vectors):
            products[i] = self.matvec(vector)
        return products


def check_dtype(dtype: torch.dtype) -> None:
    """Raise ValueError unless an operator can have this type."""
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"an operator's dtype must be float32 or float64; got {dtype}")


def check_product(product: Any, vector: Tensor) -> None:
    """Raise ValueError unless a function's result can be a product with ``vector``: like it in shape and type."""
    if not isinstance(product, Tensor):
        raise ValueError(f"a product must be a tensor; got {type(product).__name__}")
    for name, got, due in (
        ("shape", tuple(product.shape), tuple(vector.shape)),
        ("dtype", product.dtype, vector.dtype),
        ("device", product.device.type, vector.device.type),
    ):
        if got != due:
            raise ValueError(f"a product must have the {name} of the vector, {due}; got {got}")
