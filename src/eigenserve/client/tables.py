"""Turn rows of any kind into bodies of requests, and answers into rows of the same kind."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from importlib.util import find_spec
from typing import Any

ARROW = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Rows:
    """Hold rows to ask about: a pandas or Polars DataFrame, a list of rows, or a 2-D array.

    Attributes:
        given: the rows as they came.
        library: "pandas" or "polars" for DataFrames, which are answered by DataFrames; "" for others.
        start: which of the caller's rows is the first.
    """

    given: Any
    library: str
    start: int = 0

    def __len__(self) -> int:
        return len(self.given)

    def part(self, start: int, stop: int) -> Rows:
        """Return some of the rows."""
        chosen = self.given.iloc[start:stop] if self.library == "pandas" else self.given[start:stop]
        return Rows(chosen, self.library, self.start + start)

    def column(self, name: str) -> Any:
        """Return a column of a DataFrame, of its own type."""
        if self.library == "polars":
            return self.given[name]
        return self.given.iloc[:, list(map(str, self.given.columns)).index(name)].array

    def plain(self) -> list[Any]:
        """Return rows as JSON has them: NaN and other marks of missing values as None.

        Raises:
            ValueError: a value that JSON does not have, such as infinity; of a DataFrame it becomes a text, which the
                service refuses in a feature and ignores elsewhere, as it does in Arrow.
        """
        rows = self.given
        if self.library == "pandas":
            names = list(map(str, rows.columns))
            values = [rows.iloc[:, i].tolist() for i in range(len(names))]
            rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        elif self.library == "polars":
            rows = rows.to_dicts()
        return [plain_row(row, self.start + i, bool(self.library)) for i, row in enumerate(rows)]

    def arrow(self) -> bytes:
        """Return a DataFrame as an Arrow stream."""
        import pyarrow

        table = self.given.to_arrow() if self.library == "polars" else _table_of(self.given)
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())


def read_rows(rows: Any) -> Rows:
    """Take rows as the caller has them.

    Raises:
        TypeError: they are not rows.
        ValueError: two columns have one name.
    """
    library = type(rows).__module__.partition(".")[0]
    if library in ("pandas", "polars") and hasattr(rows, "columns"):
        names = list(map(str, rows.columns))
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise ValueError(f"rows must have columns of different names; two are called {doubled!r}")
        return Rows(rows, library)
    if getattr(rows, "ndim", 0) == 2:
        return Rows(rows, "")
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise TypeError(f"rows must be a list of rows, a DataFrame or a 2-D array; got {type(rows).__name__}")
    return Rows(rows, "")


def has_arrow() -> bool:
    """Return whether Arrow streams can be written and read here."""
    return find_spec("pyarrow") is not None


def plain_row(row: Any, position: int, of_frame: bool = False) -> Any:
    """Return a row as JSON has it; raises as ``Rows.plain``."""
    if isinstance(row, Mapping):
        return {str(key): _plain(value, (position, key), of_frame) for key, value in row.items()}
    if isinstance(row, Sequence) and not isinstance(row, str | bytes):
        return [_plain(value, (position, i)) for i, value in enumerate(row)]
    if getattr(row, "ndim", 0) == 1:
        return [_plain(value, (position, i)) for i, value in enumerate(row.tolist())]
    return row  # what is not a row the service names


def table_answer(content: bytes, rows: Rows, kept: Collection[str]) -> tuple[Any, str]:
    """Read an Arrow answer as a DataFrame of the library the rows came in, and the version that gave it.

    Columns that are ``kept`` are the rows' own, of their own type.
    """
    import pyarrow

    table = pyarrow.ipc.open_stream(content).read_all()
    version = (table.schema.metadata or {}).get(b"version", b"").decode()
    table = table.replace_schema_metadata(None)
    own = {name: rows.column(name) for name in table.column_names if name in kept}
    if rows.library == "polars":
        import polars

        return polars.from_arrow(table).with_columns(**own), version  # type: ignore[union-attr]
    frame = table.to_pandas()
    frame.index = rows.given.index
    return frame.assign(**own), version


def frame_of(columns: Mapping[str, Sequence[Any]], rows: Rows) -> Any:
    """Make a DataFrame of the library the rows came in; of pandas, with their index."""
    if rows.library == "polars":
        import polars

        return polars.DataFrame(columns, strict=False)
    import pandas

    return pandas.DataFrame(columns, index=rows.given.index)


def joined(frames: Sequence[Any], library: str) -> Any:
    """Join DataFrames of the same columns."""
    if len(frames) == 1:
        return frames[0]
    if library == "polars":
        import polars

        return polars.concat(frames)
    import pandas

    return pandas.concat(frames)


def _table_of(frame: Any) -> Any:
    import pyarrow

    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        # A column of mixed values: as texts, which the service reads as it reads CSV.
        texts = {
            name: [None if _is_missing(v) else v if isinstance(v, str) else str(v) for v in frame[name]]
            for name in frame.columns
            if frame[name].dtype == object
        }
        return pyarrow.Table.from_pandas(frame.assign(**texts), preserve_index=False)


def _plain(value: Any, place: tuple[int, Any], of_frame: bool = False) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 and not _is_missing(value):  # a number of NumPy
        value = value.item()
    if _is_missing(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        if of_frame:
            return str(value)
        raise ValueError(f"row {place[0]}, {place[1]!r} must be finite or missing; got {value}")
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, bool | int | float | str | list | dict):
        return value
    return str(value)


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    kind = type(value).__name__
    return value is None or kind in ("NAType", "NaTType") or (kind == "datetime64" and str(value) == "NaT")
