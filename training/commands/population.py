"""Population: the rows of a table that a condition names, as the reference of explanations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.readings import Reading
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.evaluation.read_cells import CellReader, Cells

#: Values that a message lists.
MOST_LISTED = 8
#: A comma behind which another COLUMN= begins.
_PART = re.compile(r",(?=[^,=]*=)")


def populations_of(
    frame: pd.DataFrame, conditions: Iterable[str], options: ReadingOptions, readings: Mapping[str, Reading]
) -> dict[str, pd.DataFrame]:
    """Return the rows of a fit's table that meet each condition; raises as ``rows_where``."""
    reader = CellReader(options, readings)
    return {condition: rows_where(frame, condition, reader) for condition in conditions}


def rows_where(frame: pd.DataFrame, condition: str, reader: CellReader) -> pd.DataFrame:
    """Return the rows of a table that meet a condition.

    Args:
        frame: the table.
        condition: COLUMN=VALUE, or several of them with commas between; a value is read as the column's cells are,
            and may hold a comma.
        reader: of its columns.

    Raises:
        UserError: not a condition, an unknown column, or no row that meets it.
    """
    chosen = pd.Series(True, index=frame.index)
    for part in _PART.split(condition):
        column, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"a reference must be COLUMN=VALUE; got {part!r}")
        if column not in frame:
            raise UserError(f"no column {column!r}; the columns are {', '.join(map(str, frame))}")
        cells = reader.read(frame[column])
        met = cells.numbers == cells.number(value)
        if not met.any():
            raise UserError(f"no row has {part!r}; {column!r} has {_listed(cells)}")
        chosen &= met
    if not chosen.any():
        raise UserError(f"no row has {condition!r}, though some have each of these values")
    return frame[chosen]


def _listed(cells: Cells) -> str:
    """List the most frequent values of a column."""
    values = list(cells.numbers.value_counts().index)
    more = f" and {len(values) - MOST_LISTED:,} more" if len(values) > MOST_LISTED else ""
    return f"{', '.join(map(cells.text, values[:MOST_LISTED]))}{more}" if values else "no value"
