"""Read the messages of ModelInfer, whose fields are counted first, as a request's tensors, and write its answers."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.rpc.interface import MESSAGES, message_class
from eigenserve.app.wire.infer_answers import Encoding, InferAnswer, warnings_text
from eigenserve.app.wire.limits import MAX_DIMENSIONS, check_cells, check_count

#: Datatype -> the field that holds its values, their type there, and how they lie in the binary form.
CONTENTS = {
    "BOOL": ("bool_contents", "?", "?"),
    "INT8": ("int_contents", "i4", "<i1"),
    "INT16": ("int_contents", "i4", "<i2"),
    "INT32": ("int_contents", "i4", "<i4"),
    "INT64": ("int64_contents", "i8", "<i8"),
    "UINT8": ("uint_contents", "u4", "<u1"),
    "UINT16": ("uint_contents", "u4", "<u2"),
    "UINT32": ("uint_contents", "u4", "<u4"),
    "UINT64": ("uint64_contents", "u8", "<u8"),
    "FP32": ("fp32_contents", "f4", "<f4"),
    "FP64": ("fp64_contents", "f8", "<f8"),
}
#: Fields of a message and of its tensors: 10,000 tensors have as many. Measured: they are counted in 30 ms.
MAX_FIELDS = 60_000
#: Bytes of a model's name; store folders have no longer ones.
MAX_NAME = 255
#: Values that become Python objects at a time, while the interpreter's lock is held.
SLICE_VALUES = 2**14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: The parameter of an answer that has any.
WARNINGS = b"warnings"


def _number(message: str, name: str) -> int:
    return 1 + [text.split()[1] for text in MESSAGES[message]].index(name)


_MODEL_NAME, _MODEL_VERSION = (_number("ModelInferRequest", name) for name in ("model_name", "model_version"))
#: Those that are messages themselves.
_NESTED = frozenset(_number("ModelInferRequest", name) for name in ("inputs", "outputs"))
_PARAMETERS, _RAW_OUTPUT = (_number("ModelInferResponse", name) for name in ("parameters", "raw_output_contents"))
_STRING_PARAM = _number("InferParameter", "string_param")


def read_model(content: bytes) -> tuple[str, str]:
    """Return the model and version that a message names; "" for none.

    Raises:
        ValueError: it is not a message, or has too many fields.
    """
    named = {_MODEL_NAME: b"", _MODEL_VERSION: b""}
    for count, (number, start, end) in enumerate(_fields(content, 0, len(content)), 1):
        if count > MAX_FIELDS:
            raise ValueError(f"a message must have at most {MAX_FIELDS} fields")
        if number in named:
            if end - start > MAX_NAME:
                raise ValueError(f"the name and version of a model must have at most {MAX_NAME} bytes")
            named[number] = content[start:end]
    return named[_MODEL_NAME].decode(), named[_MODEL_VERSION].decode()


def read_infer(content: bytes, max_rows: int) -> tuple[dict[str, Any], bytes]:
    """Return the document of a request, and the values of its tensors in the binary form.

    Raises:
        ProblemError: 422 it is not a message, or its tensors are not whole; 413 too many fields, rows or values.
    """
    try:
        _check_fields(content)
        call = message_class("ModelInferRequest").FromString(content)
        raw = list(call.raw_input_contents)
        if raw and len(raw) != len(call.inputs):
            raise ValueError(f"raw_input_contents must have one entry per input, {len(call.inputs)}; got {len(raw)}")
        if raw and any(tensor.HasField("contents") for tensor in call.inputs):
            raise ValueError("inputs must have their values in raw_input_contents or in contents; got both")
        inputs = []
        for i, tensor in enumerate(call.inputs):
            count = _count(tensor, max_rows)
            if len(raw) == i:
                raw.append(_raw(tensor, count))
            inputs.append(
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": list(tensor.shape),
                    "parameters": {"binary_data_size": len(raw[i])},
                }
            )
    except (ValueError, DecodeError) as error:
        raise invalid(("inputs",), str(error)) from None
    given = {
        name: getattr(value, kind)
        for name, value in call.parameters.items()
        if (kind := value.WhichOneof("parameter_choice")) is not None
    }
    document: dict[str, Any] = {"inputs": inputs, "parameters": {**given, "binary_data_output": True}}
    if call.outputs:
        document["outputs"] = [{"name": output.name} for output in call.outputs]
    if call.id:
        document["id"] = call.id
    return document, b"".join(raw)


def infer_head(answer: InferAnswer, sizes: Sequence[int]) -> Iterator[bytes]:
    """Write the message of an answer, but for the values of its tensors, which ``before_values`` stands before."""
    message = message_class("ModelInferResponse")(
        model_name=answer.model_name, model_version=answer.model_version, id=answer.request_id or ""
    )
    for output in answer.outputs:
        message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    yield message.SerializeToString()
    if len(answer.warnings):
        # By hand: the text may have megabytes, which a message would hold twice more.
        text = list(warnings_text(answer.warnings))
        value = _head(_STRING_PARAM, sum(map(len, text)))
        key = _head(1, len(WARNINGS)) + WARNINGS
        entry = key + _head(2, len(value) + sum(map(len, text))) + value
        yield _head(_PARAMETERS, len(entry) + sum(map(len, text))) + entry
        yield from text


def before_values(size: int) -> bytes:
    """Write what stands before the values of a tensor."""
    return _head(_RAW_OUTPUT, size)


#: The protocol's form over gRPC.
MESSAGE = Encoding(infer_head, before_values)


def _head(number: int, size: int) -> bytes:
    """Write what stands before a field of so many bytes."""
    head = bytearray([number << 3 | _BYTES])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size])


def _check_fields(content: bytes) -> None:
    """Count what would become objects: a tensor or a parameter may have two bytes and take a hundred times as many.

    Raises:
        ValueError: it is not a message.
        ProblemError: 413.
    """
    count = 0
    for number, start, end in _fields(content, 0, len(content)):
        count += 1
        if number in _NESTED:
            count += sum(1 for _ in islice(_fields(content, start, end), MAX_FIELDS))
        if count > MAX_FIELDS:
            raise ProblemError(413, f"a message must have at most {MAX_FIELDS} fields: send the rows as one tensor")


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the fields of a message as number and place (protobuf.dev, "Encoding").

    Raises:
        ValueError: it is not a message.
    """
    while start < end:
        key, start = _varint(content, start)
        number, kind = key >> 3, key & 7
        size = 0
        if kind == _VARINT:
            after = _varint(content, start)[1]
        elif kind == _BYTES:
            size, start = _varint(content, start)
            after = start + size
        elif kind in (_FIXED64, _FIXED32):
            after = start + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"must be a ModelInferRequest; got a field of kind {kind} at byte {start}")
        if after > end:
            raise ValueError("must be a whole ModelInferRequest; it ends too early")
        yield number, start, after
        start = after


def _varint(content: bytes, start: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if start >= len(content):
            raise ValueError("must be a whole ModelInferRequest; it ends too early")
        byte = content[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
    raise ValueError("must be a ModelInferRequest; got a number of more than ten bytes")


def _count(tensor: Any, max_rows: int) -> int:
    """Return how many values a tensor must have by its shape.

    Raises:
        ValueError: it has no shape that a tensor may have.
        ProblemError: 413 too many rows or values.
    """
    # Counted before it is multiplied: the product of a thousand numbers is a number of ten thousand digits.
    if not 0 < len(tensor.shape) <= MAX_DIMENSIONS or any(n < 1 for n in tensor.shape):
        raise ValueError(f"the shape of {tensor.name[:60]!r} must be 1 to {MAX_DIMENSIONS} positive numbers")
    check_count(tensor.shape[0], max_rows)
    count = math.prod(tensor.shape)
    check_cells(count)
    return count


def _raw(tensor: Any, count: int) -> bytes:
    """Return the values of a tensor in the binary form."""
    name = tensor.name[:60]
    if tensor.datatype == "BYTES":
        field, kind, layout = "bytes_contents", "", ""
    elif tensor.datatype in CONTENTS:
        field, kind, layout = CONTENTS[tensor.datatype]
    else:
        known = ", ".join((*CONTENTS, "BYTES"))
        raise ValueError(f"datatype of {name!r} must be one of {known} for contents; got {tensor.datatype[:60]!r}")
    given = getattr(tensor.contents, field)
    if len(given) != count:
        raise ValueError(f"{field} of {name!r} must have the {count} values of its shape; got {len(given)}")
    starts = range(0, count, SLICE_VALUES)
    if not kind:
        return b"".join(
            b"".join([struct.pack("<I", len(each)) + each for each in given[start : start + SLICE_VALUES]])
            for start in starts
        )
    values = np.concatenate([np.array(given[start : start + SLICE_VALUES], kind) for start in starts])
    raw = values.astype(layout)
    if values.dtype.kind in "iu" and not np.array_equal(raw, values):
        raise ValueError(f"{field} of {name!r} must be numbers of {tensor.datatype}")
    return raw.tobytes()
