"""SymmetricOperator: what an eigensolver needs to know of a matrix it never sees."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class SymmetricOperator(ABC):
    """A real symmetric n x n matrix, known by its products with vectors.

    Nothing checks the symmetry: with another matrix the results mean nothing.

    Attributes:
        size: n.
        dtype: of the vectors, a real floating-point type.
        device: where the vectors of a product live.
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def matvec(self, vector: Tensor) -> Tensor:
        """The product with a vector (n,), as a tensor that does not share its memory."""

    def matmat(self, vectors: Tensor) -> Tensor:
        """The products with the rows of ``vectors`` (b, n) -> (b, n)."""
        return torch.stack([self.matvec(vector) for vector in vectors])


def check_operator(operator: SymmetricOperator) -> None:
    """Raise ValueError unless the operator has a size and a real floating-point type."""
    if operator.size < 1:
        raise ValueError(f"an operator's size must be at least 1; got {operator.size}")
    if operator.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"an operator's dtype must be float32 or float64; got {operator.dtype}")
