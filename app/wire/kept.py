"""Hand columns through a request: those named under ``keep``, and the id of a row, come back with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
#: name -> values of all rows.
Kept = dict[str, Any]


def read_keep(value: Any) -> tuple[str, ...]:
    """Read the names of columns to hand through: a list, or a text such as ``id,date``.

    Raises:
        ProblemError: 422.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        value = [name for part in value.split(",") if (name := part.strip())]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value) or len(value) > MAX_KEPT:
        raise invalid(("keep",), f"must be a list of at most {MAX_KEPT} names of columns; got {describe(value)}")
    return tuple(dict.fromkeys(value))


def kept_names(served: ServedModel, keep: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to hand through where rows have them: those named, and the id."""
    return (*keep, ID) if ID not in keep and ID not in served.model.features.names else tuple(keep)


def split_kept(rows: Any, served: ServedModel, keep: Sequence[str], loc: Location) -> tuple[Any, Kept]:
    """Separate the features of rows from what is handed through.

    Args:
        rows: a list of rows, whose objects lose what is not a feature; ``RowSlices``; or columns by name.
        served: the model.
        keep: names that the request gives.
        loc: where in the body the rows are.

    Returns:
        The rows, and what is handed through, which of ``RowSlices`` is complete once they have been read.

    Raises:
        ProblemError: 422 a table without a column that is named, or what cannot be handed through (``kept_cells``).
    """
    if not keep and isinstance(rows, list) and not any(ID in row for row in rows if type(row) is dict):
        return rows, {}
    names, known = kept_names(served, keep), frozenset(served.model.features.names)
    if isinstance(rows, dict):
        absent = next((name for name in keep if name not in rows), None)
        if absent is not None:
            raise invalid(("keep",), f"must name columns of the table; it has none called {describe(absent)}")
        kept = {name: kept_cells(rows[name], loc, name) for name in names if name in rows}
        return {name: values for name, values in rows.items() if name in known or name not in kept} or rows, kept
    kept = {name: [] for name in keep}
    taker = _Taker(names, known, kept, loc)
    if isinstance(rows, RowSlices):
        return replace(rows, each=taker.take), kept
    return taker.take(rows), kept


def kept_objects(kept: Kept, rows: slice = slice(None)) -> list[dict[str, Any]]:
    """Return what is handed through as an object for every row."""
    columns = [values[rows].tolist() if isinstance(values, np.ndarray) else values[rows] for values in kept.values()]
    return [dict(zip(kept, row, strict=True)) for row in zip(*columns, strict=True)]


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
    count: int = 0

    def take(self, rows: list[Any]) -> list[Any]:
        if not self.kept and not any(type(row) is dict and ID in row for row in rows):
            self.count += len(rows)
            return rows
        for name in self.names:
            cells = [row.get(name) if isinstance(row, dict) else None for row in rows]
            if name not in self.kept:
                if all(cell is None for cell in cells):
                    continue
                self.kept[name] = [None] * self.count
            self.kept[name] += kept_cells(cells, self.loc, name, self.count)
            if name not in self.known:
                for row in rows:
                    if isinstance(row, dict):
                        row.pop(name, None)
        self.count += len(rows)
        return rows
