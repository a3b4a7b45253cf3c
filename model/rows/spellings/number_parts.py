"""Take texts that have the shape of a number apart: sign, digits, currency, unit, magnitude, and ranges."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from eigenserve.model.rows.moments import LONGEST, PLAINER

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
#: Ordinals, which are one unit.
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
#: Currencies of two letters, which a letter of a magnitude before them makes an abbreviation of something else.
_SHORT = frozenset(word for word in CURRENCIES if len(word) == 2 and word.isalpha()) - {"kr"}
#: What follows an hour is not a unit.
_HALVES = frozenset({"am", "pm", "a.m", "p.m"})
_BRACKETS = re.compile(r"[\[(](?P<inner>.+)[\])]")
_RANGE = re.compile(r"(?P<low>.*(?:[^\s-]|[.,]--?))\s*(?:-|\bto\b|\bbis\b)\s*(?P<high>[^\s-].*)", re.IGNORECASE)


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
