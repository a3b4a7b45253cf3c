"""Turn one raw value of a row into a number, or say what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from eigenserve.model.rows.moments import days_of, formatted_moment, hours_of_value, iso_moment, plain_text
from eigenserve.model.rows.readings import FALSE_TEXTS, PLAIN, TRUE_TEXTS, Reading

Kind = Literal["numeric", "boolean", "datetime", "categorical"]

SECONDS_PER_DAY = 86_400.0
_NUMBER_RULE = "must be a number or null"
_DATE_RULE = "must be a date or time in ISO 8601, or null"
_INFINITE = "must be a finite number; got an infinity or a number beyond float64"
_DECIMAL = re.compile(r"(-?)([0-9]*)\.([0-9]+)")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_EXPONENT = re.compile(r"-?[1-9](\.[0-9]+)?[eE]([+-]?)([0-9]{1,3})")
#: Numbers that programs write with an exponent; 2E3 is a code. From the second on where the exponent has no sign.
_LEAST_EXPONENT, _LEAST_UNSIGNED = 4, 15
#: Half of the last digit of the decimals that pandas writes in JSON.
_JSON_DIGITS = 0.5e-10


def category_key(value: object) -> str:
    """Return the text under which a category is stored, whatever type a format gives it.

    3, 3.0, "3" and " 3.0" are one, and so are 1.5 and "1.50", 1e-7 and "1e-07", True and "true", a midnight and its
    date, a moment in any zone, which is in UTC, and texts that differ by what is not seen (``plain_text``).
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, Decimal) and value.is_finite():
        value = f"{value:f}"
    if isinstance(value, timedelta | np.timedelta64):
        value = _duration(value)
    if isinstance(value, float | np.floating):
        if float(value).is_integer() and abs(float(value)) < 2**63:
            return str(int(value))
        # Without an exponent, as files have small numbers.
        value = np.format_float_positional(value, trim="-")
    text = plain_text(str(value))
    if (power := _EXPONENT.fullmatch(text)) and _is_float(*power.groups()):
        return category_key(float(text))
    if number := _DECIMAL.fullmatch(text):
        fraction = number[3].rstrip("0")
        return f"{number[1]}{number[2] or 0}{'.' if fraction else ''}{fraction}"
    if moment := _MOMENT.fullmatch(text):
        if moment[5] and moment[5].strip("Z+-0:"):
            return _in_utc(text)
        fraction = (moment[4] or "").rstrip("0")
        clock = f"{moment[2]}:{moment[3] or '00'}{'.' if fraction else ''}{fraction}"
        return moment[1] if clock == "00:00:00" else f"{moment[1]} {clock}"
    return text


def _duration(value: timedelta | np.timedelta64) -> str:
    """Write a duration as pandas does, to the microsecond: 1 days 02:03:04."""
    micros = value.astype("timedelta64[us]").item() if isinstance(value, np.timedelta64) else value
    sign = "+" if micros.days < 0 else ""
    clock = str(timedelta(0, micros.seconds, micros.microseconds))
    return f"{micros.days} days {sign}{clock if clock[1] != ':' else f'0{clock}'}"


def _is_float(fraction: str | None, sign: str, exponent: str) -> bool:
    """Return whether a program wrote a number with this exponent, as 1e-07, 1e+16, 1e16 and 1.0E7 are."""
    return bool(fraction) or int(exponent) >= (_LEAST_EXPONENT if sign else _LEAST_UNSIGNED)


def _in_utc(text: str) -> str:
    """Return the key of a moment of another zone than UTC."""
    try:
        return category_key(str(datetime.fromisoformat(text).astimezone(UTC)))
    except (ValueError, OverflowError):  # no such day, or beyond the years 1 to 9999
        return text


class CategoryCodes(dict[str, float]):
    """Map texts to the codes of a feature: NaN for a missing value, ``len(categories)`` for an unknown category.

    A text is first looked up as it is, then as ``plain_text`` has it, then as a missing value, then without regard to
    small and capital letters where that leaves one category.
    """

    def __init__(self, categories: Sequence[str], reading: Reading) -> None:
        super().__init__((category, float(code)) for code, category in enumerate(categories))
        self._unknown, self._missing = float(len(categories)), reading.missing_texts
        self._keys: dict[str, float] = {}
        self._folded: dict[str, float] = {}
        for category, code in self.items():
            self._keys.setdefault(category_key(category), code)
        for key, code in self._keys.items():
            folded = key.casefold()
            # Two categories that differ by their letters' size alone: neither may stand for a third spelling.
            self._folded[folded] = code if self._folded.get(folded, code) == code else self._unknown

    def __missing__(self, text: str) -> float:
        stripped = plain_text(text)
        if (code := self.get(stripped)) is not None:
            return code
        if stripped in self._missing:
            return math.nan
        key = category_key(stripped)
        return self._keys.get(key, self._folded.get(key.casefold(), self._unknown))

    def code_of(self, value: Any) -> float:
        """Return the code of a value of any type; a float may have digits that the 32 or 16 bits it had do not say."""
        code = self[value if isinstance(value, str) else category_key(value)]
        if code == self._unknown and isinstance(value, float | np.floating):
            with np.errstate(over="ignore"):
                shorter = (np.float32(value), np.float16(value))
            near = (number for number in shorter if abs(float(number) - float(value)) <= _JSON_DIGITS)
            return next((self[key] for key in map(category_key, near) if self[key] != self._unknown), code)
        return code


#: Of a feature that has no categories.
NO_CODES = CategoryCodes((), PLAIN)


def encode_cell(kind: Kind, codes: CategoryCodes, reading: Reading, value: Any) -> tuple[float, str]:
    """Encode one value: (number, "") or (NaN, what is wrong).

    Arguments are those of ``_encode_cell``; a number that stands for a missing value is NaN here.
    """
    number, fault = _encode_cell(kind, codes, reading, value)
    return (math.nan, fault) if number in reading.sentinels else (number, fault)


def _encode_cell(kind: Kind, codes: CategoryCodes, reading: Reading, value: Any) -> tuple[float, str]:
    """Encode one value as ``encode_cell`` does, without regard to numbers that stand for a missing value.

    Args:
        kind: of its feature.
        codes: of a categorical feature; ``NO_CODES`` of another.
        reading: of the feature's texts.
        value: as JSON, NumPy or pandas give it, or the text of a cell.
    """
    if is_missing(value):
        return math.nan, ""
    if kind == "categorical":
        if isinstance(value, list | dict | tuple | np.ndarray):
            return math.nan, f"must be a text, a number, a boolean or null; got {describe(value)}"
        return codes.code_of(value), ""
    if isinstance(value, str):
        return _encode_text(kind, reading, value)
    if kind == "boolean":
        key = category_key(value)
        if isinstance(value, list | dict | tuple | np.ndarray) or key not in ("true", "false", "1", "0"):
            return math.nan, f"must be true, false or null; got {describe(value)}"
        return float(key in TRUE_TEXTS), ""
    if kind == "datetime":
        try:
            return _days(value, reading), ""
        except ValueError:
            # Of whole numbers that are dates, 0 may stand for none.
            if category_key(value) in reading.missing:
                return math.nan, ""
            return math.nan, f"{_DATE_RULE}; got {describe(value)}"
    if reading.clock and (hours := hours_of_value(value)) is not None:
        return hours, ""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | Decimal | np.integer | np.floating):
        return math.nan, f"{_NUMBER_RULE}; got {describe(value)}"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):  # NumPy's durations are integers to it; Python's decimals may be signals
        return math.nan, f"{_NUMBER_RULE}; got {describe(value)}"
    return (math.nan, _INFINITE) if math.isinf(number) else (number, "")


def _encode_text(kind: Kind, reading: Reading, value: str) -> tuple[float, str]:
    """Encode the text of a cell of a feature that is not categorical."""
    text = plain_text(value)
    if text in reading.missing_texts:
        return math.nan, ""
    if kind == "boolean":
        word = category_key(text).casefold()
        if word not in TRUE_TEXTS | FALSE_TEXTS:
            return math.nan, f"must be true, false or null; got {describe(value)}"
        return float(word in TRUE_TEXTS), ""
    if kind == "datetime":
        try:
            return reading.days(text), ""
        except ValueError:
            if reading.lenient:
                return math.nan, ""
            also = f" or as {reading.date_format}" if reading.date_format else ""
            return math.nan, f"must be a date or time in ISO 8601{also}, or null; got {describe(value)}"
    number = reading.number(text)
    if number is None:
        return math.nan, "" if reading.lenient else f"{_NUMBER_RULE}; got {describe(value)}"
    return (math.nan, _INFINITE) if math.isinf(number) else (number, "")


def _days(value: object, reading: Reading) -> float:
    """Return days since 1970 of a value that is not a text; a whole number may be a date, as 20240131.0 is."""
    number = isinstance(value, int | float | Decimal | np.integer | np.floating) and not isinstance(value, bool)
    if number and reading.date_format:
        digits = formatted_moment(category_key(value), reading.date_format, reading.last_year)
        if digits:
            return days_of(digits)
    return days_since_epoch(value)


def days_since_epoch(value: object) -> float:
    """Convert an ISO 8601 date or datetime to days since 1970-01-01T00:00Z; one without a zone counts as UTC.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    # A period of pandas counts as its beginning.
    value = getattr(value, "start_time", value)
    if isinstance(value, str):
        value = iso_moment(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"not a date or time: {value!r}")
    return days_of(value)


def iso_time(days: float) -> str:
    """Write days since 1970-01-01T00:00Z as ISO 8601, to the microsecond: the inverse of ``days_since_epoch``.

    Beyond the years 1 to 9999 in UTC, where times of other zones may lie, it is the first or the last moment of these.
    """
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(days * SECONDS_PER_DAY, 6))
    except OverflowError:
        moment = (datetime.max if days > 0 else datetime.min).replace(tzinfo=UTC)
    return moment.isoformat()


def short_time(days: float) -> str:
    """Write days since 1970-01-01T00:00Z as ``iso_time`` does, in UTC without saying so, and midnight as its date."""
    return iso_time(days).removesuffix("+00:00").removesuffix("T00:00:00")


def is_missing(value: Any) -> bool:
    """Return whether a value stands for nothing: None, NaN, NaT, or pandas' own marks."""
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    # pandas' own marks for a missing value, recognised by name so that serving needs no pandas.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def describe(value: object) -> str:
    """Describe a received value for a message: short, and in the words of JSON."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple | np.ndarray):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool | np.bool_):
        return category_key(value)
    text = repr(value)
    kind = "the text " if isinstance(value, str) else ""
    return kind + (text if len(text) <= 60 else text[:57] + "...")
