"""Read the texts of a column as numbers, dates, booleans or missing values, in every format alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from eigenserve.model.rows.moments import LONGEST, days_of, formatted_moment, hours_of, iso_moment, plain_text
from eigenserve.model.rows.spellings.number_parts import (
    MAGNITUDES,
    NumberText,
    digits_of,
    is_plain_number,
    number_parts,
    range_ends,
)

#: Texts that stand for a missing value in every format: those of pandas, and the UCI repository's "?".
MISSING_TEXTS = frozenset(
    {
        *("", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
TRUE_TEXTS = frozenset({"true", "t", "yes", "y", "1", "on"})
FALSE_TEXTS = frozenset({"false", "f", "no", "n", "0", "off"})
_WHOLE = re.compile(r"([0-9]{6,})\.0+")
#: Digits with single marks between them, and what stands around them.
_DIGITS = re.compile(r"([^0-9]*)([0-9]+(?:[., '][0-9]+)*)((?:[^0-9.,'\u2019].*)?)", re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """Say how the texts of a column are read; values that are not texts are what they are.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: what parts groups of three digits: "", ",", ".", " " or "'".
        affixes: currencies, units and signs such as < and ~ around a number, as ``affix_key`` writes them; they are
            passed over. So is a minus behind it, where "-" is one of them: 50- is a class that begins with 50.
        magnitudes: K, M and B, million, crore and such words behind a number multiply it.
        ranges: texts like 10-19, 10 to 19 or (10, 19] are the middle of their ends.
        clock: texts like 9:30 or 1:23:45, times of day and durations are numbers of hours.
        date_format: of a date as ``strptime`` has it, which a time of day may follow; empty for ISO 8601 alone.
        last_year: the last of the hundred years that two digits stand for; 0 for ``LAST_YEAR``.
        missing: texts that stand for a missing value in this column, in addition to the usual ones.
        markers: whether the usual ones (``MISSING_TEXTS``) do; an empty text always does.
        sentinels: numbers, or days since 1970 of a date, that stand for a missing value however they are written.
        lenient: whether any other text is a missing value; its type was given, or training had more of them than
            ``missing`` could list.
    """

    decimal: str = "."
    thousands: str = ""
    affixes: tuple[str, ...] = ()
    magnitudes: bool = False
    ranges: bool = False
    clock: bool = False
    date_format: str = ""
    last_year: int = 0
    missing: tuple[str, ...] = ()
    markers: bool = True
    sentinels: tuple[float, ...] = ()
    lenient: bool = False

    def __post_init__(self) -> None:
        if self.decimal not in (".", ",") or self.thousands not in ("", ",", ".", " ", "'"):
            raise ValueError(f"marks of numbers must be . or ,; got {self.decimal!r} and {self.thousands!r}")
        if self.decimal == self.thousands:
            raise ValueError(f"the decimal mark and the thousands separator must differ; got {self.decimal!r} for both")

    @cached_property
    def missing_texts(self) -> frozenset[str]:
        """Return all texts that stand for a missing value in this column."""
        given = frozenset(self.missing) | frozenset(map(plain_text, self.missing))
        return (MISSING_TEXTS if self.markers else frozenset({""})) | given

    @cached_property
    def takes_plain(self) -> bool:
        """Return whether a number as programs write it (-1.5e3) means itself."""
        return self.decimal == "." and self.thousands != "." and not self.clock and not self.are_percents

    @cached_property
    def are_percents(self) -> bool:
        """Return whether the numbers are percents, with or without words behind the sign."""
        return any(affix.startswith("%") for affix in self.affixes)

    def number(self, text: str) -> float | None:
        """Return the number that a stripped text stands for; None if it is not one."""
        if len(text) > LONGEST:
            return None
        if self.takes_plain and is_plain_number(text):
            return float(text)
        if self.clock:
            return hours_of(text)
        parts = number_parts(text)
        if parts is None and self.ranges and (ends := range_ends(text)):
            numbers = [self.number_of(end) for end in ends]
            return None if None in numbers else sum(filter(None, numbers)) / 2
        if parts is None:
            # An infinity is a number, though none that a model takes.
            return math.inf if text.casefold().lstrip("+-") in ("inf", "infinity", "∞") else None
        return self.number_of(parts)

    def numbers(self, texts: Iterable[str]) -> list[float | None]:
        """Return what ``number`` does of each text; several times as fast where what stands around digits repeats."""
        plain, digits = self.takes_plain, None if self.clock else _DIGITS
        known: dict[tuple[str, str], _Around | None] = {}
        found: list[float | None] = []
        for text in texts:
            short = len(text) <= LONGEST
            if short and plain and is_plain_number(text):
                found.append(float(text))
            elif short and digits and (match := digits.fullmatch(text)):
                before, body, behind = match.groups()
                if (before, behind) not in known:
                    # Whatever the digits are, the rest means the same, but where it is a mark of theirs.
                    parts = number_parts(f"{before}7{behind}")
                    known[before, behind] = self._around(parts) if parts is not None and parts.body == "7" else None
                around = known[before, behind]
                found.append(self.number(text) if around is None else self._number(body, around))
            else:
                found.append(self.number(text))
        return found

    def number_of(self, parts: NumberText) -> float | None:
        """Return the number of a text that is taken apart; None if its parts are not this column's."""
        around = self._around(parts)
        return None if around is None else self._number(parts.body, around)

    def _around(self, parts: NumberText) -> _Around | None:
        scale, suffix = parts.scale, parts.suffix
        if self.magnitudes and not scale and suffix in MAGNITUDES:
            scale, suffix = suffix, ""
        affixes = (parts.bound, parts.prefix, suffix)
        if (scale and not self.magnitudes) or any(affix and affix not in self.affixes for affix in affixes):
            return None
        sign = "" if parts.trail and "-" in self.affixes else parts.sign
        power = parts.power + (MAGNITUDES[scale] if scale else 0)
        return _Around(sign, power, not parts.suffix and self.are_percents, parts.fraction)

    def _number(self, body: str, around: _Around) -> float | None:
        digits = digits_of(body, self.decimal, self.thousands)
        if digits is None:
            return None
        number = float(f"{around.sign}{digits}e{around.power}")
        if around.fraction:
            if not body.isdigit():
                return None
            number += float(f"{around.sign}1e{around.power}") * around.fraction
        # A share of .5 among percents may be a half or half a percent.
        return None if around.share and number != 0 else number

    def days(self, text: str) -> float:
        """Return days since 1970-01-01T00:00Z of a stripped text; a time without a zone counts as UTC.

        Raises:
            ValueError: it is neither in ISO 8601 nor in the column's format.
        """
        if self.date_format:
            # Where a column of whole numbers has a gap, programs write 20240131.0.
            whole = _WHOLE.fullmatch(text) if len(text) <= LONGEST else None
            moment = formatted_moment(whole[1] if whole else text, self.date_format, self.last_year)
            if moment is not None:
                return days_of(moment)
        return days_of(iso_moment(text))


def reading_of(document: Mapping[str, Any]) -> Reading:
    """Make a reading from its JSON form, in which tuples are lists."""
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
    return Reading(**fields)


#: As programs write numbers, and dates in ISO 8601.
PLAIN = Reading()


class _Around(NamedTuple):
    """Hold what stands around the digits of a number: sign, power of ten, whether it may be a share, and a fraction."""

    sign: str
    power: int
    share: bool
    fraction: float = 0.0
