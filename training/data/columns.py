"""Read the columns of a table: raw values of every type become numbers, dates, booleans or categories, with notes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.cells import category_key, days_since_epoch, iso_time
from eigenserve.model.rows.readings import FALSE_TEXTS, PLAIN, TRUE_TEXTS, Reading, hours_of_value
from eigenserve.training.data.date_texts import Dates, infer_dates, readable_format
from eigenserve.training.data.number_texts import NANOSECONDS, Numbers, are_number_codes, infer_hours, infer_numbers
from eigenserve.training.data.texts import Texts, texts_of

ColumnType = Literal["number", "category", "date", "time", "boolean"]
#: Share of a column's cells that may be neither what the others are nor missing.
MOST_ODD = 0.01
#: Odd cells that a note names, and odd texts that a model keeps as texts for a missing value.
NAMED, KEPT = 3, 50
#: Whole numbers of eight digits within these are dates if all are.
_FIRST_DATE, _LAST_DATE = 1900_01_01, 2100_12_31
#: Rows from which that is no coincidence.
LEAST_DATES = 20


@dataclass(frozen=True)
class ReadingOptions:
    """Hold what is given about the columns of a table, instead of inferred.

    Attributes:
        decimal: the decimal mark; None to infer it.
        date_formats: column -> format; "" for all columns.
        missing: texts for a missing value in all columns, instead of the usual ones; None for these.
        missing_in: column -> texts for a missing value in it, instead of those.
        types: column -> what it is.
    """

    decimal: str | None = None
    date_formats: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] | None = None
    missing_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    types: Mapping[str, ColumnType] = field(default_factory=dict)

    def plain_reading(self, name: str) -> Reading:
        """Return the reading of a column's missing values."""
        texts = self.missing_in.get(name, self.missing)
        return PLAIN if texts is None else Reading(missing=texts, markers=False)


@dataclass(frozen=True)
class Column:
    """Hold a column whose values are what they mean.

    Attributes:
        values: numbers, dates, booleans or categories' texts; None or NaN where missing.
        reading: how texts of it are read.
        notes: what the user should know.
    """

    values: pd.Series
    reading: Reading = PLAIN
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """Hold a table whose columns are what they mean.

    Attributes:
        frame: the table.
        readings: column -> how its texts are read, where that is not as programs write them.
        notes: what the user should know.
    """

    frame: pd.DataFrame
    readings: Mapping[str, Reading] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_columns(frame: pd.DataFrame, options: ReadingOptions | None = None) -> Columns:
    """Read all columns of a table.

    Raises:
        UserError: a column that cannot be one of a model, is nearly of one type but not quite, or may be read in
            several ways.
    """
    options = options or ReadingOptions()
    for name in (*options.types, *options.missing_in, *filter(None, options.date_formats)):
        if name not in frame:
            raise UserError(f"no column {name!r}; the columns are {', '.join(frame.columns)}")
    columns = {str(name): read_column(frame[name], options) for name in frame.columns}
    commas = [name for name, column in columns.items() if column.reading.decimal == ","]
    if commas and options.decimal is None:
        # What one column proves, others with either meaning share.
        for name in frame.columns:
            columns[str(name)] = read_column(frame[name], options, hint=",")
    read = {name: _in_order(column.values, frame[name].dtype) for name, column in columns.items()}
    return Columns(
        pd.DataFrame(read, index=frame.index) if read else frame,
        {name: column.reading for name, column in columns.items() if column.reading != PLAIN},
        tuple(note for column in columns.values() for note in column.notes),
    )


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
    column: pd.Series, options: ReadingOptions | None = None, hint: str = ".", letters: bool = False
) -> Column:
    """Read one column.

    Args:
        column: raw values of any type.
        options: what is given.
        hint: the decimal mark where its values leave it open.
        letters: whether even single letters are one category in either case.

    Raises:
        UserError: as ``read_columns``.
    """
    options = options or ReadingOptions()
    name, dtype = str(column.name), column.dtype
    wanted = options.types.get(name)
    plain = options.plain_reading(name)
    if isinstance(dtype, pd.CategoricalDtype):
        column, wanted = column.astype(object), wanted or "category"
    if pd.api.types.is_complex_dtype(dtype):
        raise UserError(f"column {name!r} must hold real numbers; it has complex ones")
    if isinstance(dtype, pd.PeriodDtype):
        return Column(column.dt.start_time)
    if pd.api.types.is_timedelta64_dtype(dtype):
        return _hours(column)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype):
        return _as_category(column, plain) if wanted == "category" else Column(column)
    if pd.api.types.is_numeric_dtype(dtype):
        return _of_numbers(column, wanted, plain, options)
    present = column.dropna()
    kinds = set(map(type, present))
    if not kinds <= {str} and wanted is None and (typed := _of_objects(column, present, kinds)) is not None:
        return typed
    return _of_texts(column, kinds, wanted, options, plain, hint, letters)


def _of_objects(column: pd.Series, present: pd.Series, kinds: set[type]) -> Column | None:
    """Read Python's own values of one meaning; None where texts are among them, or several meanings."""
    if any(issubclass(kind, list | dict | set | tuple | np.ndarray) for kind in kinds):
        raise UserError(
            f"column {column.name!r} must hold single values; row {int(np.argmax(column.notna())) + 1} has an array or "
            "an object: leave it out, or make columns of its parts"
        )
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return Column(column)
    if kinds & {bool, np.bool_} and all(category_key(x) in ("true", "false", "0", "1") for x in present):
        return Column(column.map(bool, na_action="ignore"))
    if all(issubclass(kind, int | float | Decimal | np.integer | np.floating) and kind is not bool for kind in kinds):
        floats = pd.Series([np.nan if pd.isna(x) else float(x) for x in column], column.index, np.float64, column.name)
        whole = all(issubclass(kind, int | np.integer) for kind in kinds) and len(present) == len(column)
        if whole and max(map(abs, present)) < 2**63:
            return _of_numbers(column.astype(np.int64), None, PLAIN, ReadingOptions())
        return Column(floats)
    if all(issubclass(kind, time | timedelta | np.timedelta64) for kind in kinds):
        return _hours(column)
    if all(issubclass(kind, date | np.datetime64 | pd.Period) for kind in kinds):
        return Column(_dates([np.nan if pd.isna(value) else days_since_epoch(value) for value in column], column))
    return None


def _of_numbers(column: pd.Series, wanted: ColumnType | None, plain: Reading, options: ReadingOptions) -> Column:
    name, present = str(column.name), column.dropna()
    if wanted == "category":
        return _as_category(column, plain)
    if wanted == "boolean":
        if not set(present.unique()) <= {0, 1}:
            raise UserError(f"column {name!r} must hold 0 and 1 to be boolean; it has {present.max()}")
        return Column(column.astype("boolean"))
    if pd.api.types.is_float_dtype(column.dtype):
        infinite = np.isinf(column.to_numpy(np.float64, na_value=np.nan))
        if infinite.any():
            note = _odd_note(name, "a finite number", _named(column, infinite), int(infinite.sum()), len(present))
            return Column(column.mask(infinite), plain, (note,))
        return Column(column)
    if not len(present):
        return Column(column)
    low, high = int(present.min()), int(present.max())
    big = max(-low, high) > 2**53 and not NANOSECONDS[0] < low <= high < NANOSECONDS[1]
    if big and wanted != "number":
        note = f"{name!r} holds whole numbers of more digits than a number keeps: read as codes, that is categories"
        return replace(_as_category(column, plain), notes=(note,))
    given = options.date_formats.get(name)
    if wanted == "date" or given or (wanted is None and _FIRST_DATE <= low <= high <= _LAST_DATE):
        texts = texts_of(present.astype(str), frozenset())
        dates = infer_dates(name, texts, given or "%Y%m%d")
        certain = dates is not None and not np.isnan(dates.days).any() and len(present) >= LEAST_DATES
        if dates is not None and (certain or wanted == "date" or given):
            days = pd.Series(texts.spread(dates.days), present.index).reindex(column.index)
            note = (
                f"{name!r} holds dates as {dates.reading.date_format}, such as {texts.texts[0]} (--types {name}=number)"
            )
            return Column(_dates(days, column), dates.reading, (note,))
        if wanted == "date":
            raise UserError(
                f"column {name!r} must hold dates; row 1 has {present.iloc[0]}: give --date-format {name}=..."
            )
    return Column(column)


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
    # Values of other types as texts first: 1 and True are equal to pandas.
    cells = column if kinds <= {str} else column.map(_text, na_action="ignore")
    texts = texts_of(cells, plain.missing_texts)
    if wanted == "category" or not texts.texts:
        return _of_categories(column, texts, plain, letters)
    words = {text.casefold() for text in texts.texts}
    if wanted == "boolean" or words <= {"true", "false"}:
        if not words <= TRUE_TEXTS | FALSE_TEXTS:
            odd = next(text for text in texts.texts if text.casefold() not in TRUE_TEXTS | FALSE_TEXTS)
            raise UserError(f"column {name!r} must hold true and false to be boolean; it has {odd!r}")
        values = np.array([text.casefold() in TRUE_TEXTS for text in texts.texts], object)
        return Column(_spread(values, texts, column), plain)
    notes: tuple[str, ...] = ()
    if wanted in (None, "number") and (wanted or not are_number_codes(texts.texts)):
        numbers = infer_numbers(texts, options.decimal, hint)
        if numbers is not None:
            return _numbers_column(column, texts, numbers, plain, wanted)
    elif wanted is None:
        code = next((text for text in texts.texts if text[0] == "0"), texts.texts[0])
        notes = (f"{name!r} holds codes such as {code!r}: read as categories (--types {name}=number overrides it)",)
    if wanted in (None, "time") and not notes and (hours := infer_hours(texts)) is not None:
        return _numbers_column(column, texts, hours, plain, wanted)
    if wanted in (None, "date") and not notes:
        given = options.date_formats.get(name)
        dates = infer_dates(name, texts, given or options.date_formats.get(""))
        if dates is None and not given and options.date_formats:
            dates = infer_dates(name, texts)
        if dates is not None:
            return _dates_column(column, texts, dates, plain, wanted)
        if given:
            raise UserError(
                f"column {name!r} must hold dates as {given}; row {texts.rows[0] + 1} has {texts.texts[0]!r}"
            )
    if wanted is not None:
        raise UserError(f"column {name!r} must hold {wanted}s; row {texts.rows[0] + 1} has {texts.texts[0]!r}")
    read = _of_categories(column, texts, plain, letters)
    return replace(read, notes=(*notes, *read.notes))


def _numbers_column(
    column: pd.Series, texts: Texts, numbers: Numbers, plain: Reading, wanted: ColumnType | None
) -> Column:
    name, reading = str(column.name), numbers.reading
    kind = "a time" if reading.clock else "a number"
    missing, notes = _odd(name, kind, texts, np.isnan(numbers.values), wanted)
    reading = replace(reading, missing=(*plain.missing, *missing), markers=plain.markers)
    if numbers.example is not None:
        text, number = numbers.example
        unit = " hours" if reading.clock else ""
        also = f" (--decimal '{'.' if reading.decimal == ',' else ','}' reads otherwise)" if numbers.ambiguous else ""
        notes = (f"{name!r} is read as numbers: {text!r} is {number:.15g}{unit}{also}", *notes)
    values = pd.Series(texts.spread(numbers.values), column.index, np.float64, name=column.name)
    return Column(values, reading, notes)


def _dates_column(column: pd.Series, texts: Texts, dates: Dates, plain: Reading, wanted: ColumnType | None) -> Column:
    name, reading = str(column.name), dates.reading
    missing, notes = _odd(name, "a date", texts, np.isnan(dates.days), wanted)
    reading = replace(reading, missing=(*plain.missing, *missing), markers=plain.markers)
    if reading.date_format:
        at = int(np.argmax(~np.isnan(dates.days)))
        day = iso_time(dates.days[at])[:10]
        notes = (f"{name!r} is read as dates in the format {reading.date_format}: {texts.texts[at]!r} is {day}", *notes)
    return Column(_dates(texts.spread(dates.days), column), reading, notes)


def _of_categories(column: pd.Series, texts: Texts, plain: Reading, letters: bool) -> Column:
    """Read categories without blanks around them; spellings that differ by capital letters alone are one."""
    keys = [category_key(text) for text in texts.texts]
    folded: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        folded.setdefault(key.casefold(), []).append(i)
    merged = []
    for places in folded.values():
        spellings = list(dict.fromkeys(keys[i] for i in places))
        # Single letters are codes, in which the case may mean something.
        if len(spellings) > 1 and (letters or len(spellings[0]) > 1):
            most = max(places, key=lambda i: (texts.counts[i], -i))
            merged.append(f"{keys[most]!r} and {next(s for s in spellings if s != keys[most])!r}")
            for i in places:
                keys[i] = keys[most]
    more = f", {merged[1]}" + (" and so on" if len(merged) > 2 else "") if len(merged) > 1 else ""
    name = str(column.name)
    notes = (f"in {name!r} {merged[0]}{more} are one category",) if merged else ()
    if texts.trimmed:
        notes = (*notes, f"in {name!r} blanks around texts such as {texts.trimmed!r} are passed over")
    return Column(_spread(np.array(keys, object), texts, column), plain, notes)


def _as_category(column: pd.Series, plain: Reading) -> Column:
    """Read typed values as categories."""
    values = [None if missing else category_key(value) for value, missing in zip(column, column.isna(), strict=True)]
    return Column(pd.Series(values, column.index, "str", name=column.name), plain)


def _odd(
    name: str, kind: str, texts: Texts, odd: np.ndarray[Any, np.dtype[np.bool_]], wanted: ColumnType | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts of odd cells, which count as missing, and a note that names them.

    Raises:
        UserError: too many of them, unless they are words for a missing value or the type is given.
    """
    if not odd.any():
        return (), ()
    count, strange = texts.count(odd), texts.count(odd & ~texts.is_marker())
    places = np.flatnonzero(odd)[np.argsort(texts.rows[odd], kind="stable")]
    named = [(int(texts.rows[i]), texts.texts[i]) for i in places]
    if strange > max(1.0, MOST_ODD * texts.present) and wanted is None:
        row, text = next((row, text) for row, text in named if not texts.only(texts.rows == row).is_marker().any())
        what = {"a number": "numbers", "a date": "dates", "a time": "times"}[kind]
        kept = {"a number": "number", "a date": "date", "a time": "time"}[kind]
        raise UserError(
            f"column {name!r} is nearly all {what}, but {strange:,} of {texts.present:,} cells "
            f"({strange / texts.present:.1%}) are not, such as {text!r} in row {row + 1}: mend them, or give "
            f"--types {name}={kept} (they count as "
            f"missing) or {name}=category"
        )
    return tuple(texts.texts[i] for i in places[:KEPT]), (_odd_note(name, kind, named, count, texts.present),)


def _odd_note(name: str, kind: str, named: Iterable[tuple[int, Any]], count: int, present: int) -> str:
    listed = list(named)[:NAMED]
    shown = ", ".join(f"{value!r} in row {row + 1}" for row, value in listed) + (", ..." if count > len(listed) else "")
    if count == 1:
        return f"in {name!r} 1 cell that is not {kind} counts as missing: {shown}"
    return f"in {name!r} {count:,} of {present:,} cells are not {kind} and count as missing: {shown}"


def _named(column: pd.Series, chosen: Any) -> list[tuple[int, Any]]:
    return [(int(i), float(column.iloc[i])) for i in np.flatnonzero(chosen)[:NAMED]]


def _text(value: Any) -> str:
    """Return the text of a value of any type."""
    if isinstance(value, date | time):
        return value.isoformat()
    return category_key(value)


def _hours(column: pd.Series) -> Column:
    """Read times of day and durations as hours."""
    hours = [np.nan if pd.isna(value) else hours_of_value(value) for value in column.astype(object)]
    note = f"{str(column.name)!r} holds durations or times of day: read as hours"
    return Column(pd.Series(hours, column.index, np.float64, name=column.name), Reading(clock=True), (note,))


def _dates(days: Any, column: pd.Series) -> pd.Series:
    """Return days since 1970 as times in UTC, to the microsecond."""
    micros = np.asarray(days, np.float64) * 86_400e6
    missing = np.isnan(micros)
    moments = np.rint(np.where(missing, 0.0, micros)).astype("datetime64[us]")
    moments[missing] = np.datetime64("NaT")
    return pd.Series(moments, column.index, name=column.name)


def _spread(values: Any, texts: Texts, column: pd.Series) -> pd.Series:
    """Spread a value for each text over the rows, None where it is missing."""
    words = len(values) and not isinstance(values[0], bool)
    spread = np.append(values, np.array([None], object))[texts.codes]
    return pd.Series(spread, column.index, "str" if words else object, name=column.name)


def reading_options(settings: Mapping[str, Any], columns: Collection[str]) -> ReadingOptions:
    """Collect what the settings of a fit say about the columns of a table.

    Args:
        settings: with or without the keys decimal, date_format, missing and types.
        columns: the table's.

    Raises:
        UserError: a type that there is not.
    """
    everywhere, only = [], {}
    for entry in settings.get("missing") or ():
        name, sign, texts = entry.partition("=")
        if sign and name in columns:
            only[name] = tuple(filter(None, texts.split("|")))
        else:
            everywhere.append(entry)
    replaced = settings.get("missing") is not None and (everywhere or not only)
    return ReadingOptions(
        decimal=settings.get("decimal"),
        date_formats={name: readable_format(text) for name, text in settings.get("date_format") or ()},
        missing=tuple(everywhere) if replaced else None,
        missing_in=only,
        types=given_types(settings.get("types") or ()),
    )


def given_types(entries: Iterable[tuple[str, str]]) -> dict[str, ColumnType]:
    """Map columns to types, of pairs as an option gives them.

    Raises:
        UserError: a type that is none.
    """
    aliases = {
        "numeric": "number",
        "categorical": "category",
        "datetime": "date",
        "bool": "boolean",
        "text": "category",
    }
    types: dict[str, ColumnType] = {}
    for name, kind in entries:
        kind = aliases.get(kind, kind)
        if kind not in get_args(ColumnType):
            raise UserError(f"the type of {name!r} must be one of {', '.join(get_args(ColumnType))}; got {kind!r}")
        types[name] = kind  # type: ignore[assignment]
    return types
