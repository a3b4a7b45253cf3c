"""Read a table of any length, in one file or several, as parts of a fixed number of rows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.places import Place
from eigenserve.app.batch.reading import TableFile
from eigenserve.model.rows.errors import CsvError


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
class Table:
    """Read the rows of some files one after the other, in bounded memory.

    Attributes:
        places: the files.
        names: the columns to read.
        separator, encoding: of CSV, where they are given.
        done: the share of the table that an engine has scored so far, 0 to 1.
    """

    places: Sequence[Place]
    names: Sequence[str]
    separator: str | None = None
    encoding: str | None = None
    done: float = field(default=0.0, init=False)
    _files: list[TableFile] = field(init=False)
    _current: Place = field(init=False)
    _read: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._current = self.places[0]
        self._files = []
        for place in self.places:
            own = [name for name in self.names if name not in dict(place.partition)]
            self._files.append(TableFile(place, own, self.separator, self.encoding))

    def count_rows(self) -> int | None:
        """Count its rows, if that needs no reading: then it can be read from several places at once."""
        counts = [file.count_rows() for file in self._files]
        return None if None in counts else sum(filter(None, counts))

    def parts(self, rows: int, first: int = 0) -> Iterator[Part]:
        """Yield the table in parts of ``rows`` rows, from part ``first`` on. A table without rows is one empty part.

        Raises:
            ScoreError: a file that cannot be read, or lacks a column.
        """
        number, waiting, empty = first, Waiting(), None
        try:
            for batch in self._batches(first * rows, rows):
                empty = batch.slice(0, 0)
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
                yield Part(0, 0, pa.table(columns) if empty is None else pa.Table.from_batches([empty]))
        except CsvError as error:
            raise ScoreError(f"{self._current.shown}: {error}") from error
        except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error) as error:
            raise ScoreError(f"{self._current.shown} cannot be read: {error}") from error

    def _batches(self, start: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from row ``start`` on, with the same types whatever file they are of."""
        schema = self._schema() if len(self._files) > 1 else None
        for i, file in enumerate(self._files):
            self._current = file.place
            count = file.count_rows() if start else None
            if count is not None and start >= count > 0 and i + 1 < len(self._files):
                start -= count
                continue
            alone = count is not None or i + 1 == len(self._files)
            for batch in file.batches(start if alone else 0, rows):
                self._read = (i + file.read) / len(self._files)
                skipped = 0 if alone else min(start, len(batch))
                start = 0 if alone else start - skipped
                if skipped < len(batch) or not len(batch):
                    yield self._completed(batch.slice(skipped), file.place, schema)
            start = 0 if alone else start

    def _completed(self, batch: pa.RecordBatch, place: Place, schema: pa.Schema | None) -> pa.RecordBatch:
        """Add the columns that the place says, and give all the table's order and types."""
        if schema is None and not place.partition:
            return batch
        partition = dict(place.partition)
        columns = [
            pa.array([partition[name]] * len(batch), pa.string()) if name in partition else batch.column(name)
            for name in self.names
        ]
        whole = pa.RecordBatch.from_arrays(columns, list(self.names))
        return whole if schema is None else whole.cast(schema)

    def _schema(self) -> pa.Schema:
        """Return types that the columns of all files can have."""
        schemas = []
        for file in self._files:
            self._current = file.place
            own = file.schema()
            fields = [own.field(name) if name in own.names else pa.field(name, pa.string()) for name in self.names]
            schemas.append(pa.schema(fields).remove_metadata())
        return pa.unify_schemas(schemas, promote_options="permissive")


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
