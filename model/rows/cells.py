"""Turn one raw value of a row into a number, or say what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np

Kind = Literal["numeric", "boolean", "datetime", "categorical"]

#: Texts that stand for a missing value in CSV, in training and in requests alike: those of pandas, and the UCI
#: repository's "?".
MISSING_TEXTS = frozenset(
    {
        *("", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)

SECONDS_PER_DAY = 86_400.0
_BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}


def category_key(value: object) -> str:
    """Return the text under which a category is stored: 3, 3.0 and "3" are one category, so are True and "true"."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def encode_cell(kind: Kind, codes: Mapping[str, float], value: Any) -> tuple[float, str]:
    """Encode one value: (number, "") or (NaN, what is wrong).

    Args:
        kind: of its feature.
        codes: of a categorical feature; another category has the code ``len(codes)``.
        value: as JSON, NumPy or pandas give it.
    """
    if is_missing(value):
        return math.nan, ""
    if kind == "categorical":
        if isinstance(value, list | dict | tuple | np.ndarray):
            return math.nan, f"must be a text, a number, a boolean or null; got {describe(value)}"
        return codes.get(category_key(value), float(len(codes))), ""
    if kind == "boolean":
        code = _BOOLEANS.get(category_key(value).lower())
        return (math.nan, f"must be true, false or null; got {describe(value)}") if code is None else (code, "")
    if kind == "datetime":
        try:
            return days_since_epoch(value), ""
        except ValueError:
            return math.nan, f"must be a date or time in ISO 8601, or null; got {describe(value)}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | Decimal | np.integer | np.floating):
        return math.nan, f"must be a number or null; got {describe(value)}"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):  # NumPy's durations are integers to it; Python's decimals may be signals
        return math.nan, f"must be a number or null; got {describe(value)}"
    if math.isinf(number):
        return math.nan, "must be a finite number; got an infinity or a number beyond float64"
    return number, ""


def days_since_epoch(value: object) -> float:
    """Convert an ISO 8601 date or datetime to days since 1970-01-01T00:00Z; one without a zone counts as UTC.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"must be a date or time; got {value!r}")
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / SECONDS_PER_DAY


def iso_time(days: float) -> str:
    """Write days since 1970-01-01T00:00Z as ISO 8601, to the microsecond: the inverse of ``days_since_epoch``.

    Beyond the years 1 to 9999 in UTC, where times of other zones may lie, it is the first or the last moment of these.
    """
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(days * SECONDS_PER_DAY, 6))
    except OverflowError:
        moment = (datetime.max if days > 0 else datetime.min).replace(tzinfo=UTC)
    return moment.isoformat()


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
