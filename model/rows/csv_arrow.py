"""Read CSV as Arrow batches of texts: the rows of ``csv_layout``, by pyarrow's parser where it reads the same."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from eigenserve.model.rows.errors import CsvError
from eigenserve.model.rows.layout.blanks import BLANKS
from eigenserve.model.rows.layout.csv_layout import CsvLayout, rows_of

#: Rows that the standard library's parser, where it is needed, hands on at a time.
ROWS = 8192


def text_batches(
    open_file: Callable[[], IO[bytes]],
    layout: CsvLayout,
    positions: Sequence[int],
    *,
    block_bytes: int,
) -> Iterator[pa.RecordBatch]:
    """Yield batches of text columns named by their positions in ``layout.names``.

    Args:
        open_file: opens the file, decompressed, from its beginning; again where a fault must be placed.
        layout: of the file.
        positions: the columns that are wanted.
        block_bytes: bytes of text that are read at a time.

    Raises:
        CsvError: rows of another width, or a quoted cell that does not end.
    """
    if layout.blank_before_quote or layout.separator == BLANKS or not positions:
        yield from _slow_batches(open_file, layout, positions)
        return
    ragged: list[int] = []

    def on_invalid(row: Any) -> str:
        # A line of blanks is no row, to either parser.
        if row.text.strip(" \t\r\n"):
            ragged.append(row.actual_columns)
        return "skip"

    with open_file() as file:
        _skip_bytes(file, layout.start)
        counted = _Counted(file)
        names = [str(i) for i in range(len(layout.names))]
        try:
            reader = pa.csv.open_csv(
                pa.PythonFile(counted, "r"),
                pa.csv.ReadOptions(
                    use_threads=False, block_size=block_bytes, column_names=names, encoding=layout.encoding
                ),
                pa.csv.ParseOptions(
                    delimiter=layout.separator, newlines_in_values=True, invalid_row_handler=on_invalid
                ),
                pa.csv.ConvertOptions(
                    include_columns=[names[i] for i in positions],
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                if ragged:
                    break
                yield batch
            if (counted.quotes % 2 or counted.escaped) and not ragged:
                # A quoted cell without an end takes in all rows behind it, and a quote behind a backslash may end one;
                # the other parser names the line.
                for _ in _slow_batches(open_file, layout, positions):
                    pass
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            # The other parser places the fault; where it finds none, this one's words must do.
            for _ in _slow_batches(open_file, layout, positions):
                pass
            raise CsvError(" ".join(str(error).split())) from error
    if ragged:
        for _ in _slow_batches(open_file, layout, positions):
            pass
        raise CsvError("rows must have as many cells as the header")


def _slow_batches(
    open_file: Callable[[], IO[bytes]], layout: CsvLayout, positions: Sequence[int]
) -> Iterator[pa.RecordBatch]:
    """Yield what ``text_batches`` does, by the standard library."""
    with open_file() as file:
        _skip_bytes(file, layout.start)
        with io.TextIOWrapper(file, layout.encoding, newline="") as text:
            rows = rows_of(text, layout)
            try:
                while part := list(itertools.islice(rows, ROWS)):
                    columns = [pa.array([row[i] for row in part], pa.string()) for i in positions]
                    yield pa.RecordBatch.from_arrays(columns, [str(i) for i in positions])
            except UnicodeDecodeError as error:
                message = f"must be {layout.encoding.upper()} throughout; {error.reason}: give --encoding"
                raise CsvError(message) from error


def _skip_bytes(file: IO[bytes], count: int) -> None:
    while count and (piece := file.read(min(count, 2**20))):
        count -= len(piece)


class _Counted(io.RawIOBase):
    """Count the quotes that are read of a file, and those of them behind a backslash."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.quotes = self.escaped = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self.quotes += content.count(b'"')
        self.escaped += content.count(b'\\"')
        return content
