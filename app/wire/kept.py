"""Hand columns through a request: those named under ``keep``, and the id of a row, come back with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eigenserve.app.problems import Location, invalid
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.json_rows import RowSlices
from eigenserve.app.wire.kept_values import kept_cells

#: The name of what is handed through without being named, unless it is a feature.
ID = "id"
#: Columns that one request may name.
MAX_KEPT = 100
#: Characters of such a name, which JSON repeats for every row.
MAX_NAME = 200
#: Characters that are written together: of a text of control characters JSON makes six times as many bytes. Measured on
#: a slow core: 6 MB take 8 ms, with the interpreter's lock held.
PIECE_CHARACTERS = 2**20
#: name -> values of all rows.
Kept = dict[str, Any]


def read_keep(value: Any) -> tuple[str, ...]:
    """Read the names of columns to hand through: a list, or a text such as ``id,date``.

    Raises:
        ProblemError: 422.
    """
    if value is None:
        return ()
    names = value
    if isinstance(value, str) and len(value) <= MAX_KEPT * (MAX_NAME + 2):
        names = [name for part in value.split(",") if (name := part.strip())]
    if not isinstance(names, list) or len(names) > MAX_KEPT or not all(isinstance(name, str) for name in names):
        raise invalid(("keep",), f"must be a list of at most {MAX_KEPT} names of columns; got {describe(value)}")
    longest = max(map(len, names), default=0)
    if longest > MAX_NAME:
        raise invalid(("keep",), f"must be names of at most {MAX_NAME} characters; got one of {longest}")
    return tuple(dict.fromkeys(names))


def kept_names(served: ServedModel, keep: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to hand through where rows have them: those named, and the id."""
    return (*keep, ID) if ID not in keep and ID not in served.model.features.names else tuple(keep)


def split_kept(
    rows: Any, served: ServedModel, keep: Sequence[str], loc: Location, table: bool = False
) -> tuple[Any, Kept]:
    """Separate the features of rows from what is handed through.

    Args:
        rows: a list of rows, whose objects lose what is not a feature; ``RowSlices``; or columns by name.
        served: the model.
        keep: names that the request gives.
        loc: where in the body the rows are.
        table: objects are rows of one table: each has every feature, and what is neither feature nor handed through is
            ignored.

    Returns:
        The rows, and what is handed through, which of ``RowSlices`` is complete once they have been read.

    Raises:
        ProblemError: 422 a table without a feature or a column that is named, or what cannot be handed
            through (``kept_cells``).
    """
    if not (keep or table) and isinstance(rows, list) and not any(ID in row for row in rows if type(row) is dict):
        return rows, {}
    names, known = kept_names(served, keep), frozenset(served.model.features.names)
    if isinstance(rows, dict):
        absent = next((name for name in keep if name not in rows), None)
        if absent is not None:
            raise invalid(("keep",), f"must name columns of the table; it has none called {describe(absent)}")
        kept = {name: kept_cells(rows[name], loc, name) for name in names if name in rows}
        return {name: values for name, values in rows.items() if name in known or name not in kept} or rows, kept
    kept = {name: [] for name in keep}
    taker = _Taker(names, known, kept, loc, served.model.features.input_names if table else ())
    if isinstance(rows, RowSlices):
        return replace(rows, each=taker.take), kept
    return taker.take(rows), kept


def kept_objects(kept: Kept, rows: slice = slice(None)) -> list[dict[str, Any]]:
    """Return what is handed through as an object for every row."""
    columns = [values[rows].tolist() if isinstance(values, np.ndarray) else values[rows] for values in kept.values()]
    return [dict(zip(kept, row, strict=True)) for row in zip(*columns, strict=True)]


def kept_slices(kept: Kept, count: int, most: int, start: int = 0) -> Iterator[slice]:
    """Yield ``count`` rows from ``start`` on as slices of at most ``most``: of fewer where names and texts are long."""
    names, end = sum(map(len, kept)), start + count
    most = max(1, min(most, PIECE_CHARACTERS // max(1, names)))
    columns = [values for values in kept.values() if not isinstance(values, np.ndarray)]
    while start < end:
        stop = min(start + most, end)
        if columns:
            lengths = np.full(stop - start, names)
            for values in columns:
                lengths += [len(value) if type(value) is str else 0 for value in values[start:stop]]
            stop = start + max(1, int(np.searchsorted(lengths.cumsum(), PIECE_CHARACTERS, "right")))
        yield slice(start, stop)
        start = stop


def check_clash(kept: Iterable[str], columns: Iterable[str]) -> None:
    """Refuse to hand a column through under the name of one of the answer.

    Raises:
        ProblemError: 422.
    """
    for name in set(kept) & set(columns):
        raise invalid(("keep",), f"must not name a column of the answer; {describe(name)} is one")


#: What ``RowSlices`` does with each slice of rows.
Each = Callable[[list[Any]], list[Any]]


@dataclass
class _Taker:
    """Take what is handed through out of rows, slice after slice."""

    names: tuple[str, ...]
    known: frozenset[str]
    kept: Kept
    loc: Location
    #: Of a table: what each of its rows must have, and all that is left of it.
    columns: tuple[str, ...] = ()
    count: int = 0

    def take(self, rows: list[Any]) -> list[Any]:
        if self.kept or any(type(row) is dict and ID in row for row in rows):
            self._keep(rows)
        self.count += len(rows)
        return [self._of_table(row) if type(row) is dict else row for row in rows] if self.columns else rows

    def _keep(self, rows: list[Any]) -> None:
        for name in self.names:
            cells = [row.get(name) if isinstance(row, dict) else None for row in rows]
            is_column = bool(self.columns) and any(name in row for row in rows[:1] if isinstance(row, dict))
            has_any = is_column or any(cell is not None for cell in cells)
            if has_any and name not in self.kept:
                self.kept[name] = [None] * self.count
            if name in self.kept:
                self.kept[name] += kept_cells(cells, self.loc, name, self.count)
            if name not in self.known:
                for row in rows:
                    if isinstance(row, dict):
                        row.pop(name, None)

    def _of_table(self, row: dict[str, Any]) -> dict[str, Any]:
        absent = next((name for name in self.columns if name not in row), None)
        if absent is not None:
            raise invalid(self.loc, f"the table must have the column {absent!r}")
        return {name: row[name] for name in self.columns}
