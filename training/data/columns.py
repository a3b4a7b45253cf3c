"""Read the columns of a table: raw values of every type become numbers, dates, booleans or categories, with notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.cells import category_key, days_since_epoch, iso_time
from eigenserve.model.rows.readings import FALSE_TEXTS, PLAIN, TRUE_TEXTS, Reading
from eigenserve.training.data.column_values import (
    MOST_WHOLE,
    Column,
    categories_column,
    category_column,
    hours_column,
    meaning_of,
    moments,
    spread_texts,
    text_of,
)
from eigenserve.training.data.given_missing import sentinels_among, with_missing, without_numbers
from eigenserve.training.data.identifiers import names_an_identifier
from eigenserve.training.data.number_columns import codes_column, read_numbers
from eigenserve.training.data.oddities.no_data import without_no_data
from eigenserve.training.data.oddities.odd_cells import odd_texts
from eigenserve.training.data.reading_options import ColumnType, ReadingOptions
from eigenserve.training.data.spellings.date_texts import (
    Dates,
    infer_dates,
    infer_digits,
)
from eigenserve.training.data.spellings.marks import Marks, Votes, votes_of
from eigenserve.training.data.spellings.number_texts import (
    NEARLY,
    Numbers,
    are_number_codes,
    doubtful_digits,
    infer_hours,
    infer_numbers,
)
from eigenserve.training.data.spellings.resemblance import resemblance
from eigenserve.training.data.texts import Texts, is_number, table_rows, texts_of

#: Share of a column's texts that must be dates where its type is given: one of them.
LEAST_SHARE = 1e-12


@dataclass(frozen=True)
class Columns:
    """Hold a table whose columns are what they mean.

    Attributes:
        frame: the table.
        readings: column -> how its texts are read, where that is not as programs write them.
        notes: what the user should know.
        decimal: the decimal mark that most columns prove; empty where none does.
    """

    frame: pd.DataFrame
    readings: Mapping[str, Reading] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decimal: str = ""


def read_columns(frame: pd.DataFrame, options: ReadingOptions | None = None, others: Sequence[Column] = ()) -> Columns:
    """Read all columns of a table.

    Args:
        frame: raw values.
        options: what is given.
        others: read columns outside the table, such as the target, which say how its numbers are written, too.

    Raises:
        UserError: a column that cannot be one of a model, is nearly of one type but not quite, or may be read in
            several ways.
    """
    options = options or ReadingOptions()
    for name in (*options.types, *options.missing_in, *filter(None, options.date_formats)):
        if name not in frame:
            raise UserError(f"no column {name!r}; the columns are {', '.join(frame.columns)}")
    columns = {str(name): read_column(frame[name], options) for name in frame.columns}
    decimal = votes_of(frame).plus(column.marks for column in (*columns.values(), *others)).decimal
    if decimal and options.decimal is None:
        # What most columns prove, those with either meaning share.
        for name, column in columns.items():
            if column.marks.ambiguous or column.marks.pairs:
                columns[name] = read_column(frame[name], options, decimal)
    read = {name: _in_order(column.values, frame[name].dtype) for name, column in columns.items()}
    return Columns(
        pd.DataFrame(read, index=frame.index) if read else frame,
        {name: column.reading for name, column in columns.items() if column.reading != PLAIN},
        tuple(note for column in columns.values() for note in column.notes),
        decimal,
    )


def decimal_hint(readings: Iterable[Reading]) -> str:
    """Return the decimal mark of most readings that show one; empty where none does."""
    shown = [Marks(proof="," if "," in reading.decimal else ".") for reading in readings if _shows_mark(reading)]
    return Votes().plus(shown).decimal


def _shows_mark(reading: Reading) -> bool:
    return reading.decimal == "," or reading.thousands == ","


def _in_order(values: pd.Series, dtype: Any) -> pd.Series:
    """Return the texts of a column that has an order with this order; others as they are."""
    if not isinstance(dtype, pd.CategoricalDtype) or not dtype.ordered:
        return values
    order = [category_key(category) for category in dtype.categories]
    texts = values.map(category_key, na_action="ignore")
    if len(set(order)) < len(order) or not set(texts.dropna()) <= set(order):
        return values
    return texts.astype(pd.CategoricalDtype(order, ordered=True))


def read_column(
    column: pd.Series, options: ReadingOptions | None = None, hint: str = "", letters: bool = False
) -> Column:
    """Read one column.

    Args:
        column: raw values of any type.
        options: what is given.
        hint: the decimal mark of the table, where its values leave it open.
        letters: whether even single letters are one category in either case.

    Raises:
        UserError: as ``read_columns``.
    """
    options = options or ReadingOptions()
    plain = options.plain_reading(str(column.name))
    if plain == PLAIN:
        read = _read_column(column, options, plain, hint, letters)
    else:
        known = without_numbers(column, sentinels_among(plain.missing))
        read = with_missing(_read_column(known, options, plain, hint, letters), plain)
    return without_no_data(read, str(column.name) in options.types)


def _read_column(column: pd.Series, options: ReadingOptions, plain: Reading, hint: str, letters: bool) -> Column:
    """Read one column of which no number stands for a missing value."""
    if isinstance(column.dtype, pd.ArrowDtype) and column.dtype.kind == "m":
        column = column.astype("timedelta64[us]")
    name, dtype = str(column.name), column.dtype
    wanted = "category" if name in options.labels else options.types.get(name)
    if isinstance(dtype, pd.CategoricalDtype):
        column, wanted = column.astype(object), wanted or "category"
    if pd.api.types.is_complex_dtype(dtype):
        raise UserError(f"column {name!r} must hold real numbers; it has complex ones")
    if meant := meaning_of(dtype):
        if wanted == "category":
            return category_column(column, plain)
        if wanted not in (None, meant) and column.notna().any():
            present = column.dropna()
            raise UserError(
                f"column {name!r} must hold {wanted}s; row {table_rows(present)[0] + 1} has {str(present.iloc[0])!r}"
            )
        if meant == "time":
            return hours_column(column)
        return Column(column.dt.start_time if isinstance(dtype, pd.PeriodDtype) else column)
    if pd.api.types.is_float_dtype(dtype) and getattr(dtype, "itemsize", 8) != 8 and wanted != "category":
        column = pd.Series(column.to_numpy(np.float64, na_value=np.nan), column.index, name=column.name)
    if pd.api.types.is_numeric_dtype(dtype):
        return read_numbers(column, wanted, plain, options)
    present = column.dropna()
    kinds: set[type] = {str} if isinstance(dtype, pd.StringDtype) else set(map(type, present))
    if any(issubclass(kind, list | dict | set | tuple | np.ndarray) for kind in kinds):
        raise UserError(
            f"column {column.name!r} must hold single values; row {table_rows(present)[0] + 1} has an array or "
            "an object: leave it out, or make columns of its parts"
        )
    if not kinds <= {str} and wanted is None and (typed := _of_objects(column, present, kinds)) is not None:
        return typed
    return _of_texts(column, kinds, wanted, options, plain, hint, letters)


def _of_objects(column: pd.Series, present: pd.Series, kinds: set[type]) -> Column | None:
    """Read Python's own values of one meaning; None where texts are among them, or several meanings."""
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return Column(column)
    if kinds & {bool, np.bool_} and all(category_key(x) in ("true", "false", "0", "1") for x in present):
        return Column(column.map(bool, na_action="ignore"))
    if all(issubclass(kind, int | float | Decimal | np.integer | np.floating) and kind is not bool for kind in kinds):
        floats = pd.Series([np.nan if pd.isna(x) else float(x) for x in column], column.index, np.float64, column.name)
        if floats.abs().max() > MOST_WHOLE and all(issubclass(kind, int | Decimal | np.integer) for kind in kinds):
            exact = pd.Series([None if pd.isna(x) else int(x) for x in column], column.index, object, column.name)
            if floats.abs().max() >= 2**63:
                return codes_column(exact)
            return read_numbers(exact.astype("Int64"), None, PLAIN, ReadingOptions())
        whole = all(issubclass(kind, int | np.integer) for kind in kinds) and len(present) == len(column)
        if whole and max(map(abs, present)) < 2**63:
            return read_numbers(column.astype(np.int64), None, PLAIN, ReadingOptions())
        return read_numbers(floats, None, PLAIN, ReadingOptions())
    if all(issubclass(kind, time | timedelta | np.timedelta64) for kind in kinds):
        return hours_column(column)
    if all(issubclass(kind, date | np.datetime64 | pd.Period) for kind in kinds):
        return Column(moments([np.nan if pd.isna(value) else days_since_epoch(value) for value in column], column))
    return None


def _of_texts(
    column: pd.Series,
    kinds: set[type],
    wanted: ColumnType | None,
    options: ReadingOptions,
    plain: Reading,
    hint: str,
    letters: bool,
) -> Column:
    name = str(column.name)
    # Values of other types than numbers as texts first: 1 and True are equal to pandas.
    cells = column if kinds <= {str} else column.map(_text_or_number, na_action="ignore")
    texts = texts_of(cells, plain.missing_texts)
    if wanted == "category" or not texts.texts:
        return categories_column(column, texts, plain, letters, options.types.get(name) == "category")
    words = {text.casefold() for text in texts.texts}
    if wanted == "boolean" or (words <= {"true", "false", "1", "0"} and words & {"true", "false"}):
        if not words <= TRUE_TEXTS | FALSE_TEXTS:
            odd = next(text for text in texts.texts if text.casefold() not in TRUE_TEXTS | FALSE_TEXTS)
            raise UserError(f"column {name!r} must hold true and false to be boolean; it has {odd!r}")
        values = np.array([text.casefold() in TRUE_TEXTS for text in texts.texts], object)
        return Column(spread_texts(values, texts, column), plain)
    notes: tuple[str, ...] = ()
    everywhere, share = options.date_formats.get("", ""), LEAST_SHARE if wanted else NEARLY
    if wanted in (None, "date") and (given := options.date_formats.get(name)):
        if (dates := infer_dates(name, texts, given, share)) is None:
            raise UserError(
                f"column {name!r} must hold dates as {given}; row {texts.rows[0] + 1} has {texts.texts[0]!r}"
            )
        return _dates_column(column, texts, dates, plain, wanted)
    if wanted is None and (dates := infer_digits(name, texts, everywhere)) is not None:
        return _dates_column(column, texts, dates, plain, wanted)
    certain = wanted is not None or name in options.measures
    if wanted in (None, "number") and (certain or not are_number_codes(texts, names_an_identifier(name))):
        numbers = infer_numbers(texts, options.decimal, hint, given=wanted == "number")
        pairs = numbers is not None and numbers.marks.pairs and hint == "." and not (certain or options.decimal)
        if numbers is not None and not pairs:
            read = _numbers_column(column, texts, numbers, plain, wanted)
            doubt = "" if certain else doubtful_digits(name, texts)
            return replace(read, notes=(*filter(None, [doubt]), *read.notes))
        if pairs:
            pair = next(text for text in texts.texts if "," in text)
            notes = (
                f"{name!r} has texts such as {pair!r}, while other columns have decimal points: read as categories "
                f"(--types {name}=number reads decimal commas)",
            )
    elif wanted is None:
        code = next((text for text in texts.texts if text[0] == "0"), texts.texts[0])
        notes = (f"{name!r} holds codes such as {code!r}: read as categories (--types {name}=number overrides it)",)
    if wanted in (None, "time") and not notes and (hours := infer_hours(texts)) is not None:
        return _numbers_column(column, texts, hours, plain, wanted)
    if wanted in (None, "date") and not notes:
        dates = infer_dates(name, texts, everywhere, share)
        if dates is None and everywhere:
            dates = infer_dates(name, texts, None, share)
        if dates is not None:
            return _dates_column(column, texts, dates, plain, wanted)
    if wanted is not None:
        raise UserError(f"column {name!r} must hold {wanted}s; row {texts.rows[0] + 1} has {texts.texts[0]!r}")
    if not notes and (note := resemblance(name, texts, options.decimal, hint)):
        notes = (note,)
    read = categories_column(column, texts, plain, letters)
    return replace(read, notes=(*notes, *read.notes))


def _text_or_number(value: Any) -> Any:
    return value if is_number(value) else text_of(value)


def _numbers_column(
    column: pd.Series, texts: Texts, numbers: Numbers, plain: Reading, wanted: ColumnType | None
) -> Column:
    name, reading = str(column.name), numbers.reading
    kind = "a time" if reading.clock else "a number"
    missing, lenient, notes = odd_texts(name, kind, texts, np.isnan(numbers.values), wanted)
    reading = replace(reading, missing=(*plain.missing, *missing), markers=plain.markers, lenient=lenient)
    if numbers.example is not None:
        text, number = numbers.example
        unit = " hours" if reading.clock else ""
        other = "." if reading.decimal == "," else ","
        also = f" (--decimal '{other}' reads otherwise)" if numbers.marks.ambiguous else ""
        also += f"; those without a unit, such as {numbers.bare!r}, count as in the same" if numbers.bare else ""
        notes = (f"{name!r} is read as numbers: {text!r} is {number:.15g}{unit}{also}", *notes)
    values = pd.Series(texts.spread(numbers.values), column.index, np.float64, name=column.name)
    return Column(values, reading, notes, numbers.marks)


def _dates_column(column: pd.Series, texts: Texts, dates: Dates, plain: Reading, wanted: ColumnType | None) -> Column:
    name, reading = str(column.name), dates.reading
    missing, lenient, notes = odd_texts(name, "a date", texts, np.isnan(dates.days), wanted)
    reading = replace(reading, missing=(*plain.missing, *missing), markers=plain.markers, lenient=lenient)
    if reading.date_format:
        notes = (f"{name!r} is read as dates in the format {reading.date_format}: {_shown_dates(texts, dates)}", *notes)
    return Column(moments(texts.spread(dates.days), column), reading, notes)


def _shown_dates(texts: Texts, dates: Dates) -> str:
    """Show how dates are read: the first, or, where the century is inferred, the earliest and the latest."""
    known = np.flatnonzero(~np.isnan(dates.days))
    places = [int(known[np.argmin(texts.rows[known])])]
    if dates.reading.last_year:
        places = [int(known[np.argmin(dates.days[known])]), int(known[np.argmax(dates.days[known])])]
    shown = [f"{texts.texts[at]!r} is {iso_time(dates.days[at])[:10]}" for at in dict.fromkeys(places)]
    return shown[0] if len(shown) == 1 else f"from {shown[0]} to {shown[1]}"
