"""Count and check an operator's products, and bring them to a size near one."""

from __future__ import annotations

from math import frexp, isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eigenserve.model.operators.arguments import whole
from eigenserve.model.operators.operator import SymmetricOperator, check_dtype, check_product

FloatArray = NDArray[np.float64]
#: In eps: a residual orthogonalised twice keeps a few units of rounding.
ROUNDING_UNITS = 10
NOT_FINITE = "the operator's products must be finite; got NaN or infinity"


def unit_exponent(size: float, dtype: torch.dtype) -> int:
    """Return e for which ``size`` / 2^e lies in [1/2, 1), as far as 2^e and 2^-e are numbers of the type."""
    limit = -frexp(torch.finfo(dtype).tiny)[1]
    return min(max(frexp(size)[1], -limit), limit)


class Products(SymmetricOperator):
    """Divide another operator by 2^``exponent``, on a device of choice.

    The first product that is not zero decides the exponent: its largest entry becomes near one. A power of two
    changes no digit, so results are what they were; but the squares in norms and inner products, which for an
    operator of 1e-200 or 1e200 would be zero or infinite, stay far from either.

    Attributes:
        count: products with one vector so far.
        exponent: 0 until there was a product that is not zero.
    """

    def __init__(self, operator: SymmetricOperator, device: torch.device | str | None = None) -> None:
        if not isinstance(operator, SymmetricOperator):
            raise TypeError(f"operator must be a SymmetricOperator; got {type(operator).__name__}")
        check_dtype(operator.dtype)
        self.operator = operator
        self.size, self.dtype = whole("an operator's size", operator.size, 1), operator.dtype
        self.device = torch.device(operator.device if device is None else device)
        self.count = self.exponent = 0
        self._chosen = False

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``; a copy goes in, so that the operator may overwrite it.

        Raises:
            ValueError: a product that is not finite, or not like the vector.
        """
        self.count += 1
        vector = vector.to(self.operator.device, copy=True)
        return self._scaled(self.operator.matvec(vector), vector)

    def matmat(self, vectors: Tensor) -> Tensor:
        """See ``matvec``."""
        self.count += len(vectors)
        vectors = vectors.to(self.operator.device, copy=True)
        return self._scaled(self.operator.matmat(vectors), vectors)

    def restored(self, values: FloatArray) -> FloatArray:
        """Convert this operator's numbers, eigenvalues or residuals, to those of the one it stands for.

        Raises:
            ValueError: numbers beyond the operator's type.
        """
        with np.errstate(over="ignore"):
            restored = np.ldexp(values, self.exponent)
        if not (np.abs(restored) <= torch.finfo(self.dtype).max).all():
            raise ValueError(f"eigenvalues must be numbers of {self.dtype}; they overflow: scale the operator down")
        return restored

    def rounding(self, scale: float) -> float:
        """Return what counts as rounding in products of an operator of the norm ``scale``."""
        return ROUNDING_UNITS * float(torch.finfo(self.dtype).eps) * scale

    def _scaled(self, product: Tensor, vectors: Tensor) -> Tensor:
        check_product(product, vectors)
        if not self._chosen:
            size = float(product.detach().abs().max())
            if not isfinite(size):
                raise ValueError(NOT_FINITE)
            self.exponent, self._chosen = unit_exponent(size, self.dtype), size > 0
        # A new tensor, whatever memory the operator gave its product in.
        product = product.detach() * 2.0**-self.exponent
        if not isfinite(float(product.sum())):
            raise ValueError(NOT_FINITE)
        return product.to(self.device)
