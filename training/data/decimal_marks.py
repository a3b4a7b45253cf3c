"""Decide on the decimal mark that the columns of a table share where their texts leave it open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from eigenserve.model.rows.readings import Reading
from eigenserve.training.data.column_values import Column


def shared_mark(columns: Collection[Column], fractions: bool) -> str:
    """Return the decimal mark that most columns prove; with no proof a comma, unless there are fractions as numbers."""
    proofs = Counter(column.proof for column in columns)
    if proofs[","] != proofs["."]:
        return max(",.", key=lambda mark: proofs[mark])
    return "." if fractions or proofs["."] else decimal_hint(column.reading for column in columns)


def has_fractions(column: pd.Series) -> bool:
    """Return whether a column has fractions that are numbers already."""
    if not pd.api.types.is_float_dtype(column.dtype):
        return False
    values = column.to_numpy(np.float64, na_value=np.nan)
    values = values[np.isfinite(values)]
    return bool((values != np.round(values)).any())


def decimal_hint(readings: Iterable[Reading]) -> str:
    """Return the decimal mark of readings that others share where their values leave it open."""
    return "," if any(reading.decimal == "," for reading in readings) else "."
