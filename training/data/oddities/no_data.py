"""Recognise numbers that stand for no data by their size, such as the largest that a float holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from eigenserve.errors import UserError
from eigenserve.training.data.column_values import Column
from eigenserve.training.data.oddities.odd_cells import check_share
from eigenserve.training.data.texts import table_rows

#: Beyond, nothing is measured or counted; the squares of larger numbers are soon beyond float64.
LARGEST = 1e100
#: What programs for maps write for no data where they keep 32 bits, with six digits or all.
FLOAT32_MAX = float(np.finfo(np.float32).max)
_SIX_DIGITS = 1e-5
#: Different ones in a column that may all be marks.
MOST_MARKS = 2


def without_no_data(read: Column, given: bool = False) -> Column:
    """Make numbers that are too large to be any missing, with a note, and keep them as such in the reading.

    Args:
        read: a column.
        given: its type is.

    Raises:
        UserError: many different ones, or hardly any others.
    """
    if not pd.api.types.is_float_dtype(read.values.dtype):
        return read
    values = read.values.to_numpy(np.float64, na_value=np.nan)
    sizes = np.abs(values)
    huge = (sizes > LARGEST) | (np.abs(sizes - FLOAT32_MAX) <= _SIX_DIGITS * FLOAT32_MAX)
    if not huge.any():
        return read
    name, rows = str(read.values.name), np.flatnonzero(huge)
    first, marks = int(table_rows(read.values)[rows[0]]), np.unique(values[huge])
    if len(marks) > MOST_MARKS and not given:
        if 2 * len(rows) > len(values):
            largest = float(sizes[huge].max())
            raise UserError(
                f"{name!r} must have sizes between {1 / LARGEST:g} and {LARGEST:g}; got {largest:.3g}: rescale it"
            )
        check_share(name, "a finite number", (first, float(values[rows[0]])), len(rows), len(read.values))
    shown = f"{values[rows[0]]:.8g} in row {first + 1}"
    alone = f"in {name!r} {shown} is too large to be a number and counts as missing"
    several = f"in {name!r} {len(rows):,} cells such as {shown} are too large to be numbers and count as missing"
    note = alone if len(rows) == 1 else several
    sentinels = (*read.reading.sentinels, *(form for mark in marks for form in _forms(mark)))
    reading = replace(read.reading, sentinels=tuple(dict.fromkeys(sentinels)))
    return replace(read, values=read.values.mask(huge), reading=reading, notes=(*read.notes, note))


def _forms(mark: float) -> list[float]:
    """Return a number as files may hold it: in 64 bits, in 32, and as the text of these."""
    with np.errstate(over="ignore"):
        short = np.float32(mark)
    forms = np.array([mark, float(short), float(str(short))])
    return np.unique(forms[np.isfinite(forms)]).tolist()
