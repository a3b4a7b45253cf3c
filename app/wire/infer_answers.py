"""Write the answers of the Open Inference Protocol some values at a time, as JSON with binary tensors behind it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from eigenserve.app.problems import invalid
from eigenserve.app.wire.answers import PIECE_ROWS, listed, to_json, warning_pieces
from eigenserve.app.wire.kept import kept_slices
from eigenserve.model.rows.warnings import RowWarnings

#: Datatypes of the protocol -> how their binary form lies in memory. BYTES has a length before every element.
LAYOUTS = {
    "BOOL": "<?",
    **{f"{sign}INT{bits}": f"<{code}{bits // 8}" for sign, code in (("", "i"), ("U", "u")) for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
#: Numbers written together. Measured on a slow core: JSON of as many takes 3 ms, with the interpreter's lock held.
PIECE_VALUES = 2**14


class Output(NamedTuple):
    """Hold a tensor that is answered.

    Attributes:
        name, datatype, shape: the protocol's.
        values: an array, or a list of a value a row.
        is_binary: whether it is answered in the binary form.
    """

    name: str
    datatype: str
    shape: list[int]
    values: Any
    is_binary: bool


class InferAnswer(NamedTuple):
    """Hold what a request for inference is answered.

    Attributes:
        model_name, model_version: what predicted.
        request_id: the client's own; None for none.
        outputs: in order.
        warnings: of the rows.
    """

    model_name: str
    model_version: str
    request_id: str | None
    outputs: Sequence[Output]
    warnings: RowWarnings


class Encoding(NamedTuple):
    """Say how answers are written.

    Attributes:
        head: writes all but binary values, given how many bytes the values of each binary output have.
        before: writes what stands before so many bytes of values.
    """

    head: Callable[[InferAnswer, Sequence[int]], Iterator[bytes]]
    before: Callable[[int], bytes]


def binary_pieces(output: Output) -> Iterator[bytes]:
    """Write values in the protocol's binary form, row by row.

    Raises:
        ProblemError: 422 what is handed through is not of its datatype.
    """
    if output.datatype != "BYTES":
        try:
            yield np.ascontiguousarray(output.values, dtype=LAYOUTS[output.datatype]).tobytes()
        except (TypeError, ValueError, OverflowError):
            raise invalid(("inputs",), f"{output.name!r} must have values of {output.datatype}") from None
        return
    for rows in _slices(output):
        texts = [b"" if value is None else str(value).encode() for value in output.values[rows]]
        yield b"".join([struct.pack("<I", len(text)) + text for text in texts])


def json_head(answer: InferAnswer, sizes: Sequence[int]) -> Iterator[bytes]:
    """Write the JSON of an answer; ``sizes`` are the bytes of each binary output."""
    yield to_json({"model_name": answer.model_name, "model_version": answer.model_version})[:-1] + b',"outputs":['
    left = iter(sizes)
    for i, output in enumerate(answer.outputs):
        described = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        before = b"," if i else b""
        if output.is_binary:
            yield before + to_json({**described, "parameters": {"binary_data_size": next(left)}})
        else:
            yield before + to_json(described)[:-1]
            yield from listed("data", _values(output), b",")
            yield b"}"
    yield b"]"
    if len(answer.warnings):
        yield b',"parameters":{"warnings":"'
        # A text that is JSON itself.
        for piece in warnings_text(answer.warnings):
            yield to_json(piece.decode())[1:-1]
        yield b'"}'
    if answer.request_id is not None:
        yield b',"id":' + to_json(answer.request_id)
    yield b"}"


def warnings_text(warnings: RowWarnings) -> Iterator[bytes]:
    """Write the JSON that is the value of the parameter ``warnings``: a list for every row."""
    for i, piece in enumerate(warning_pieces(warnings)):
        yield (b"," if i else b"[") + piece[1:-1]
    yield b"]"


#: The protocol's form over HTTP.
JSON_AND_BINARY = Encoding(json_head, lambda size: b"")


def _values(output: Output) -> Iterator[bytes]:
    """Write values as JSON lists of some of them."""
    if isinstance(output.values, np.ndarray):
        flat = output.values.reshape(-1)
        for start in range(0, len(flat), PIECE_VALUES):
            yield to_json(flat[start : start + PIECE_VALUES])
        return
    for rows in _slices(output):
        yield to_json(output.values[rows])


def _slices(output: Output) -> Iterator[slice]:
    return kept_slices({output.name: output.values}, len(output.values), PIECE_ROWS)
