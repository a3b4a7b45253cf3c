"""Draw a uniform sample of the rows of tables that are longer than what is trained on, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.ipc
import pyarrow.parquet

from eigenserve.errors import UserError
from eigenserve.training.data.table import checked_frame, csv_header, existing_file, open_arrow, read_table

#: Rows read at a time.
BATCH_ROWS = 65_536
#: Ends of names of files that can be read in parts.
PARQUET, ARROW = (".parquet", ".pq"), (".arrow", ".feather")


@dataclass(frozen=True)
class TableSample:
    """Hold rows of a file.

    Attributes:
        frame: the rows, in the order of the file.
        total: rows in the file.
        unnamed: columns of the file that were left out since they have no name.
    """

    frame: pd.DataFrame
    total: int
    unnamed: int = 0

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
        return tuple(notes)


def read_sample(path: str | Path, max_rows: int, seed: int) -> TableSample:
    """Read at most ``max_rows`` rows of a table: all, or each with the same probability.

    Of a Parquet or Arrow file no more than the sample and a batch is ever in memory; a CSV file is read whole.

    Raises:
        UserError: as ``read_table``.
    """
    path = existing_file(path)
    rng = np.random.default_rng(np.random.SeedSequence([seed, max_rows]))
    if not path.name.lower().endswith(PARQUET + ARROW):
        frame = read_table(path)
        total, unnamed = len(frame), int((csv_header(path) == "").sum())
        if total > max_rows:
            frame = frame.iloc[np.sort(rng.choice(total, max_rows, replace=False))].reset_index(drop=True)
        return TableSample(frame, total, unnamed)
    try:
        total, schema, batches = _open(path)
        if total <= max_rows:
            return TableSample(read_table(path), total)
        parts = list(_chosen(batches, total, max_rows, rng))
        table = pa.Table.from_batches(parts, schema).unify_dictionaries()
        del parts
        frame = table.to_pandas(self_destruct=True).reset_index(drop=True)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    pa.default_memory_pool().release_unused()
    return TableSample(checked_frame(frame, path), total)


def _open(path: Path) -> tuple[int, pa.Schema, Iterator[pa.RecordBatch]]:
    """Open rows, schema and batches of a file, none of which is read before its turn."""
    if path.name.lower().endswith(PARQUET):
        # Without a buffer ahead and threads: they keep what they have read (measured: the whole file in the end).
        file = pa.parquet.ParquetFile(path, pre_buffer=False)
        return file.metadata.num_rows, file.schema_arrow, file.iter_batches(BATCH_ROWS, use_threads=False)
    reader = open_arrow(path)
    if isinstance(reader, pa.RecordBatchStreamReader):
        # The number of a stream's rows is known only once all of it is read.
        return sum(map(len, open_arrow(path))), reader.schema, iter(reader)
    total = pa.dataset.dataset(path, format="ipc").count_rows()
    return total, reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))


def _chosen(
    batches: Iterator[pa.RecordBatch], total: int, wanted: int, rng: np.random.Generator
) -> Iterator[pa.RecordBatch]:
    """Yield parts of batches: ``wanted`` of their ``total`` rows, every such choice as likely as another."""
    for batch in batches:
        count = len(batch)
        taken = int(rng.hypergeometric(wanted, total - wanted, count)) if count else 0
        if taken:
            yield batch.take(pa.array(np.sort(rng.choice(count, taken, replace=False))))
        wanted, total = wanted - taken, total - count
