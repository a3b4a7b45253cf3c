"""Convert between rows and the Open Inference Protocol's tensors, as JSON and in its binary form."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eigenserve.app.problems import Location, invalid
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.infer_answers import LAYOUTS
from eigenserve.app.wire.kept_values import check_tensor
from eigenserve.app.wire.limits import MAX_DIMENSIONS, check_cells, check_count
from eigenserve.model.arrays import FloatArray

DATATYPES = (*LAYOUTS, "BYTES")
#: Bytes of a text in a binary tensor: a row of JSON may have as many.
MAX_TEXT_BYTES = 2**20
#: What is handed through: name -> datatype and values.
KeptTensors = dict[str, tuple[str, Any]]


def read_tensors(
    inputs: Any, binary: bytes, served: ServedModel, max_rows: int, keep: Sequence[str] = ()
) -> tuple[Any, KeptTensors]:
    """Read the input tensors of a request as rows of a model.

    Either one tensor for every feature, of shape [N] or [N, 1] and named after it, or a single one of shape
    [N, F] with the features in column order.

    Args:
        inputs: the request's ``inputs``.
        binary: what follows the JSON part of the body.
        served: the model.
        max_rows: most rows.
        keep: names of further tensors, each of one value a row, that are handed through.

    Returns:
        The rows, and what is handed through.

    Raises:
        ProblemError: 422 naming each fault; 413 too many rows.
    """
    if not isinstance(inputs, list) or not inputs:
        raise invalid(("inputs",), "must be a list of at least one tensor")
    names = served.model.features.input_names
    if len(inputs) > len(names) + len(keep):
        raise invalid(("inputs",), f"must have at most one tensor for each of {len(names)} features; got {len(inputs)}")
    columns: dict[str, Any] = {}
    kept: KeptTensors = {}
    matrix: Any = None
    handed = 0
    used = 0
    for i, tensor in enumerate(inputs):
        loc: Location = ("inputs", i)
        name, datatype, shape = _head(tensor, loc)
        check_count(shape[0], max_rows)
        size = _binary_size(tensor, loc)
        if size is None:
            values = _flat(tensor.get("data"), math.prod(shape), (*loc, "data"))
        else:
            values = _from_binary(binary[used : used + size], size, datatype, math.prod(shape), loc)
            used += size
        if matrix is None and not columns and len(shape) == 2 and name not in (*names, *keep):
            matrix = _matrix(values, shape, len(names), loc)
            continue
        if name not in names and name not in keep:
            raise invalid((*loc, "name"), f"must be a feature, one of {', '.join(names)}; got {name!r}")
        if len(shape) > 1 and math.prod(shape[1:]) != 1:
            raise invalid((*loc, "shape"), f"must be [N] or [N, 1] for one feature; got {shape}")
        if name in keep:
            check_tensor(values, datatype, LAYOUTS.get(datatype), (*loc, "data"))
            kept[name] = (datatype, values)
            handed += name not in names
        if name in names:
            columns[name] = _floats(values) if size is not None and datatype not in ("BOOL", "BYTES") else values
    if matrix is not None and columns:
        raise invalid(("inputs",), "must be one tensor of all features, or one for every feature; got both")
    rows: Any = columns if matrix is None else matrix
    if used != len(binary):
        raise invalid(("inputs",), f"must announce all binary data: {used} of {len(binary)} bytes are announced")
    counts = {len(values) for values in columns.values()} | {len(values) for _, values in kept.values()}
    if len(counts | ({len(matrix)} if matrix is not None else set())) > 1:
        raise invalid(("inputs",), "all tensors must have the same number of rows")
    if len(columns) + (matrix is not None) + handed < len(inputs) or len({*columns, *kept}) < len(columns) + handed:
        raise invalid(("inputs",), "tensors must have different names")
    if not len(rows):
        raise invalid(("inputs",), "must have a tensor of features")
    return rows, kept


def output_tensors(served: ServedModel, scores: FloatArray) -> dict[str, tuple[str, list[int], Any]]:
    """Return every output by name: datatype, shape and values."""
    model, count = served.model, len(scores)
    if not model.classes:
        return {"prediction": ("FP64", [count], model.values(scores))}
    probabilities = model.probabilities(scores)
    labels = [model.classes[c] for c in probabilities.argmax(axis=1).tolist()]
    datatype = label_datatype(served)
    if datatype == "BYTES":
        labels = list(map(str, labels))
    return {
        "label": (datatype, [count], labels),
        "probabilities": ("FP64", list(probabilities.shape), probabilities),
    }


def label_datatype(served: ServedModel) -> str:
    """Return the datatype that holds a classifier's classes."""
    kinds = set(map(type, served.model.classes))
    for kind, datatype in ((bool, "BOOL"), (int, "INT64"), (float, "FP64")):
        if kinds == {kind}:
            return datatype
    return "BYTES"


def _head(tensor: Any, loc: Location) -> tuple[str, str, list[int]]:
    if not isinstance(tensor, dict):
        raise invalid(loc, "a tensor must be an object with name, shape, datatype and data")
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not isinstance(name, str):
        raise invalid((*loc, "name"), "must be given, as text")
    if datatype not in DATATYPES:
        raise invalid((*loc, "datatype"), f"must be one of {', '.join(DATATYPES)}")
    # Counted before it is multiplied: the product of a thousand numbers is a number of ten thousand digits.
    if not isinstance(shape, list) or not 0 < len(shape) <= MAX_DIMENSIONS:
        raise invalid((*loc, "shape"), f"must be a list of 1 to {MAX_DIMENSIONS} numbers, the rows first")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 2**31 for n in shape):
        raise invalid((*loc, "shape"), "must be a list of positive whole numbers, the rows first")
    check_cells(math.prod(shape))
    return name, datatype, shape


def _binary_size(tensor: dict[str, Any], loc: Location) -> int | None:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise invalid((*loc, "parameters", "binary_data_size"), "must be a number of bytes")
    return size


def _flat(data: Any, count: int, loc: Location) -> list[Any]:
    """Flatten data given flat, or nested as its shape is."""
    if not isinstance(data, list):
        raise invalid(loc, "must be given: a list of values")
    values = list(_leaves(data)) if any(isinstance(item, list) for item in data) else data
    if len(values) != count:
        raise invalid(loc, f"must have the {count} values of its shape; got {len(values)}")
    return values


def _leaves(data: list[Any]) -> Iterator[Any]:
    # By hand, not by recursion: the parser lets more levels through than Python's stack may have.
    stack = [iter(data)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            yield item
        else:
            stack.pop()


def _from_binary(part: bytes, size: int, datatype: str, count: int, loc: Location) -> Any:
    if len(part) < size:
        raise invalid(loc, f"announces {size} bytes of binary data; {len(part)} are left in the body")
    if datatype == "BYTES":
        return _texts(part, count, loc)
    layout = np.dtype(LAYOUTS[datatype])
    if size != count * layout.itemsize:
        raise invalid(loc, f"must have {count * layout.itemsize} bytes for its shape; announces {size}")
    values = np.frombuffer(part, layout)
    return values.tolist() if datatype == "BOOL" else values


def _floats(values: Any) -> FloatArray:
    return np.asarray(values, np.float64)


def _texts(part: bytes, count: int, loc: Location) -> list[str]:
    texts, place = [], 0
    try:
        for _ in range(count):
            (length,) = struct.unpack_from("<I", part, place)
            if length > MAX_TEXT_BYTES:
                raise ValueError(f"a text must have at most {MAX_TEXT_BYTES} bytes; got one of {length}")
            place += 4 + length
            if place > len(part):
                raise ValueError("a text is longer than the data")
            texts.append(part[place - length : place].decode())
    except (struct.error, ValueError) as error:
        raise invalid(loc, f"must be {count} texts, each with its length before it; {error}") from None
    if place != len(part):
        raise invalid(loc, f"must be {count} texts; {len(part) - place} bytes are left over")
    return texts


def _matrix(values: Any, shape: list[int], num_features: int, loc: Location) -> Any:
    if shape[1] != num_features:
        raise invalid((*loc, "shape"), f"must be [N, {num_features}]: the features in column order; got {shape}")
    if isinstance(values, np.ndarray):
        return _floats(values).reshape(shape)
    return [values[i : i + num_features] for i in range(0, len(values), num_features)]
