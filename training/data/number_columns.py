"""Read a column of numbers: some are dates in digits, and some are codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.moments import digits_of_format, formatted_moment
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.column_values import MOST_WHOLE, Column, category_column, moments
from eigenserve.training.data.identifiers import names_an_identifier
from eigenserve.training.data.oddities.odd_cells import check_share, odd_note, odd_texts
from eigenserve.training.data.reading_options import ColumnType, ReadingOptions
from eigenserve.training.data.spellings.date_texts import (
    DIGIT_FORMATS,
    LEAST_DATES,
    Dates,
    are_no_dates,
    infer_dates,
    spans_years,
)
from eigenserve.training.data.spellings.number_texts import NANOSECONDS, are_nanoseconds, nanoseconds_note
from eigenserve.training.data.texts import Texts, table_rows, texts_of

#: Whole numbers that begin with these are dates if all are.
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
#: Rows that are looked at before all are.
HEAD_ROWS = 100


def read_numbers(column: pd.Series, wanted: ColumnType | None, plain: Reading, options: ReadingOptions) -> Column:
    """Read a column of numbers: as numbers, as dates in digits, as codes of more digits than a number keeps.

    Raises:
        UserError: it cannot be what is wanted of it, or too many of its numbers are infinite.
    """
    name, present = str(column.name), column.dropna()
    given = options.date_formats.get(name) if wanted in (None, "date") else None
    everywhere = options.date_formats.get("", "")
    if wanted == "category":
        return category_column(column, plain)
    if wanted == "boolean":
        if not set(present.unique()) <= {0, 1}:
            raise UserError(f"column {name!r} must hold 0 and 1 to be boolean; it has {present.max()}")
        return Column(column.astype("boolean"))
    if pd.api.types.is_float_dtype(column.dtype):
        infinite = np.isinf(column.to_numpy(np.float64, na_value=np.nan))
        if infinite.any():
            rows = table_rows(column)[infinite].tolist()
            named = list(zip(rows, column[infinite].tolist(), strict=True))
            if wanted is None:
                check_share(name, "a finite number", named[0], len(named), len(present))
            note = odd_note(name, "a finite number", named, len(named), len(present))
            return Column(column.mask(infinite), plain, (note,))
        # Whole numbers with a gap are floats.
        if not len(present) or not (present == np.round(present)).all():
            if (wanted == "date" or given) and len(present):
                raise _no_dates(name, present, given)
            return Column(column)
        if not -(2**53) <= present.min() <= present.max() <= 2**53:
            return Column(column)
        present = present.astype(np.int64)
    if not len(present):
        return Column(column)
    low, high = int(present.min()), int(present.max())
    if given:
        texts = texts_of(present.astype(str), frozenset())
        if (dates := infer_dates(name, texts, given)) is None:
            raise _no_dates(name, present, given)
        return _dates_column(column, present, texts, dates, wanted)
    numbers = present.unique().tolist() if NANOSECONDS[0] < low <= high < NANOSECONDS[1] else []
    times = numbers and are_nanoseconds(numbers, len(present)) and not names_an_identifier(name)
    big = max(-low, high) > MOST_WHOLE and not times
    if big and wanted != "number":
        return codes_column(column, plain)
    likely = _digit_format(present)
    if wanted == "date" or (wanted is None and (likely or _may_have_format(low, high, everywhere))):
        texts = texts_of(present.astype(str), frozenset())
        dates = infer_dates(name, texts, everywhere, 1.0) if digits_of_format(everywhere) else None
        if dates is None and (likely or wanted):
            dates = infer_dates(name, texts, likely or "%Y%m%d")
            dates = dates if dates is None or wanted or spans_years(dates) else None
        if dates is not None:
            return _dates_column(column, present, texts, dates, wanted)
        if wanted == "date":
            raise _no_dates(name, present)
    doubt = nanoseconds_note(name, numbers) if times and wanted is None else ""
    return Column(column, notes=(doubt,) if doubt else ())


def _dates_column(
    column: pd.Series, present: pd.Series, texts: Texts, dates: Dates, wanted: ColumnType | None
) -> Column:
    """Read whole numbers as dates; those that are none, such as 0, count as missing."""
    name, odd = str(column.name), np.isnan(dates.days)
    days = pd.Series(texts.spread(dates.days), present.index).reindex(column.index)
    first = texts.texts[int(np.argmin(odd))]
    notes = [f"{name!r} holds dates as {dates.reading.date_format}, such as {first} (--types {name}=number)"]
    missing, lenient, more = odd_texts(name, "a date", texts, odd, wanted)
    reading = replace(dates.reading, missing=missing, lenient=lenient)
    return Column(moments(days, column), reading, (*notes, *more))


def codes_column(column: pd.Series, plain: Reading = PLAIN) -> Column:
    """Read whole numbers of more digits than a number keeps as categories."""
    note = f"{column.name!r} holds whole numbers of more digits than a number keeps: read as codes, that is categories"
    return replace(category_column(column, plain), notes=(note,))


def _digit_format(present: pd.Series) -> str | None:
    """Return the format of whole numbers that are dates; None if they are not.

    Those of one length with a year of our time are, if all others are none (0 or 99999999) or dates of other centuries,
    such as 99991231 for no end.
    """
    for length, form in DIGIT_FORMATS.items():
        first, end = (year * 10 ** (length - 4) for year in (_FIRST_YEAR, _LAST_YEAR + 1))
        enough = present.between(first, end - 1).sum() >= LEAST_DATES
        if enough and all(_are_dates(rows, length, form) for rows in (present.iloc[:HEAD_ROWS], present)):
            return form
    return None


def _are_dates(numbers: pd.Series, length: int, form: str) -> bool:
    """Return whether all numbers are dates of so many digits in a format, or stand for none."""
    texts = numbers.astype(str).unique().tolist()
    dates = (len(text) == length and formatted_moment(text, form) is not None for text in texts)
    return all(date or none for date, none in zip(dates, are_no_dates(texts), strict=True))


def _may_have_format(low: int, high: int, form: str) -> bool:
    """Return whether whole numbers from low to high have as many digits as dates in a format of digits alone."""
    digits = digits_of_format(form)
    return digits > 0 and 10 ** (digits - 3) <= low and high < 10**digits


def _no_dates(name: str, present: pd.Series, given: str | None = None) -> UserError:
    if given:
        return UserError(f"column {name!r} must hold dates as {given}; it has {present.iloc[0]}")
    return UserError(f"column {name!r} must hold dates; it has {present.iloc[0]}: give --date-format {name}=...")
