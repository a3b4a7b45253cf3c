"""Draw a uniform sample of the rows of tables that are longer than what is trained on, in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from eigenserve.model.rows.sources import Source, check_content, sources_of, unreadable
from eigenserve.training.data.parts import joined_parts, with_partition
from eigenserve.training.data.table import (
    FileOptions,
    checked_frame,
    frame_of,
    index_notes,
    open_arrow,
    read_sources,
)

#: Rows read at a time.
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class WholeTable:
    """Read all rows of Parquet or Arrow files, a batch at a time, as often as is wanted.

    Attributes:
        sources: the files.
        rows: in them.
    """

    sources: tuple[Source, ...]
    rows: int

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield some columns of all rows; a column that a file lacks is missing in its rows.

        Raises:
            UserError: a file that cannot be read.
        """
        for source in self.sources:
            with _reading(source):
                _, batches = _open(source, columns)
                for batch in batches:
                    part = with_partition(pa.Table.from_batches([batch]), source)
                    yield frame_of(part).reindex(columns=list(columns))

    def chosen(self, column: str, wanted: Callable[[pd.Series], NDArray[np.bool_]]) -> pd.DataFrame:
        """Return the rows that ``wanted`` marks, given a column of a batch after the other; no others are held.

        Their index says which rows of the files they are, from 0.

        Raises:
            UserError: a file that cannot be read.
        """
        parts, places, first = [], [], 0
        for source in self.sources:
            with _reading(source):
                schema, batches = _open(source)
                tables = [schema.empty_table()]
                for batch in batches:
                    cells = frame_of(with_partition(pa.Table.from_batches([batch]), source).select([column]))[column]
                    marked = wanted(cells)
                    places.append(first + np.flatnonzero(marked))
                    first += len(batch)
                    tables.append(pa.Table.from_batches([batch.filter(pa.array(marked))]))
                parts.append((source.name, with_partition(pa.concat_tables(tables).unify_dictionaries(), source)))
        frame = frame_of(joined_parts(parts), self_destruct=True)
        frame.columns, frame.index = frame.columns.map(str), pd.Index(np.concatenate(places))
        return frame


@dataclass(frozen=True)
class TableSample:
    """Hold rows of a table.

    Attributes:
        frame: the rows, in the order of the files; its index says which of theirs they are, from 0.
        total: rows in the files.
        unnamed: columns that were left out since they have no name.
        file_notes: what the user should know of the files.
        whole: all rows, where these are a sample and the others can be read without being held.
        positions: (N,), of the rows among those of the files, from 0; None where they are all.
    """

    frame: pd.DataFrame
    total: int
    unnamed: int = 0
    file_notes: tuple[str, ...] = ()
    whole: WholeTable | None = None
    positions: NDArray[np.int64] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """List what the user should know of the sample."""
        notes = []
        if self.unnamed:
            were = "1 column without a name was" if self.unnamed == 1 else f"{self.unnamed} columns without names were"
            notes.append(f"{were} left out, such as the row numbers that pandas writes; one with a name would be used")
        if len(self.frame) < self.total:
            notes.append(
                f"a uniform sample of {len(self.frame):,} of the {self.total:,} rows was used (--max-rows for more)"
            )
        return (*self.file_notes, *notes)


def read_sample(data: str | Path, max_rows: int, seed: int, options: FileOptions | None = None) -> TableSample:
    """Read at most ``max_rows`` rows of a table: all, or each with the same probability.

    Of Parquet and Arrow files no more than the sample and a batch is ever in memory; others are read whole.

    Raises:
        UserError: as ``read_table``.
    """
    sources = sources_of(data)
    name = sources[0].name if len(sources) == 1 else str(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, max_rows]))
    if sources[0].format in ("parquet", "arrow"):
        counts = [_count(source) for source in sources]
        total = sum(counts)
        if total > max_rows:
            part, places = _sampled(sources, counts, max_rows, rng)
            whole = WholeTable(tuple(sources), total)
            part, notes = checked_frame(part, name), index_notes(part)
            part.index = pd.Index(places)
            return TableSample(part, total, file_notes=notes, whole=whole, positions=places)
    lengths: list[int] = []
    positions: list[NDArray[np.int64]] = []

    def chosen(total: int) -> NDArray[np.int64] | None:
        lengths.append(total)
        if total <= max_rows:
            return None
        positions.append(np.sort(rng.choice(total, max_rows, replace=False)))
        return positions[0]

    raw = read_sources(sources, options or FileOptions(), chosen)
    frame = checked_frame(raw.frame, name)
    total, notes = lengths[0] if lengths else len(frame), (*raw.notes, *index_notes(raw.frame))
    if positions:
        frame.index = pd.Index(positions[0])
    return TableSample(frame, total, raw.unnamed, notes, positions=positions[0] if positions else None)


def _sampled(
    sources: Sequence[Source], counts: Sequence[int], max_rows: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Sample the rows of Parquet or Arrow files, of which a batch is read at a time; and say which these are."""
    parts: list[tuple[str, pa.Table]] = []
    places: list[NDArray[np.int64]] = []
    wanted, total = max_rows, sum(counts)
    for source, count in zip(sources, counts, strict=True):
        taken = int(rng.hypergeometric(wanted, total - wanted, count)) if len(sources) > 1 else wanted
        with _reading(source):
            schema, batches = _open(source)
            chosen = list(_chosen(batches, count, taken, rng))
            table = pa.Table.from_batches([batch for _, batch in chosen], schema).unify_dictionaries()
            places += [sum(counts) - total + at for at, _ in chosen]
            del chosen
        parts.append((source.name, with_partition(table, source)))
        wanted, total = wanted - taken, total - count
    with _reading(sources[0]):
        joined = joined_parts(parts)
    del parts, table
    return frame_of(joined, self_destruct=True), np.concatenate(places)


@contextlib.contextmanager
def _reading(source: Source) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise unreadable(source.name, error) from error


def _count(source: Source) -> int:
    """Count the rows of a file."""
    check_content(source)
    with _reading(source):
        if source.format == "parquet":
            return int(pa.parquet.read_metadata(source.path).num_rows)
        reader = open_arrow(source.path)
        if isinstance(reader, pa.RecordBatchStreamReader):
            # Only those who read all of a stream know its rows.
            return sum(map(len, reader))
        return int(pa.dataset.dataset(source.path, format="ipc").count_rows())


def _open(source: Source, columns: Sequence[str] | None = None) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open schema and batches of a file, none of which is read before its turn, with all of its columns or some."""
    if source.format == "parquet":
        # Without a buffer ahead and threads: they keep what they have read (measured: the whole file in the end).
        file = pa.parquet.ParquetFile(source.path, pre_buffer=False)
        named = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
        return file.schema_arrow, file.iter_batches(BATCH_ROWS, columns=named, use_threads=False)
    reader = open_arrow(source.path)
    named = [name for name in reader.schema.names if columns is None or name in columns]
    if isinstance(reader, pa.RecordBatchStreamReader):
        batches = iter(reader)
    else:
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    return reader.schema, (batch.select(named) for batch in batches)


def _chosen(
    batches: Iterator[pa.RecordBatch], total: int, wanted: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Yield parts of batches: ``wanted`` of their ``total`` rows, every such choice as likely as another.

    Each has the positions of its rows.
    """
    first = 0
    for batch in batches:
        count = len(batch)
        taken = int(rng.hypergeometric(wanted, total - wanted, count)) if count else 0
        if taken:
            at = np.sort(rng.choice(count, taken, replace=False))
            yield first + at, batch.take(pa.array(at))
        wanted, total, first = wanted - taken, total - count, first + count
