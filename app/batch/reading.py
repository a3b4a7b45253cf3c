"""Read tables of any length as parts of a fixed number of rows."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.places import SUFFIXES, TEXTS, Place
from eigenserve.model.rows.csv_arrow import text_batches
from eigenserve.model.rows.csv_layout import HEAD_BYTES, CsvError, CsvLayout, encoding_of, infer_layout

#: Bytes of text, or of a Parquet column, that are read at a time: what is in memory does not depend on how long
#: a file or its row groups are.
BLOCK_BYTES = 2**22
COLUMN_BLOCK_BYTES = 2**18


@dataclass(frozen=True)
class Part:
    """Hold consecutive rows of a table.

    Attributes:
        number: its place, from zero; every part but the last has the same number of rows.
        first_row: of the table, from zero.
        rows: the columns that were asked for.
        done: the share of the file that ends with its last row, 0 to 1, about.
    """

    number: int
    first_row: int
    rows: pa.Table
    done: float = 0.0


@dataclass
class TableFile:
    """Read a table in a file from its beginning to its end in bounded memory.

    Attributes:
        place: the file.
        names: the columns to read.
        separator, encoding: of CSV, where they are given.
        done: the share of the file that an engine has scored so far, 0 to 1.
    """

    place: Place
    names: Sequence[str]
    separator: str | None = None
    encoding: str | None = None
    done: float = field(default=0.0, init=False)
    _read: float = field(default=0.0, init=False)
    _packed: IO[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.place.suffix not in SUFFIXES:
            raise ScoreError(f"{self.place.text} must end in one of {', '.join(SUFFIXES)}")

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
            raise ScoreError(f"{self.place.text} cannot be read: {error}") from error

    def parts(self, rows: int, first: int = 0) -> Iterator[Part]:
        """Yield the table in parts of ``rows`` rows, from part ``first`` on. A table without rows is one empty part.

        Raises:
            ScoreError: a file that cannot be read, or lacks a column.
        """
        number, waiting, schema = first, Waiting(), None
        try:
            for batch in self._batches(first * rows, rows):
                schema = batch.schema
                waiting.add(batch)
                seen = number * rows + waiting.count
                while waiting.count >= rows:
                    share = self._read * (number + 1) * rows / seen
                    yield Part(number, number * rows, waiting.take(rows), share)
                    number += 1
            if waiting.count:
                yield Part(number, number * rows, waiting.take(waiting.count), 1.0)
            elif number == 0:
                columns = {name: pa.array([], pa.string()) for name in self.names}
                yield Part(0, 0, pa.table(columns) if schema is None else schema.empty_table())
        except CsvError as error:
            raise ScoreError(f"{self.place.text}: {error}") from error
        except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error) as error:
            raise ScoreError(f"{self.place.text} cannot be read: {error}") from error

    def _batches(self, start: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Record batches from row ``start`` on."""
        with self.place.open() as file:
            if self.is_text:
                yield from _skip(self._text(), start)
            elif self.place.suffix in (".parquet", ".pq"):
                yield from self._parquet(file, start, rows)
            else:
                yield from _skip(self._arrow(file), start)

    def _parquet(self, file: IO[bytes], start: int, rows: int) -> Iterator[pa.RecordBatch]:
        # A local path is read without Python in between.
        source: Any = file if self.place.is_url else str(self.place.path)
        # Not pre-buffered: a row group may be as large as the file.
        with pa.parquet.ParquetFile(source, pre_buffer=False, buffer_size=COLUMN_BLOCK_BYTES) as table:
            self._check(table.schema_arrow.names)
            counts = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
            ends = list(itertools.accumulate(counts))
            skipped = sum(end <= start for end in ends)
            at = ends[skipped - 1] if skipped else 0
            groups = range(skipped, len(ends))
            if not groups:
                if not start:
                    yield from table.schema_arrow.empty_table().select(self.names).to_batches()
                return
            batches = table.iter_batches(min(rows, 2**16), row_groups=list(groups), columns=list(self.names))
            for batch in batches:
                at += len(batch)
                self._read = at / ends[-1]
                if at > start:
                    yield batch.slice(max(0, len(batch) - (at - start))).select(self.names)

    def _arrow(self, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
        is_file = file.read(6) == b"ARROW1"
        size = max(1, file.seek(0, io.SEEK_END))
        file.seek(0)
        source: Any = file if self.place.is_url else pa.OSFile(str(self.place.path))
        if is_file:
            with pa.ipc.open_file(source) as table:
                self._check(table.schema.names)
                for i in range(table.num_record_batches):
                    self._read = (i + 1) / table.num_record_batches
                    yield table.get_batch(i).select(self.names)
        else:
            with pa.ipc.open_stream(source) as stream:
                self._check(stream.schema.names)
                for batch in stream:
                    self._read = source.tell() / size
                    yield batch.select(self.names)

    def _text(self) -> Iterator[pa.RecordBatch]:
        """Yield every cell as a text."""
        layout = self._layout()
        self._check([name for name in layout.names if name])
        positions = [layout.names.index(name) for name in self.names]
        with self.place.open() as file:
            size = max(1, file.seek(0, io.SEEK_END))
        for batch in text_batches(self._open, layout, positions, block_bytes=BLOCK_BYTES):
            self._read = 1.0 if self._packed is None or self._packed.closed else self._packed.tell() / size
            yield pa.RecordBatch.from_arrays(
                [batch.column(batch.schema.get_field_index(str(i))) for i in positions], list(self.names)
            )

    def _open(self) -> IO[bytes]:
        """Open the file of texts, decompressed."""
        self._packed = file = self.place.open()
        if not self.place.compression:
            return file
        unpacked = gzip.GzipFile(fileobj=file)
        unpacked.myfileobj = file  # type: ignore[assignment]  # closed with it
        return unpacked  # type: ignore[return-value]

    def _layout(self) -> CsvLayout:
        encoding = self.encoding
        with self._open() as file:
            if encoding is None and not self.place.is_url:
                encoding = encoding_of(file)
                file.seek(0)
            head = file.read(HEAD_BYTES)
            complete = not file.read(1)
        return infer_layout(head, complete=complete, wanted=self.names, separator=self.separator, encoding=encoding)

    def _check(self, present: Sequence[str]) -> None:
        for name in self.names:
            if present.count(name) != 1:
                fault = "has no column" if name not in present else "has more than one column"
                raise ScoreError(f"{self.place.text} {fault} {name!r}, which the model or --keep needs")


@dataclass
class Waiting:
    """Hold rows that were read and not yet handed on."""

    count: int = 0
    _batches: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take more rows in."""
        self._batches.append(batch)
        self.count += len(batch)

    def take(self, rows: int) -> pa.Table:
        """Take the first rows out."""
        taken: list[pa.RecordBatch] = []
        missing = rows
        while missing:
            batch = self._batches.pop(0)
            if len(batch) > missing:
                self._batches.insert(0, batch.slice(missing))
                batch = batch.slice(0, missing)
            taken.append(batch)
            missing -= len(batch)
        self.count -= rows
        return pa.Table.from_batches(taken)


def _skip(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if rows < len(batch):
            yield batch.slice(rows) if rows else batch
            rows = 0
        else:
            rows -= len(batch)
