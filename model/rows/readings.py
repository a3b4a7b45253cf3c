"""Read the texts of a column as numbers, dates, booleans or missing values, in every format alike."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from eigenserve.model.rows.moments import LONGEST, PLAINER, days_of, formatted_moment, hours_of, iso_moment, plain_text

#: Texts that stand for a missing value in every format: those of pandas, and the UCI repository's "?".
MISSING_TEXTS = frozenset(
    {
        *("", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
TRUE_TEXTS = frozenset({"true", "t", "yes", "y", "1", "on"})
FALSE_TEXTS = frozenset({"false", "f", "no", "n", "0", "off"})
_CURRENCIES = (
    "$ us$ usd$ a$ au$ c$ ca$ r$ nz$ hk$ s$ nt$ mx$ € £ ¥ ₹ ₽ ₩ ₺ ₪ ฿ ₫ ₴ ₦ ₱ ₡ ₸ ৳ ₨ ₲ ₭ ₮ ₼ ₾ ₵ ៛ ﷼ s/ b/ rs "
    "fr sfr kr zł kč rp rm ksh tk dh lei leu dollar euro 円 元 usd eur gbp inr chf jpy cny rmb aud cad nzd sek "
    "nok dkk pln brl czk huf rub zar mxn sgd hkd aed ars bdt bgn bhd byn clp cop crc dop dzd egp ghs idr ils "
    "iqd isk jod kes krw kwd kzt lkr ngn omr php pkr qar ron rsd sar thb tnd twd tzs uah ugx uyu vnd xaf xof "
    "zmw"
)
#: Signs and codes of currencies, in small letters, that may stand before or behind a number; codes that are also words,
#: such as TRY and TOP, are units like others.
CURRENCIES = frozenset(_CURRENCIES.split())
#: Letters and words behind a number that multiply it, as powers of ten.
MAGNITUDES = {
    **{"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9, "t": 12, "cr": 7, "¢": -2, "p": -2},
    **{"thousand": 3, "tsd": 3, "tausend": 3, "lakh": 5, "lac": 5, "crore": 7, "trillion": 12},
    **{"million": 6, "millionen": 6, "millone": 6, "milioni": 6, "milione": 6, "mio": 6, "mln": 6, "mill": 6},
    **{"千": 3, "万": 4, "만": 4, "億": 8, "亿": 8, "억": 8},
    **{"billion": 9, "milliarde": 9, "milliarden": 9, "milliard": 9, "miliardi": 9, "mrd": 9, "mld": 9},
}
#: Magnitudes of more letters are words, which mean nothing else.
LONGEST_LETTERS = 2
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"([0-9]{6,})\.0+")
_SIGNS = "$€£¥₹₽₩₺₪฿₫₴₦₱₡₸৳₨₲₭₮₼₾₵៛﷼"
#: Fractions that are one sign, and a letter: neither such a sign nor a small or circled digit.
_FRACTIONS = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_LETTER = r"[^\W\d_²³¹¼-¾⁰-₉⅐-⅟①-⓿❶-➓]"
_WITH_FRACTION = re.compile(rf"((?:.*[^0-9.,'’ ] ?)?)([0-9]*) ?([{_FRACTIONS}])([^0-9]*)")
#: The last are those of body surface: mL/min/1.73m2.
_UNIT = rf"{_LETTER}[^\d@:]{{0,15}}(?:[23]|/ ?1[.,]73 ?m\^?[2²])?"
_NUMBER = re.compile(
    r"(?:(?P<bound>[<>]=?|[≤≥~≈]|(?:[Cc]a|[Cc]irca|[Aa]pprox|[Aa]bout)\b\.?)\s*)?"
    r"(?P<open>\()?\s*(?P<sign>[+-])?\s*"
    rf"(?P<prefix>(?:{_LETTER}{{1,5}}(?:/\.?|\.)?)? ?[{_SIGNS}]|{_LETTER}{{1,5}}(?:/\.?|\.)?)?\s*(?P<inner>[+(-])?\s*"
    # A dash behind the decimal mark is written for no cents: 15,- or CHF 15.--
    r"(?P<body>(?:[0-9][0-9.,'’ ]*)?[0-9][.,]?|[.,][0-9]+)(?:(?P<exponent>[eE][+-]?[0-9]+)|(?<=[.,])--?)?"
    r"(?P<shut>\s*\))?"
    rf"(?:\s*(?P<suffix>[+*\"]|/[-=]|[%‰°℃℉¢{_SIGNS}](?:(?: ?/ ?| )?{_UNIT})?|(?:/ ?)?{_UNIT}))?"
    r"(?P<trail>-)?\s*(?P<close>\))?"
)
#: Digits with single marks between them, and what stands around them.
_DIGITS = re.compile(r"([^0-9]*)([0-9]+(?:[., '][0-9]+)*)((?:[^0-9.,'\u2019].*)?)", re.DOTALL)
#: Ordinals, which are one unit.
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
#: Currencies of two letters, which a letter of a magnitude before them makes an abbreviation of something else.
_SHORT = frozenset(word for word in CURRENCIES if len(word) == 2 and word.isalpha()) - {"kr"}
#: What follows an hour is not a unit.
_HALVES = frozenset({"am", "pm", "a.m", "p.m"})
_BRACKETS = re.compile(r"[\[(](?P<inner>.+)[\])]")
_RANGE = re.compile(r"(?P<low>.*(?:[^\s-]|[.,]--?))\s*(?:-|\bto\b|\bbis\b)\s*(?P<high>[^\s-].*)", re.IGNORECASE)


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
        if self.takes_plain and _PLAIN.fullmatch(text):
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
            if short and plain and _PLAIN.fullmatch(text):
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


class NumberText(NamedTuple):
    """Hold the parts of a text that has the shape of a number."""

    sign: str
    prefix: str
    body: str
    power: int
    suffix: str
    bound: str = ""
    scale: str = ""
    trail: bool = False
    fraction: float = 0.0

    @property
    def is_known(self) -> bool:
        """Return whether no word or sign but a currency stands before the number."""
        return not self.prefix or self.prefix in CURRENCIES


def is_plain_number(text: str) -> bool:
    """Return whether a text is a number as programs write it."""
    return _PLAIN.fullmatch(text) is not None


def affix_key(text: str) -> str:
    """Return a currency or unit as ``Reading.affixes`` has it: "Rs." and "rs" are one, years and year, 1st and 4th."""
    key = text.strip().rstrip(".").casefold().replace("/ ", "/").replace(" /", "/")
    if key in _ORDINALS:
        return "th"
    return key[:-1] if len(key) > 2 and key.endswith("s") and key not in CURRENCIES else key


def split_number(text: str) -> NumberText | None:
    """Take a text apart around its digits; None if it has not the shape of a number, or another word before it."""
    parts = number_parts(text)
    return parts if parts is None or parts.is_known else None


def number_parts(text: str) -> NumberText | None:
    """Take a text apart as ``split_number``, whatever word or sign stands before it."""
    # Longer texts are neither kept by a cache nor matched; nor are blanks in a row, which a pattern could share out
    # among its parts in very many ways.
    return None if len(text) > LONGEST else _split_number(" ".join(text.translate(PLAINER).split()))


@lru_cache(1024)
def _split_number(text: str) -> NumberText | None:
    if not text.isascii() and (with_fraction := _WITH_FRACTION.fullmatch(text)):
        before, whole, sign, behind = with_fraction.groups()
        parts = _split_number(f"{before}{whole or 0}{behind}")
        fits = parts is not None and parts.body == (whole or "0") and not parts.power
        return parts._replace(fraction=unicodedata.numeric(sign)) if parts and fits else None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    opened = [bool(match["open"]), match["inner"] == "("]
    closed = [bool(match["shut"]), bool(match["close"])]
    minuses = [match["sign"] == "-", match["inner"] == "-", bool(match["trail"])]
    if not sum(opened) == sum(closed) <= 1 or sum(minuses) > 1:
        return None
    suffix, factor, prefix = affix_key(match["suffix"] or ""), "", affix_key(match["prefix"] or "")
    # Behind brackets, letters are a label: (1) yes.
    if suffix in _HALVES or (closed[0] and suffix and suffix not in CURRENCIES and suffix[0] != "%"):
        return None
    if prefix.replace(" ", "") not in CURRENCIES:
        factor, prefix = _scaled(prefix)
    scale, suffix = _scaled(suffix)
    if factor and scale:
        return None
    power = int(match["exponent"][1:]) if match["exponent"] else 0
    body = match["body"].replace("’", "'")
    sign = "-" if any(opened) or any(minuses) else ""
    bound = affix_key(match["bound"] or "")
    return NumberText(sign, prefix.replace(" ", ""), body, power, suffix, bound, factor or scale, minuses[2])


def _scaled(affix: str) -> tuple[str, str]:
    """Part a magnitude from the currency or unit behind it: "mio. €", "k€", "teur", "million people"."""
    head, _, unit = affix.partition(" ")
    if not unit and affix not in CURRENCIES:
        ends = range(1, len(affix))
        # Of two letters only kr: mrs is not a million rupees.
        unit = next((affix[i:] for i in ends if affix[i:] in CURRENCIES and affix[i:] not in _SHORT), "")
        head = affix.removesuffix(unit)
    scale = affix_key(head)
    if unit and MAGNITUDES.get(scale, 0) > 0 and (len(scale) > LONGEST_LETTERS or unit in CURRENCIES):
        # T€ and TEUR are thousands, in German; a trillion has its currency in front.
        return ("tsd" if scale == "t" and unit in CURRENCIES else scale), unit
    return "", affix


def has_unit(text: str) -> bool:
    """Return whether a text is a number with a currency or unit."""
    part = split_number(text)
    return part is not None and bool(part.prefix or part.suffix or part.scale)


def range_ends(text: str) -> tuple[NumberText, NumberText] | None:
    """Take the ends of a range apart, such as 10-19, $10K to $20K or (10, 20]; None for other texts."""
    return None if len(text) > LONGEST else _range_ends(" ".join(text.translate(PLAINER).split()))


@lru_cache(1024)
def _range_ends(plain: str) -> tuple[NumberText, NumberText] | None:
    if brackets := _BRACKETS.fullmatch(plain):
        plain = brackets["inner"].strip().replace(", ", " to ", 1)
    match = _RANGE.fullmatch(plain)
    if match is None or (low := split_number(match["low"])) is None or (high := split_number(match["high"])) is None:
        return None
    # A unit may stand behind the second end alone.
    return (low if low.suffix or low.scale else low._replace(suffix=high.suffix, scale=high.scale)), high


@lru_cache(64)
def _marked(decimal: str, thousands: str) -> re.Pattern[str]:
    point, mark = re.escape(decimal), re.escape(thousands)
    simple = rf"[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+"
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
