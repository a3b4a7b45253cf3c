"""Write the nodes of a graph by arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class Tensor:
    """Name a value of a graph; arithmetic on it appends nodes to the (sub)graph being written.

    A number used with a tensor becomes a constant of the tensor's type. ``graph`` is a ``model.onnx.graph.Graph``; its
    type is not named here, since graphs are made of tensors and modules import one way.
    """

    def __init__(self, graph: Any, name: str, dtype: DTypeLike) -> None:
        self.graph = graph
        self.name = name
        self.dtype = np.dtype(dtype)

    def _with(self, kind: str, other: Any, dtype: DTypeLike | None = None, flip: bool = False) -> Tensor:
        pair = (self, self.graph.like(self, other))
        return self.graph.apply(kind, *(pair[::-1] if flip else pair), dtype=self.dtype if dtype is None else dtype)

    def __add__(self, other: Any) -> Tensor:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Tensor:
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._with("Sub", other, flip=True)

    def __mul__(self, other: Any) -> Tensor:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Tensor:
        return self._with("Div", other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._with("Div", other, flip=True)

    def __neg__(self) -> Tensor:
        return self.graph.apply("Neg", self, dtype=self.dtype)

    def __lt__(self, other: Any) -> Tensor:
        return self._with("Less", other, np.bool_)

    def __le__(self, other: Any) -> Tensor:
        return self._with("LessOrEqual", other, np.bool_)

    def __gt__(self, other: Any) -> Tensor:
        return self._with("Greater", other, np.bool_)

    def __ge__(self, other: Any) -> Tensor:
        return self._with("GreaterOrEqual", other, np.bool_)

    def __and__(self, other: Any) -> Tensor:
        return self._with("And", other)

    def __or__(self, other: Any) -> Tensor:
        return self._with("Or", other)

    def __invert__(self) -> Tensor:
        return self.graph.apply("Not", self, dtype=np.bool_)
