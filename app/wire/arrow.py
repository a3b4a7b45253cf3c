"""Arrow streams: columns of the model read batch by batch, each within limits that are checked before it is made.

Columns of nulls, runs, dictionaries and views take hardly a byte of a body, and compressed buffers take few: what a
batch will be is read from its header first.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Any

import numpy as np

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.limits import check_count
from eigenserve.model.rows.layout.titles import as_called

#: Decompressed bytes of all batches, and characters of all texts.
MAX_ARROW_BYTES = 96 * 2**20
#: Columns, nested ones counted: each costs, however empty it is.
MAX_FIELDS = 20_000
#: Values of one column.
MAX_VALUES = 2**22
#: Batches: programs that write rows as they come make some thousands.
MAX_MESSAGES = 20_000
#: Kinds of header in an Arrow message (format/Message.fbs).
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2


def read_arrow(body: bytes, names: Collection[str], max_rows: int, kept: Collection[str] = ()) -> dict[str, Any]:
    """Read the columns ``names`` of an Arrow stream, those that it has; those of ``kept`` to the last digit.

    Returns:
        name -> values of all rows; at least one column of the stream, so that its rows are counted.

    Raises:
        ProblemError: 413 too many rows, or too large; 415 pyarrow is missing; 422 not such a stream.
    """
    pyarrow = load_pyarrow()
    try:
        _check_messages(body, pyarrow, max_rows)
        with pyarrow.ipc.open_stream(body) as reader:
            called = as_called(reader.schema.names, names)
            places = [i for i, name in enumerate(called) if name in names] or [0]
            if len(set(reader.schema.names)) != len(reader.schema.names):
                raise invalid(("body",), "the columns' names must differ")
        options = pyarrow.ipc.IpcReadOptions(included_fields=places, use_threads=False)
        with pyarrow.ipc.open_stream(body, options=options) as reader:
            table = reader.read_all().rename_columns([called[i] for i in places])
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, ValueError, struct.error, IndexError) as error:
        raise invalid(("body",), f"must be an Arrow stream; {error}") from None
    columns: dict[str, Any] = {}
    total = 0
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in names:
            columns[name] = range(len(column))
            continue
        total += _text_size(column, name, pyarrow)
        if total > MAX_ARROW_BYTES:
            raise ProblemError(413, f"the texts of an Arrow stream must have at most {MAX_ARROW_BYTES} bytes")
        try:
            columns[name] = _values(column, pyarrow, exact=name in kept)
        except (OverflowError, pyarrow.ArrowInvalid) as error:
            raise invalid(("body", name), f"must have dates and times of the years 1 to 9999; {error}") from None
    return columns


def load_pyarrow() -> Any:
    """Import pyarrow when the first Arrow body comes: it costs 50 MB that other servers need not pay.

    Raises:
        ProblemError: 415 it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
    except ImportError:
        raise ProblemError(
            415, "Arrow needs pyarrow, which is not installed here: pip install 'eigenserve[arrow]'"
        ) from None
    return pyarrow


def _check_messages(body: bytes, pyarrow: Any, max_rows: int) -> None:
    """Count rows, fields and decompressed bytes from the messages' headers, before a column is made."""
    rows = size = messages = 0
    reader = pyarrow.ipc.MessageReader.open_stream(body)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        messages += 1
        if messages > MAX_MESSAGES:
            raise ProblemError(413, f"an Arrow stream must have at most {MAX_MESSAGES} batches")
        header = _Table.root(message.metadata.to_pybytes())
        kind, batch = header.number(1, "B", 0), header.table(2)
        fields = batch.count(1) if batch is not None else 0
        if fields > MAX_FIELDS:
            raise ProblemError(413, f"an Arrow stream must have at most {MAX_FIELDS} columns")
        if kind not in (_RECORD_BATCH, _DICTIONARY_BATCH):
            continue
        if kind == _DICTIONARY_BATCH:
            batch = batch.table(1)
        length = batch.number(0, "q", 0)
        if kind == _RECORD_BATCH:
            rows += length
            check_count(rows, max_rows)
        if batch.count(1) > MAX_FIELDS or batch.count(2) > 3 * MAX_FIELDS:
            raise ProblemError(413, f"an Arrow stream must have at most {MAX_FIELDS} columns")
        nodes, buffers = batch.structs(1, "qq"), batch.structs(2, "qq")
        # Of runs, views and lists a value may stand for many.
        if max((count for count, _ in nodes), default=0) > max(length, MAX_VALUES):
            raise ProblemError(413, f"a column of an Arrow stream must have at most {MAX_VALUES} values")
        compressed = batch.table(3) is not None
        for offset, stored in buffers:
            if compressed and stored >= 8:
                stored = max(stored, struct.unpack("<q", message.body.slice(offset, 8).to_pybytes())[0])
            size += stored
        if size > MAX_ARROW_BYTES:
            raise ProblemError(413, f"an Arrow stream must have at most {MAX_ARROW_BYTES} bytes when decompressed")


def _text_size(column: Any, name: str, pyarrow: Any) -> int:
    """Bytes of a column's texts once each row has its own; refuses what cannot be a cell."""
    kind, types = column.type, pyarrow.types
    if types.is_run_end_encoded(kind) or types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind) or types.is_dictionary(kind):
        raise invalid(
            ("body", name), f"must be a column of numbers, texts, booleans or times; got {describe(str(kind))}"
        )
    is_view = types.is_string_view(kind) or types.is_binary_view(kind)
    if column.type != kind or is_view:
        # Few bytes may stand for a long text in every row.
        is_text = is_view or types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
        if not (is_text or types.is_large_binary(kind)):
            return 0
        longest = 0
        for chunk in column.chunks:
            values = chunk.dictionary if types.is_dictionary(chunk.type) else getattr(chunk, "values", chunk)
            values = values.cast(pyarrow.large_binary()) if not is_view or values.nbytes < MAX_ARROW_BYTES else values
            longest = max(longest, int(pyarrow.compute.max(pyarrow.compute.binary_length(values)).as_py() or 0))
        return longest * len(column)
    return 0


def _values(column: Any, pyarrow: Any, exact: bool = False) -> Any:
    """A column's cells, ready to be encoded; ``exact`` integers stay integers where there are nulls."""
    kind, types = column.type, pyarrow.types
    if types.is_run_end_encoded(kind):
        column = pyarrow.chunked_array([pyarrow.compute.run_end_decode(chunk) for chunk in column.chunks])
        kind = column.type
    if types.is_integer(kind) and column.null_count == 0:
        return column.to_numpy()  # codes may have more digits than a float holds
    if types.is_integer(kind) and (exact or _is_long(column, pyarrow)):
        return column.to_pylist()
    # Of nanoseconds some are cut off; of seconds there may be more than microseconds have room for, which is refused.
    safe = getattr(kind, "unit", "ns") != "ns"
    if types.is_duration(kind):
        column = column.cast(pyarrow.duration("us"), safe=safe)
    if types.is_time64(kind):
        column = column.cast(pyarrow.time64("us"), safe=False)
    if types.is_integer(kind) or types.is_floating(kind):
        return column.to_numpy().astype(np.float64, copy=False)
    if types.is_timestamp(kind):
        # Python's own times have no nanoseconds, and may not know the zone. The moments stand there in UTC.
        micros = column.cast(pyarrow.timestamp("us", kind.tz), safe=safe).cast(pyarrow.int64())
        column = micros.cast(pyarrow.timestamp("us"))
    return column.to_pylist()


class _Table:
    """A table of a FlatBuffers message: just what the headers of batches need (flatbuffers.dev, "Internals")."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self.fields = place - struct.unpack_from("<i", data, place)[0]

    @classmethod
    def root(cls, data: bytes) -> _Table:
        """The outermost table."""
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _field(self, index: int) -> int | None:
        (size,) = struct.unpack_from("<H", self.data, self.fields)
        slot = 4 + 2 * index
        offset = struct.unpack_from("<H", self.data, self.fields + slot)[0] if slot < size else 0
        return self.place + offset if offset else None

    def number(self, index: int, code: str, default: int) -> int:
        """A scalar field."""
        place = self._field(index)
        return default if place is None else int(struct.unpack_from("<" + code, self.data, place)[0])

    def table(self, index: int) -> Any:
        """A field that is a table; None where it is missing."""
        place = self._field(index)
        return None if place is None else _Table(self.data, place + struct.unpack_from("<I", self.data, place)[0])

    def count(self, index: int) -> int:
        """How long a vector is."""
        place = self._field(index)
        if place is None:
            return 0
        return int(struct.unpack_from("<I", self.data, place + struct.unpack_from("<I", self.data, place)[0])[0])

    def structs(self, index: int, code: str) -> list[tuple[int, ...]]:
        """A vector of structures of equal numbers."""
        place, count = self._field(index), self.count(index)
        if place is None:
            return []
        place += struct.unpack_from("<I", self.data, place)[0]
        size = struct.calcsize("<" + code)
        if place + 4 + count * size > len(self.data):
            raise ValueError("a header is cut off")
        return [struct.unpack_from("<" + code, self.data, place + 4 + i * size) for i in range(count)]


def _is_long(column: Any, pyarrow: Any) -> bool:
    """Return whether integers have more digits than a float holds."""
    ends = pyarrow.compute.min_max(column).as_py()
    return ends["max"] is not None and max(-ends["min"], ends["max"]) > 2**53
