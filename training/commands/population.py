"""Population: the rows of a table that a condition names, as the reference of explanations."""

from __future__ import annotations

import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.cells import category_key, is_missing


def rows_where(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return the rows of a table that meet a condition.

    Args:
        frame: the table.
        condition: COLUMN=VALUE, or several of them with commas between; values as ``category_key`` writes them.

    Raises:
        UserError: not a condition, an unknown column, or no row that meets it.
    """
    chosen = pd.Series(True, index=frame.index)
    for part in condition.split(","):
        column, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"a reference must be COLUMN=VALUE; got {part!r}")
        if column not in frame:
            raise UserError(f"no column {column!r}; the columns are {', '.join(map(str, frame))}")
        chosen &= frame[column].map(lambda cell, value=value: not is_missing(cell) and category_key(cell) == value)
    if not chosen.any():
        raise UserError(f"no row has {condition!r}")
    return frame[chosen]
