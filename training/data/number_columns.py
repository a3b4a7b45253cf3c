"""Read a column of numbers: some are dates in digits, and some are codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.column_values import MOST_WHOLE, Column, category_column, moments
from eigenserve.training.data.identifiers import names_an_identifier
from eigenserve.training.data.oddities.odd_cells import check_share, odd_note
from eigenserve.training.data.reading_options import ColumnType, ReadingOptions
from eigenserve.training.data.spellings.date_texts import DIGIT_FORMATS, LEAST_DATES, infer_dates, spans_years
from eigenserve.training.data.spellings.number_texts import NANOSECONDS
from eigenserve.training.data.texts import texts_of

#: Whole numbers that begin with these are dates if all are.
_FIRST_YEAR, _LAST_YEAR = 1900, 2100


def read_numbers(column: pd.Series, wanted: ColumnType | None, plain: Reading, options: ReadingOptions) -> Column:
    """Read a column of numbers: as numbers, as dates in digits, as codes of more digits than a number keeps.

    Raises:
        UserError: it cannot be what is wanted of it, or too many of its numbers are infinite.
    """
    name, present = str(column.name), column.dropna()
    if wanted == "category":
        return category_column(column, plain)
    if wanted == "boolean":
        if not set(present.unique()) <= {0, 1}:
            raise UserError(f"column {name!r} must hold 0 and 1 to be boolean; it has {present.max()}")
        return Column(column.astype("boolean"))
    if pd.api.types.is_float_dtype(column.dtype):
        infinite = np.isinf(column.to_numpy(np.float64, na_value=np.nan))
        if infinite.any():
            named = [(int(row), float(column.iloc[row])) for row in np.flatnonzero(infinite)]
            if wanted is None:
                check_share(name, "a finite number", named[0], len(named), len(present))
            note = odd_note(name, "a finite number", named, len(named), len(present))
            return Column(column.mask(infinite), plain, (note,))
        # Whole numbers with a gap are floats.
        if not len(present) or not (present == np.round(present)).all():
            if wanted == "date" and len(present):
                raise _no_dates(name, present)
            return Column(column)
        if not -(2**53) <= present.min() <= present.max() <= 2**53:
            return Column(column)
        present = present.astype(np.int64)
    if not len(present):
        return Column(column)
    low, high = int(present.min()), int(present.max())
    times = NANOSECONDS[0] < low <= high < NANOSECONDS[1] and not names_an_identifier(name)
    big = max(-low, high) > MOST_WHOLE and not times
    if big and wanted != "number":
        return codes_column(column, plain)
    given = options.date_formats.get(name)
    likely = _digit_format(low, high)
    if wanted == "date" or given or (wanted is None and likely):
        texts = texts_of(present.astype(str), frozenset())
        dates = infer_dates(name, texts, given or likely or "%Y%m%d")
        certain = (
            dates is not None and not np.isnan(dates.days).any() and len(present) >= LEAST_DATES and spans_years(dates)
        )
        if dates is not None and (certain or wanted == "date" or given):
            days = pd.Series(texts.spread(dates.days), present.index).reindex(column.index)
            note = (
                f"{name!r} holds dates as {dates.reading.date_format}, such as {texts.texts[0]} (--types {name}=number)"
            )
            return Column(moments(days, column), dates.reading, (note,))
        if wanted == "date":
            raise _no_dates(name, present)
    return Column(column)


def codes_column(column: pd.Series, plain: Reading = PLAIN) -> Column:
    """Read whole numbers of more digits than a number keeps as categories."""
    note = f"{column.name!r} holds whole numbers of more digits than a number keeps: read as codes, that is categories"
    return replace(category_column(column, plain), notes=(note,))


def _digit_format(low: int, high: int) -> str | None:
    """Return the format that whole numbers from low to high have if they are dates; None if they are not."""
    form = DIGIT_FORMATS.get(len(str(high)))
    years = (int(str(end)[:4]) for end in (low, high))
    is_one = form and len(str(low)) == len(str(high)) and all(_FIRST_YEAR <= year <= _LAST_YEAR for year in years)
    return form if is_one else None


def _no_dates(name: str, present: pd.Series) -> UserError:
    return UserError(f"column {name!r} must hold dates; it has {present.iloc[0]}: give --date-format {name}=...")
