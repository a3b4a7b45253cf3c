"""Build a graph of ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from eigenserve.model.onnx.tensor import Tensor

#: Newer domains of ONNX's own are taken as they were when opset 17 came out.
ML_OPSET = 2

States = list[Tensor]


class Graph:
    """Build a graph of standard operators, written front to back.

    Constants are initializers of the outermost graph, each stored once. Names count up in the order of
    writing, so that the same calls give the same bytes.
    """

    def __init__(self, opset: int, reserved: Sequence[str] = ()) -> None:
        self.opset = opset
        self.domains = {"": opset}
        self._taken = set(reserved)
        self._scopes: list[list[onnx.NodeProto]] = [[]]
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    # What goes in and out.

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[str | int], doc: str) -> Tensor:
        """Add a tensor that the caller gives; ``name`` must be among the reserved ones."""
        self._inputs.append(helper.make_tensor_value_info(name, _onnx_type(dtype), shape, doc))
        return Tensor(self, name, dtype)

    def output(self, name: str, value: Tensor, shape: Sequence[str | int], doc: str) -> None:
        """Hand ``value`` out under ``name``, which must be among the reserved ones."""
        self._scopes[-1].append(helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _onnx_type(value.dtype), shape, doc))

    def proto(self, name: str, doc: str) -> onnx.GraphProto:
        """Finish the graph."""
        return helper.make_graph(self._scopes[0], name, self._inputs, self._outputs, self._initializers, doc_string=doc)

    # Nodes.

    def apply(self, kind: str, *inputs: Tensor, dtype: DTypeLike, **attributes: Any) -> Tensor:
        """Add one node with one output of type ``dtype``."""
        out = self._new(dtype)
        node = helper.make_node(kind, [value.name for value in inputs], [out.name], **attributes)
        if attributes.get("domain"):
            self.domains[attributes["domain"]] = ML_OPSET
        self._scopes[-1].append(node)
        return out

    def constant(self, values: Any, dtype: DTypeLike | None = None) -> Tensor:
        """Add an array known at export."""
        array = np.asarray(values, dtype)
        if array.dtype.kind == "U":
            array = array.astype(object)
        text = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        key = (array.dtype.str, array.shape, text)
        if key not in self._constants:
            value = self._new(array.dtype)
            self._constants[key] = value
            self._initializers.append(numpy_helper.from_array(array, value.name))
        return self._constants[key]

    def like(self, tensor: Tensor, value: Any) -> Tensor:
        """Return ``value`` if it is a tensor, else a constant of the type of ``tensor``."""
        return value if isinstance(value, Tensor) else self.constant(value, tensor.dtype)

    def cast(self, x: Tensor, dtype: DTypeLike) -> Tensor:
        """Cast ``x`` to another type."""
        return x if x.dtype == np.dtype(dtype) else self.apply("Cast", x, dtype=dtype, to=_onnx_type(dtype))

    def where(self, condition: Tensor, yes: Any, no: Any) -> Tensor:
        """Choose elementwise; one of the two must be a tensor."""
        known = yes if isinstance(yes, Tensor) else no
        return self.apply("Where", condition, self.like(known, yes), self.like(known, no), dtype=known.dtype)

    def elementwise(self, kind: str, x: Tensor, *others: Any) -> Tensor:
        """Apply an operator of the same type in and out: Abs, Max, Min, Sqrt, Exp, Log, ..."""
        return self.apply(kind, x, *(self.like(x, other) for other in others), dtype=x.dtype)

    def is_nan(self, x: Tensor) -> Tensor:
        """Find where ``x`` is not a number."""
        return self.apply("IsNaN", x, dtype=np.bool_)

    def reduce(self, kind: str, x: Tensor, axes: Sequence[int], keep: bool = True) -> Tensor:
        """Apply ReduceSum, ReduceMin or ReduceMax. The axes of the last two became an input with opset 18."""
        if kind != "ReduceSum" and self.opset < 18:
            return self.apply(kind, x, dtype=x.dtype, axes=list(axes), keepdims=int(keep))
        return self.apply(kind, x, self._ints(axes), dtype=x.dtype, keepdims=int(keep))

    def arg(self, kind: str, x: Tensor, axis: int) -> Tensor:
        """Apply ArgMin or ArgMax (the first of equal ones), the axis kept."""
        return self.apply(kind, x, dtype=np.int64, axis=axis, keepdims=1)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply matrices over the last two axes."""
        return self.apply("MatMul", a, b, dtype=a.dtype)

    # Shapes.

    def shape_of(self, x: Tensor, start: int, stop: int | None = None) -> Tensor:
        """Return lengths of axes start ... stop - 1, (stop - start,) int64."""
        bounds = {"start": start} if stop is None else {"start": start, "end": stop}
        return self.apply("Shape", x, dtype=np.int64, **bounds)

    def shape(self, *lengths: int | Tensor) -> Tensor:
        """Make a shape of numbers and of (1,) tensors."""
        parts = [part if isinstance(part, Tensor) else self._ints([part]) for part in lengths]
        return self.concat(parts, axis=0)

    def reshape(self, x: Tensor, *lengths: int) -> Tensor:
        """Reshape ``x`` to a shape known now, -1 for what is left; one with the batch in it needs ``reshape_to``."""
        return self.apply("Reshape", x, self._ints(lengths), dtype=x.dtype)

    def reshape_to(self, x: Tensor, shape: Tensor) -> Tensor:
        """Reshape ``x`` to a shape known only when the graph runs; zero lengths are allowed."""
        return self.apply("Reshape", x, shape, dtype=x.dtype, allowzero=1)

    def expand(self, value: Tensor, shape: Tensor) -> Tensor:
        """Repeat ``value`` to a shape."""
        return self.apply("Expand", value, shape, dtype=value.dtype)

    def zeros(self, dtype: DTypeLike, shape: Tensor) -> Tensor:
        """Make zeros of a shape."""
        zero = numpy_helper.from_array(np.zeros(1, dtype))
        return self.apply("ConstantOfShape", shape, dtype=dtype, value=zero)

    def transpose(self, x: Tensor, *order: int) -> Tensor:
        """Put axes in another order."""
        return self.apply("Transpose", x, dtype=x.dtype, perm=list(order))

    def unsqueeze(self, x: Tensor, *axes: int) -> Tensor:
        """Insert axes of length one."""
        return self.apply("Unsqueeze", x, self._ints(axes), dtype=x.dtype)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Join tensors one after the other."""
        return parts[0] if len(parts) == 1 else self.apply("Concat", *parts, dtype=parts[0].dtype, axis=axis)

    def pad_rows(self, x: Tensor, before: int, after: int, value: float) -> Tensor:
        """Pad a matrix with rows of ``value`` before and after its own."""
        return self.apply("Pad", x, self._ints([before, 0, after, 0]), self.like(x, value), dtype=x.dtype)

    def rows(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Slice x[start:stop]."""
        return self.apply("Slice", x, self._ints([start]), self._ints([stop]), self._ints([0]), dtype=x.dtype)

    def gather(self, x: Tensor, positions: Any, axis: int = 0) -> Tensor:
        """Gather x's slices at ``positions`` (a tensor, or numbers known at export) along an axis."""
        index = positions if isinstance(positions, Tensor) else self.constant(positions, np.int64)
        return self.apply("Gather", x, index, dtype=x.dtype, axis=axis)

    def gather_elements(self, x: Tensor, positions: Tensor) -> Tensor:
        """Gather out[i, j] = x[positions[i, j], j].

        Not by GatherElements, which onnx.reference gets wrong along the first axis of more than 64 rows.
        """
        columns = self.shape_of(x, 1)
        start, step = self.constant(0), self.constant(1)
        place = self.apply("Range", start, self.reshape(columns), step, dtype=np.int64)
        return self.gather(self.reshape(x, -1), positions * columns + place)

    def scatter_elements(self, x: Tensor, positions: Tensor, values: Tensor, axis: int = 0) -> Tensor:
        """Copy ``x`` with x[positions[i, j], j] = values[i, j] (axis 0), or x[i, positions[i, j]] (axis 1)."""
        return self.apply("ScatterElements", x, positions, values, dtype=x.dtype, axis=axis)

    # Subgraphs. onnxruntime wants the ranks of what goes in and out of them: one rank for all.

    def scan(
        self,
        body: Callable[[States, States], tuple[States, States]],
        states: States,
        rows: States,
        rank: int,
    ) -> tuple[States, States]:
        """Run ``body(states, rows[i]) -> (states, outputs)`` over the first axis of ``rows``.

        Returns the last states, and the outputs stacked.
        """
        inside = [self._new(value.dtype) for value in (*states, *rows)]
        self._scopes.append([])
        after, outputs = body(inside[: len(states)], inside[len(states) :])
        graph = self._subgraph("rows", inside, [*after, *outputs], rank)
        found = [self._new(value.dtype) for value in (*after, *outputs)]
        self._append("Scan", [*states, *rows], found, body=graph, num_scan_inputs=len(rows))
        return found[: len(after)], found[len(after) :]

    def loop(self, trips: Tensor, body: Callable[[States], States], states: States, rank: int) -> States:
        """Run ``body(states) -> states`` so many times."""
        step, going = self._new(np.int64), self._new(np.bool_)
        inside = [self._new(value.dtype) for value in states]
        self._scopes.append([])
        after = body(inside)
        graph = self._subgraph("passes", [step, going, *inside], [going, *after], rank, {step.name, going.name})
        found = [self._new(value.dtype) for value in states]
        # Without the condition, which the standard allows to leave out, onnx.reference runs no pass.
        self._append("Loop", [trips, self.constant(True), *states], found, body=graph)
        return found

    def branch(self, condition: Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor], rank: int) -> Tensor:
        """Compute only one of ``yes()`` and ``no()`` and return its value; ``condition``: one boolean."""
        graphs = []
        for name, write in (("yes", yes), ("no", no)):
            self._scopes.append([])
            value = write()
            graphs.append(self._subgraph(name, [], [value], rank))
        found = self._new(value.dtype)
        self._append("If", [condition], [found], then_branch=graphs[0], else_branch=graphs[1])
        return found

    def _subgraph(
        self, name: str, inputs: States, outputs: States, rank: int, scalars: Container[str] = ()
    ) -> onnx.GraphProto:
        # An output must be a value made inside, under a separate name.
        made = {name for node in self._scopes[-1] for name in node.output}
        infos: list[list[onnx.ValueInfoProto]] = [[], []]
        for value in inputs:
            infos[0].append(_info(value, value.name, None if value.name in scalars else rank))
        for value in outputs:
            named = value
            if value.name not in made or any(value.name == info.name for info in infos[1]):
                named = self.apply("Identity", value, dtype=value.dtype)
            infos[1].append(_info(value, named.name, None if value.name in scalars else rank))
        return helper.make_graph(self._scopes.pop(), name, *infos)

    def _append(self, kind: str, inputs: States, outputs: States, **attributes: Any) -> None:
        names = [[value.name for value in values] for values in (inputs, outputs)]
        self._scopes[-1].append(helper.make_node(kind, *names, **attributes))

    def _ints(self, values: Sequence[int]) -> Tensor:
        return self.constant(list(values), np.int64)

    def _new(self, dtype: DTypeLike) -> Tensor:
        name = str(self._count)
        while name in self._taken:
            self._count += 1
            name = str(self._count)
        self._count += 1
        return Tensor(self, name, dtype)


def _info(value: Tensor, name: str, rank: int | None) -> onnx.ValueInfoProto:
    """Describe name, type and rank; None stands for a scalar."""
    return helper.make_tensor_value_info(name, _onnx_type(value.dtype), [None] * (rank or 0))


def _onnx_type(dtype: DTypeLike) -> int:
    kind = np.dtype(dtype)
    if kind.kind in "OU":
        return int(onnx.TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(kind))


def array_of(values: Sequence[Any]) -> NDArray[Any]:
    """Make the array of labels that numpy makes of them, texts as objects."""
    array = np.array(values)
    return array.astype(object) if array.dtype.kind == "U" else array
