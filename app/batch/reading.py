"""Read a table in a file of any length as Arrow batches."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.places import COMPRESSIONS, SUFFIXES, TEXTS, WORKBOOKS, Place
from eigenserve.model.rows.csv_arrow import text_batches
from eigenserve.model.rows.layout.csv_layout import CsvLayout, infer_layout
from eigenserve.model.rows.layout.titles import as_called, header_remedy
from eigenserve.model.rows.sources import Source
from eigenserve.model.rows.text_encoding import HEAD_BYTES, encoding_of
from eigenserve.model.rows.workbook import read_sheet

#: Bytes of text, or of a Parquet column, that are read at a time: what is in memory does not depend on how long
#: a file or its row groups are.
BLOCK_BYTES = 2**22
COLUMN_BLOCK_BYTES = 2**18
#: A column of a workbook: each cell has one of the types that openpyxl gives.
CELLS = pa.dense_union(
    [
        *(pa.field("text", pa.string()), pa.field("boolean", pa.bool_())),
        *(pa.field("whole", pa.int64()), pa.field("number", pa.float64())),
        *(pa.field("moment", pa.timestamp("us")), pa.field("date", pa.date32())),
        *(pa.field("time", pa.time64("us")), pa.field("duration", pa.duration("us"))),
    ]
)


@dataclass
class TableFile:
    """Read a table in a file from its beginning to its end in bounded memory.

    Attributes:
        place: the file.
        names: the columns to read.
        separator, encoding: of CSV, where they are given.
        read: the share of the file that has been read so far, 0 to 1.
    """

    place: Place
    names: Sequence[str]
    separator: str | None = None
    encoding: str | None = None
    read: float = field(default=0.0, init=False)
    _packed: IO[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.place.suffix not in SUFFIXES:
            raise ScoreError(f"{self.place.shown} must end in one of {', '.join(SUFFIXES)}")

    @property
    def is_text(self) -> bool:
        """Return whether numbers are written as text."""
        return self.place.suffix in TEXTS

    def count_rows(self) -> int | None:
        """Count its rows, if that needs no reading: then it can be read from several places at once."""
        if self.place.suffix not in (".parquet", ".pq"):
            return None
        try:
            with self.place.open() as file, pa.parquet.ParquetFile(file) as table:
                return int(table.metadata.num_rows)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ScoreError(f"{self.place.shown} cannot be read: {error}") from error

    def schema(self) -> pa.Schema:
        """Return the types of the columns to read."""
        with self.place.open() as file:
            if self.is_text or self.place.suffix in WORKBOOKS:
                return pa.schema([(name, pa.string() if self.is_text else CELLS) for name in self.names])
            if self.place.suffix in (".parquet", ".pq"):
                schema = pa.parquet.read_schema(file)
            else:
                is_file = file.read(6) == b"ARROW1"
                file.seek(0)
                schema = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file).schema
        schema = self._named(schema)
        return pa.schema([schema.field(name) for name in self.names])

    def batches(self, start: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from row ``start`` on, of a Parquet file at most ``rows`` at a time.

        Raises:
            ScoreError: a column that the file lacks.
            CsvError, pa.ArrowException, OSError, EOFError, ValueError, zlib.error: a file that cannot be read.
        """
        with self.place.open() as file:
            if self.is_text:
                yield from _skip(self._text(), start)
            elif self.place.suffix in (".parquet", ".pq"):
                yield from self._parquet(file, start, rows)
            elif self.place.suffix in WORKBOOKS:
                yield from _skip(self._workbook(), start)
            else:
                yield from _skip(self._arrow(file), start)

    def _parquet(self, file: IO[bytes], start: int, rows: int) -> Iterator[pa.RecordBatch]:
        # A local path is read without Python in between.
        source: Any = file if self.place.is_url else str(self.place.path)
        # Not pre-buffered: a row group may be as large as the file.
        with pa.parquet.ParquetFile(source, pre_buffer=False, buffer_size=COLUMN_BLOCK_BYTES) as table:
            schema = self._named(table.schema_arrow)
            own = [table.schema_arrow.names[schema.names.index(name)] for name in self.names]
            counts = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
            ends = list(itertools.accumulate(counts))
            skipped = sum(end <= start for end in ends)
            at = ends[skipped - 1] if skipped else 0
            groups = range(skipped, len(ends))
            if not groups:
                if not start:
                    yield from schema.empty_table().select(self.names).to_batches()
                return
            batches = table.iter_batches(min(rows, 2**16), row_groups=list(groups), columns=own)
            for batch in batches:
                at += len(batch)
                self.read = at / ends[-1]
                if at > start:
                    rest = batch.slice(max(0, len(batch) - (at - start))).select(own)
                    yield rest.rename_columns(list(self.names))

    def _arrow(self, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
        is_file = file.read(6) == b"ARROW1"
        size = max(1, file.seek(0, io.SEEK_END))
        file.seek(0)
        source: Any = file if self.place.is_url else pa.OSFile(str(self.place.path))
        if is_file:
            with pa.ipc.open_file(source) as table:
                names = self._named(table.schema).names
                for i in range(table.num_record_batches):
                    self.read = (i + 1) / table.num_record_batches
                    yield table.get_batch(i).rename_columns(names).select(self.names)
        else:
            with pa.ipc.open_stream(source) as stream:
                names = self._named(stream.schema).names
                for batch in stream:
                    self.read = source.tell() / size
                    yield batch.rename_columns(names).select(self.names)

    def _workbook(self) -> Iterator[pa.RecordBatch]:
        """Yield the sheet to read, every cell of the type that it has there."""
        lines, _ = read_sheet(Source(self.place.shown, self.place.path, "excel"), self.names)
        present = self._called(["" if cell is None else str(cell).strip() for cell in lines[0]])
        positions = [present.index(name) for name in self.names]
        columns = [_cells([line[i] for line in lines[1:]]) for i in positions]
        self.read = 1.0
        yield pa.RecordBatch.from_arrays(columns, list(self.names))

    def _text(self) -> Iterator[pa.RecordBatch]:
        """Yield every cell as a text."""
        layout = self._layout()
        present = self._called(layout.names)
        positions = [present.index(name) for name in self.names]
        with self.place.open() as file:
            size = max(1, file.seek(0, io.SEEK_END))
        for batch in text_batches(self._open, layout, positions, block_bytes=BLOCK_BYTES):
            self.read = 1.0 if self._packed is None or self._packed.closed else self._packed.tell() / size
            yield pa.RecordBatch.from_arrays(
                [batch.column(batch.schema.get_field_index(str(i))) for i in positions], list(self.names)
            )

    def _open(self) -> IO[bytes]:
        """Open the file of texts, decompressed."""
        self._packed = file = self.place.open()
        if not self.place.compression:
            return file
        unpacked = COMPRESSIONS[self.place.compression](file)
        close = unpacked.close

        def close_both() -> None:
            close()
            file.close()

        unpacked.close = close_both
        return unpacked

    def _layout(self) -> CsvLayout:
        encoding = self.encoding
        with self._open() as file:
            if encoding is None and not self.place.is_url:
                encoding = encoding_of(file)
                file.seek(0)
            head = file.read(HEAD_BYTES)
            complete = not file.read(1)
        wanted = [name.strip() for name in self.names]
        return infer_layout(head, complete=complete, wanted=wanted, separator=self.separator, encoding=encoding)

    def _named(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema of a file with its columns called as the model calls them; raises as ``_called``."""
        names = self._called(schema.names)
        return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])

    def _called(self, names: Sequence[str]) -> list[str]:
        """Return the names of a file's columns, those of the model as the model calls them.

        Raises:
            ScoreError: a column that the file lacks, or has more than once.
        """
        present = as_called(names, self.names)
        for name in self.names:
            if present.count(name) != 1:
                fault = "has no column" if name not in present else "has more than one column"
                remedy = header_remedy([name for name in names if name])
                needed = "which the model or --keep needs" + (f"; {remedy}" if remedy else "")
                raise ScoreError(f"{self.place.shown} {fault} {name!r}, {needed}")
        return present


def _skip(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if rows < len(batch):
            yield batch.slice(rows) if rows else batch
            rows = 0
        else:
            rows -= len(batch)


def _cells(values: Sequence[Any]) -> pa.UnionArray:
    """Return a column of a workbook, whose cells may be of several types, as one of ``CELLS``."""
    # Of more digits than 64 bits hold, as Excel does not keep them.
    values = [float(value) if isinstance(value, int) and abs(value) >= 2**63 else value for value in values]
    kinds = np.fromiter(map(_kind, values), np.int8, len(values))
    places = np.zeros(len(values), np.int32)
    parts = []
    for number, kind in enumerate(CELLS):
        chosen = np.flatnonzero(kinds == number)
        places[chosen] = np.arange(len(chosen))
        parts.append(pa.array([values[i] for i in chosen], kind.type))
    return pa.UnionArray.from_dense(pa.array(kinds), pa.array(places), parts, [kind.name for kind in CELLS])


def _kind(value: Any) -> int:
    """Return which type of ``CELLS`` a cell has; an empty one is an empty text."""
    if value is None or isinstance(value, str):
        return 0
    kinds = (bool, int, float, datetime, date, time, timedelta)
    return 1 + next(number for number, kind in enumerate(kinds) if isinstance(value, kind))
