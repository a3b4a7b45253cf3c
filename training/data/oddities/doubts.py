"""Name what may mean something else than it says: values that stand for missing ones, identifiers in disguise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd

from eigenserve.model.rows.cells import category_key
from eigenserve.training.data.identifiers import identifiers, keeping, left_out_note

#: Numbers and dates that are written for a missing value.
SENTINELS = (*(-(10.0**n - 1.0) for n in range(1, 10)), *(10.0**n - 1.0 for n in range(2, 10)))
SENTINEL_DATES = (
    *("9999-12-31", "9999-12-01", "9999-01-01", "2999-12-31", "2099-12-31"),
    *("1970-01-01", "1900-01-01", "1899-12-30", "0001-01-01"),
)
#: Rows that have one, and different values of the others, below which it may be a value like them.
LEAST_REPEATS, LEAST_VALUES = 3, 3
#: Rows of a column that are looked at before all are.
HEAD_ROWS = 1_000
#: Share of the rows in which an identifier must stand.
PRESENT = 0.9
#: Names that pandas gives the row numbers of a table that it wrote.
_ROW_NUMBERS = re.compile(r"Unnamed: [0-9.]+|level_0")


def sentinel_notes(raw: pd.DataFrame, read: pd.DataFrame, given: Collection[str] = ()) -> Iterator[str]:
    """Say which values of a table look like missing ones: they repeat, and stand far from all others.

    Args:
        raw: columns as the table has them.
        read: the same as they are read.
        given: columns whose missing values the user has given.
    """
    for name in read.columns:
        column = read[name]
        if name in given or pd.api.types.is_bool_dtype(column):
            continue
        if dated := pd.api.types.is_datetime64_any_dtype(column):
            values = column.dt.tz_localize(None).to_numpy("datetime64[D]").astype(np.float64)
            values[column.isna().to_numpy()] = np.nan
            suspects: Sequence[float] = np.array(SENTINEL_DATES, "datetime64[D]").astype(np.float64).tolist()
        elif pd.api.types.is_numeric_dtype(column):
            values, suspects = column.to_numpy(np.float64, na_value=np.nan), SENTINELS
        else:
            continue
        for rows in _outliers(values, suspects):
            cell = raw[name].iloc[rows[0]]
            typed = isinstance(cell, str | pd.Timestamp)
            text = str(cell).strip() if typed else category_key(cell) if dated else f"{values[rows[0]]:.15g}"
            if isinstance(cell, pd.Timestamp):
                text = text.removesuffix(" 00:00:00")
            option = shlex.quote(f"{name}={text}")
            yield (
                f"{name!r} has {text} in {len(rows):,} rows, far from all other values: if it stands for a missing "
                f"value, give --missing {option}"
            )


def without_identifiers(table: pd.DataFrame, kept: Collection[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Leave out identifiers, those in disguise too, of the features ``table``, but for ``kept``; and say which."""
    notes = []
    if ids := identifiers(table, kept=kept):
        notes.append(left_out_note(table, ids))
        table = table.drop(columns=ids)
    disguised = disguised_identifiers(table, kept)
    for name, what in disguised.items():
        notes.append(f"{name!r} {what}, and was left out ({keeping(table[name])} keeps it)")
    return table.drop(columns=list(disguised)), notes


def disguised_identifiers(table: pd.DataFrame, kept: Collection[str] = ()) -> dict[str, str]:
    """Find columns that would be identifiers without their gaps, decimals or order, and say of each what it is.

    Args:
        table: the features.
        kept: columns that are wanted all the same.
    """
    found = {}
    for name in map(str, table.columns):
        column = table[name]
        present = column.dropna()
        if name in kept or len(present) < PRESENT * len(column) or not present.iloc[:HEAD_ROWS].is_unique:
            continue
        if pd.api.types.is_float_dtype(present):
            if not ((present % 1 == 0).all() and (present.abs() < 2**53).all()):
                continue
            present = present.astype(np.int64)
        if not present.is_unique:
            continue
        alike = pd.DataFrame({name: present, "": 0})
        numbers = pd.api.types.is_integer_dtype(present) and len(present) > 1
        if identifiers(alike):
            found[name] = "is different in every row that has it, as an identifier is"
        elif numbers and _ROW_NUMBERS.fullmatch(name) and int(present.max()) - int(present.min()) < 2 * len(present):
            found[name] = "has the row numbers of another table"
    return found if len(found) < table.shape[1] else {}


def _outliers(values: np.ndarray, suspects: Sequence[float]) -> Iterator[np.ndarray]:
    """Yield the rows of each suspect that repeats beyond the range of all others, as far as that is wide."""
    present = values[np.isfinite(values)]
    # One that stands beyond all others is the first or the last: of most columns nothing else is looked at.
    if not len(present) or not {float(present.min()), float(present.max())} & set(suspects):
        return
    suspected = np.isin(values, suspects)
    others = values[~suspected & np.isfinite(values)]
    if len(np.unique(others[: 10 * LEAST_VALUES])) < LEAST_VALUES and len(np.unique(others)) < LEAST_VALUES:
        return
    low, high = others.min(), others.max()
    for value in np.unique(values[suspected]):
        rows = np.flatnonzero(values == value)
        gap = max(low - value, value - high)
        # A negative number among others that are not needs no width to show.
        strange = gap > high - low or (value <= SENTINELS[1] and low >= 0.0)
        if len(rows) >= LEAST_REPEATS and strange:
            yield rows
