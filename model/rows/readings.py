"""Read the texts of a column as numbers, dates, booleans or missing values, in every format alike."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

#: Texts that stand for a missing value in every format: those of pandas, and the UCI repository's "?".
MISSING_TEXTS = frozenset(
    {
        *("", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
TRUE_TEXTS = frozenset({"true", "t", "yes", "y", "1", "on"})
FALSE_TEXTS = frozenset({"false", "f", "no", "n", "0", "off"})
#: Signs and codes of currencies, in small letters, that may stand before or behind a number.
CURRENCIES = frozenset(
    {
        *("$", "us$", "a$", "c$", "r$", "nz$", "hk$", "€", "£", "¥", "₹", "₽", "₩", "₺", "₪", "฿", "₫", "₴", "₦"),
        *("usd", "eur", "gbp", "inr", "rs", "chf", "fr", "jpy", "cny", "rmb", "aud", "cad", "nzd", "sek", "nok", "dkk"),
        *("kr", "zł", "pln", "brl", "kč", "czk", "huf", "rub", "zar", "mxn", "sgd", "hkd"),
    }
)
#: Letters behind a number that multiply it, as powers of ten.
MAGNITUDES = {"k": 3, "m": 6, "mn": 6, "mio": 6, "b": 9, "bn": 9, "t": 12}
SECONDS_PER_HOUR = 3600.0

#: Dashes that stand for a minus, and blanks that a spreadsheet or a typesetter writes.
_PLAINER = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " "})
_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SIGNS = "$€£¥₹₽₩₺₪฿₫₴₦"
_NUMBER = re.compile(
    r"(?P<open>\()?\s*(?P<sign>[+-])?\s*"
    rf"(?P<prefix>[^\W\d_]{{0,3}}[{_SIGNS}]|[^\W\d_]{{2,3}}\.?)?\s*(?P<inner>[+-])?\s*"
    r"(?P<body>(?:[0-9][0-9.,'’ ]*)?[0-9][.,]?|[.,][0-9]+)(?P<exponent>[eE][+-]?[0-9]+)?"
    rf"(?:\s*(?P<suffix>[%‰°+*\"{_SIGNS}]|[^\W\d_][^\d@:]{{0,15}}[23]?))?(?P<trail>-)?\s*(?P<close>\))?"
)
_CLOCK = re.compile(
    r"(?P<sign>[+-])?(?:(?P<days>[0-9]+) days?,? ?(?:\+ ?)?)?(?P<hours>[0-9]{1,4}):(?P<minutes>[0-5][0-9])"
    r"(?::(?P<seconds>[0-5][0-9](?:\.[0-9]+)?))?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = re.compile(r" ?(?:(?P<utc>Z|UTC|GMT)|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))$")


@dataclass(frozen=True)
class Reading:
    """Say how the texts of a column are read; values that are not texts are what they are.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: what parts groups of three digits: "", ",", ".", " " or "'".
        affixes: currencies and units around a number, as ``affix_key`` writes them; they are passed over.
        magnitudes: K, M and B behind a number multiply it.
        clock: texts like 9:30 or 1:23:45, times of day and durations are numbers of hours.
        date_format: of a date as ``strptime`` has it, which a time of day may follow; empty for ISO 8601 alone.
        missing: texts that stand for a missing value in this column, in addition to the usual ones.
        markers: whether the usual ones (``MISSING_TEXTS``) do; an empty text always does.
    """

    decimal: str = "."
    thousands: str = ""
    affixes: tuple[str, ...] = ()
    magnitudes: bool = False
    clock: bool = False
    date_format: str = ""
    missing: tuple[str, ...] = ()
    markers: bool = True

    def __post_init__(self) -> None:
        if self.decimal not in (".", ",") or self.thousands not in ("", ",", ".", " ", "'"):
            raise ValueError(f"marks of numbers must be . or ,; got {self.decimal!r} and {self.thousands!r}")
        if self.decimal == self.thousands:
            raise ValueError(f"the decimal mark and the thousands separator must differ; got {self.decimal!r} for both")

    @cached_property
    def missing_texts(self) -> frozenset[str]:
        """Return all texts that stand for a missing value in this column."""
        return (MISSING_TEXTS if self.markers else frozenset({""})) | frozenset(self.missing)

    @cached_property
    def takes_plain(self) -> bool:
        """Return whether a number as programs write it (-1.5e3) means itself."""
        return self.decimal == "." and self.thousands != "." and not self.clock and "%" not in self.affixes

    def number(self, text: str) -> float | None:
        """Return the number that a stripped text stands for; None if it is not one."""
        if self.takes_plain and _PLAIN.fullmatch(text):
            return float(text)
        if self.clock:
            return hours_of(text)
        parts = split_number(text)
        if parts is None:
            # An infinity is a number, though none that a model takes.
            return math.inf if text.casefold().lstrip("+-") in ("inf", "infinity", "∞") else None
        return self.number_of(parts)

    def number_of(self, parts: NumberText) -> float | None:
        """Return the number of a text that is taken apart; None if its parts are not this column's."""
        power = 0
        for affix in (parts.prefix, parts.suffix):
            if self.magnitudes and affix in MAGNITUDES and affix == parts.suffix:
                power = MAGNITUDES[affix]
            elif affix and affix not in self.affixes:
                return None
        digits = digits_of(parts.body, self.decimal, self.thousands)
        if digits is None:
            return None
        number = float(f"{parts.sign}{digits}e{parts.power + power}")
        bare = not parts.suffix and number != 0
        # A share of .5 among percents may be a half or half a percent.
        return None if bare and "%" in self.affixes else number

    def days(self, text: str) -> float:
        """Return days since 1970-01-01T00:00Z of a stripped text; a time without a zone counts as UTC.

        Raises:
            ValueError: it is neither in ISO 8601 nor in the column's format.
        """
        if self.date_format:
            moment = formatted_moment(text, self.date_format)
            if moment is not None:
                return days_of(moment)
        return days_of(datetime.fromisoformat(text))


#: As programs write numbers, and dates in ISO 8601.
PLAIN = Reading()


class NumberText(NamedTuple):
    """Hold the parts of a text that has the shape of a number."""

    sign: str
    prefix: str
    body: str
    power: int
    suffix: str


def is_plain_number(text: str) -> bool:
    """Return whether a text is a number as programs write it."""
    return _PLAIN.fullmatch(text) is not None


def affix_key(text: str) -> str:
    """Return a currency or unit as ``Reading.affixes`` has it: "Rs." and "rs" are one, years and year."""
    key = text.strip().rstrip(".").casefold()
    return key[:-1] if len(key) > 2 and key.endswith("s") else key


@lru_cache(1024)
def split_number(text: str) -> NumberText | None:
    """Take a text apart around its digits; None if it has not the shape of a number."""
    match = _NUMBER.fullmatch(text.translate(_PLAINER).strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    prefix = affix_key(match["prefix"] or "")
    if prefix and prefix not in CURRENCIES:
        return None
    minuses = [match["sign"] == "-", match["inner"] == "-", bool(match["trail"])]
    if sum(minuses) > 1:
        return None
    power = int(match["exponent"][1:]) if match["exponent"] else 0
    body = match["body"].replace("’", "'")
    return NumberText(
        "-" if match["open"] or any(minuses) else "", prefix, body, power, affix_key(match["suffix"] or "")
    )


@lru_cache(64)
def _marked(decimal: str, thousands: str) -> re.Pattern[str]:
    point, mark = re.escape(decimal), re.escape(thousands)
    simple = rf"[0-9]+{point}?[0-9]*|{point}[0-9]+"
    # Two digits between marks: 1,23,456 in India. Thousands begin with a digit that counts: 0,123 is a fraction.
    grouped = rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}(?:{point}[0-9]*)?"
    return re.compile(f"{simple}|{grouped}" if thousands else simple)


def digits_of(body: str, decimal: str, thousands: str) -> str | None:
    """Return digits with these marks as ``float`` reads them; None if the marks stand where they cannot."""
    if _marked(decimal, thousands).fullmatch(body) is None:
        return None
    if thousands:
        body = body.replace(thousands, "")
    return body.replace(decimal, ".")


def hours_of(text: str) -> float | None:
    """Return the hours of a time of day or a duration: 9:30, 9:30 pm, 2 days 03:00:00; None for other texts."""
    match = _CLOCK.fullmatch(text.translate(_PLAINER))
    if match is None:
        return None
    hours = int(match["hours"])
    if match["half"]:
        if not 1 <= hours <= 12 or match["days"]:
            return None
        hours = hours % 12 + (12 if match["half"] in "Pp" else 0)
    seconds = 3600 * (24 * int(match["days"] or 0) + hours) + 60 * int(match["minutes"]) + float(match["seconds"] or 0)
    return (-seconds if match["sign"] == "-" else seconds) / SECONDS_PER_HOUR


def formatted_moment(text: str, date_format: str) -> datetime | None:
    """Read a date in a format of ``strptime``, with or without a time of day behind it; None for other texts."""
    try:
        return datetime.strptime(text, date_format)
    except ValueError:
        pass
    words, count = re.split(r"[ T]+", text.translate(_PLAINER)), len(date_format.split(" "))
    if len(words) <= count or "%H" in date_format or "%I" in date_format:
        return None
    rest = " ".join(words[count:])
    zone = _ZONE.search(rest)
    hours = hours_of(rest[: zone.start()] if zone else rest)
    try:
        day = datetime.strptime(" ".join(words[:count]), date_format)
    except ValueError:
        return None
    if hours is None or not 0 <= hours < 24:
        return None
    moment = day + timedelta(seconds=round(hours * SECONDS_PER_HOUR, 6))
    if zone is None:
        return moment
    shift = timedelta(hours=int(zone["hours"] or 0), minutes=int(zone["minutes"] or 0))
    return (moment + shift if zone["sign"] == "-" else moment - shift).replace(tzinfo=UTC)


def days_of(moment: datetime) -> float:
    """Return days since 1970-01-01T00:00Z; a time without a zone counts as UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86_400.0


def hours_of_value(value: object) -> float | None:
    """Return the hours of a time of day or a duration as Python, NumPy or pandas have them; None for other values."""
    if isinstance(value, time):
        seconds = 3600 * value.hour + 60 * value.minute + (value.second + value.microsecond / 1e6)
        return seconds / SECONDS_PER_HOUR
    if isinstance(value, np.timedelta64):
        return float(value / np.timedelta64(1, "us")) / 1e6 / SECONDS_PER_HOUR
    return value.total_seconds() / SECONDS_PER_HOUR if isinstance(value, timedelta) else None
