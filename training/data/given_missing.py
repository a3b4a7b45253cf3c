"""Take values that are given as missing out of a column, whatever their type, and keep them in its reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd

from eigenserve.model.rows.cells import category_key
from eigenserve.model.rows.moments import hours_of
from eigenserve.model.rows.readings import Reading
from eigenserve.model.rows.spellings.number_parts import is_plain_number
from eigenserve.training.data.column_values import Column, moments


def sentinels_among(texts: Sequence[str], *, clock: bool = False) -> tuple[float, ...]:
    """Return the numbers, and the hours of times of a ``clock``, among texts that stand for a missing value."""
    hours = [hours_of(text) for text in texts] if clock else []
    return (*(float(text) for text in texts if is_plain_number(text)), *(each for each in hours if each is not None))


def without_numbers(column: pd.Series, sentinels: Sequence[float]) -> pd.Series:
    """Make numbers that stand for a missing value missing in a column of raw values of any type."""
    if not sentinels or pd.api.types.is_bool_dtype(column.dtype):
        return column
    if pd.api.types.is_numeric_dtype(column.dtype):
        hits = column.isin(sentinels)
        # Whole numbers stay whole: floats keep fewer digits.
        whole = pd.api.types.is_integer_dtype(column.dtype)
        return (column.convert_dtypes() if whole else column).mask(hits) if hits.any() else column
    if column.dtype != object:
        return column
    numbers = (int, float, Decimal, np.integer, np.floating)
    hits = column.map(lambda value: isinstance(value, numbers) and value is not True and value in sentinels)
    return column.mask(hits.astype(bool))


def with_missing(read: Column, plain: Reading) -> Column:
    """Keep what is given as missing in the reading of a column, and make such numbers and dates missing.

    Args:
        read: the column.
        plain: what is given.
    """
    texts = (*plain.missing, *map(category_key, plain.missing), *read.reading.missing)
    reading = replace(read.reading, missing=tuple(dict.fromkeys(texts)), markers=plain.markers)
    values, kind = read.values, read.values.dtype
    if pd.api.types.is_datetime64_any_dtype(kind):
        reading = replace(reading, sentinels=_days_among(plain.missing, reading))
        given = moments(np.array(reading.sentinels, np.float64), pd.Series(np.zeros(len(reading.sentinels))))
        values = values.mask(pd.to_datetime(values, utc=True).isin(pd.to_datetime(given, utc=True)))
    elif pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
        reading = replace(reading, sentinels=sentinels_among(plain.missing, clock=reading.clock))
        values = values.mask(values.isin(reading.sentinels))
    return replace(read, values=values, reading=reading)


def _days_among(texts: Sequence[str], reading: Reading) -> tuple[float, ...]:
    """Return the days since 1970 of the dates among texts."""
    days = []
    for text in texts:
        try:
            days.append(reading.days(text))
        except ValueError:
            continue  # a word for a missing value
    return tuple(days)
