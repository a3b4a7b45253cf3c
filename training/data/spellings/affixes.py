"""Choose which currency, unit and signs stand around the numbers of a column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eigenserve.model.rows.readings import CURRENCIES, LONGEST_LETTERS, MAGNITUDES, NumberText

#: A unit in letters is one where so many different numbers have it; else 2WD and 4WD would be numbers.
LEAST_NUMBERS = 10
#: Share of the cells up to which letters behind numbers are slips, as the O of 4500O is.
MOST_SLIPS = 0.01
#: Signs and names of currencies -> the codes that they may stand for; others are codes themselves.
_MEANINGS = {
    **dict.fromkeys(("$", "dollar"), "usd aud cad nzd sgd hkd mxn"),
    "euro": "eur",
    **{"us$": "usd", "a$": "aud", "c$": "cad", "r$": "brl", "nz$": "nzd", "hk$": "hkd", "€": "eur", "£": "gbp"},
    **{"¥": "jpy cny", "rmb": "cny", "₹": "inr", "rs": "inr", "₽": "rub", "fr": "chf", "kr": "sek nok dkk"},
    **{"zł": "pln", "kč": "czk"},
}
#: Letters that may multiply a number or be a unit or name: metres, tonnes, bytes, kelvins, block B; and cents.
_UNCERTAIN = frozenset({"m", "t", "b", "k", "¢"})
#: Digits before the decimal mark of numbers that are large enough for some among them to be written in millions.
LARGE_DIGITS = 4
_DECIMALS = re.compile(r"[.,](?:[0-9]{0,2}|[0-9]{4,})$")
_JOINED, _CAPITAL = re.compile(r"[0-9.,][A-Za-z]\W*$"), re.compile(r"[KMB]\W*$")
#: The parts of a text, the text, and how many rows have it.
Cell = tuple[NumberText, str, int]


@dataclass(frozen=True)
class Affixes:
    """Hold what stands around the numbers of a column.

    Attributes:
        kept: what is passed over, as ``Reading.affixes`` has it.
        magnitudes: K, M and B, and words such as million, multiply the numbers.
        unit: the one of most cells, of those kept; empty if there is none.
    """

    kept: tuple[str, ...]
    magnitudes: bool = False
    unit: str = ""


def affixes_of(cells: Sequence[Cell], given: bool = False) -> Affixes | None:
    """Choose the currency and the unit that most cells have; None where letters there are names.

    Args:
        cells: the parts of a text, the text, and how many rows have it.
        given: letters are units, however few numbers have them.
    """
    suffixes: Counter[str] = Counter()
    for part, _, count in cells:
        suffixes[part.suffix] += count
    bare = suffixes.pop("", 0)
    kept = _one_currency(cells)
    bounds = {part.bound for part, _, _ in cells} - {""}
    if bounds and not given and _numbers_of(cells, None) < LEAST_NUMBERS:
        return None
    kept |= bounds
    scaled = {suffix for suffix in suffixes if suffix in MAGNITUDES}
    words = any(part.scale for part, _, _ in cells) or any(len(scale) > LONGEST_LETTERS for scale in scaled)
    alone = bool(scaled) and not set(suffixes) - scaled - CURRENCIES
    magnitudes = words or (alone and _multiply(cells, scaled, bool(kept - bounds)))
    passed_over = CURRENCIES | scaled if magnitudes else CURRENCIES
    units = [suffix for suffix, _ in suffixes.most_common() if suffix not in passed_over]
    # Units and letters that multiply are judged alike: 4K and 8K are names.
    names = scaled if magnitudes and len(scaled) == 1 and not kept else set(units[:1])
    lettered = set() if words else {name for name in names if name[0].isalpha()}
    if lettered and not given and _numbers_of(cells, min(lettered)) < LEAST_NUMBERS:
        if not _are_slips(suffixes, bare, cells):
            return None
        # They are odd cells of a column of numbers.
        units, magnitudes = [], False
    return Affixes(tuple(sorted(kept | {*units[:1]})), magnitudes, units[0] if units else "")


def _are_slips(suffixes: Counter[str], bare: int, cells: Sequence[Cell]) -> bool:
    """Return whether letters stand behind so few of the numbers, or most have decimals, that none is a name."""
    few = suffixes.total() <= max(1.0, MOST_SLIPS * (bare + suffixes.total())) and bare >= LEAST_NUMBERS
    measured = sum(count for part, _, count in cells if not part.suffix and not part.body.isdigit())
    return few or measured > suffixes.total() + bare - measured


def _one_currency(cells: Sequence[Cell]) -> set[str]:
    """Choose the currency of most cells: the signs and names that may stand for it."""
    codes: Counter[str] = Counter()
    seen: set[str] = set()
    for part, _, count in cells:
        affixes = {part.prefix, part.suffix} & CURRENCIES
        seen |= affixes
        for code in set.intersection(*map(_codes, affixes)) if affixes else ():
            codes[code] += count
    best = max(codes, key=lambda code: (codes[code], code), default="")
    return {affix for affix in seen if best in _codes(affix)}


def _codes(affix: str) -> set[str]:
    return set(_MEANINGS.get(affix, affix).split())


def _multiply(cells: Sequence[Cell], scaled: set[str], currency: bool) -> bool:
    """Return whether letters multiply, by what stands with them.

    They do where they are several, of money, or mean nothing else; and K, and a capital M or B, where they stand close
    to the digits of most cells, or among large numbers without one: 7 B among the floors of houses is a name.
    """
    if len(scaled) > 1 or currency or not scaled <= _UNCERTAIN:
        return True
    with_letter = [(text, count) for part, text, count in cells if part.suffix]
    bare = [(part, count) for part, _, count in cells if not part.suffix]
    large = sum(count for part, count in bare if _whole_digits(part.body) >= LARGE_DIGITS)
    joined = sum(count for text, count in with_letter if _JOINED.search(text))
    letters, others = (sum(count for _, count in some) for some in (with_letter, bare))
    among_large = others > 0 and large >= others / 2
    if scaled == {"k"}:
        return among_large or joined >= letters / 2
    capital = any(_CAPITAL.search(text) for text, _ in with_letter)
    return capital and (among_large or joined >= (letters + others) / 2)


def _whole_digits(body: str) -> int:
    """Count the digits before the decimals, which are neither three nor none."""
    return sum(digit.isdigit() for digit in _DECIMALS.sub("", body))


def _numbers_of(cells: Sequence[Cell], suffix: str | None) -> int:
    """Count the different numbers that have a suffix, or any."""
    return len({(part.sign, part.body) for part, _, _ in cells if suffix in (None, part.suffix)})
