"""Write tables as long files are: in several row groups or batches."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a row group or batch.
PART_ROWS = 3_000


def write_in_parts(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as Parquet, or as an Arrow stream where the name does not end in .parquet, and return the path."""
    table = pa.Table.from_pandas(frame)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=PART_ROWS)
    else:
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=PART_ROWS)
    return path
