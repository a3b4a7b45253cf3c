"""Choose which currency, unit and signs stand around the numbers of a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eigenserve.model.rows.readings import CURRENCIES, MAGNITUDES, NumberText

#: A unit in letters is one where so many different numbers have it; else 2WD and 4WD would be numbers.
LEAST_NUMBERS = 10
#: Share of the cells up to which letters behind numbers are slips, as the O of 4500O is.
MOST_SLIPS = 0.01
_SIGNS = CURRENCIES | {"%", "‰", "°", "+", "*", '"'}
#: Signs and names of currencies -> the codes that they may stand for; others are codes themselves.
_MEANINGS = {
    "$": "usd aud cad nzd sgd hkd mxn",
    **{"us$": "usd", "a$": "aud", "c$": "cad", "r$": "brl", "nz$": "nzd", "hk$": "hkd", "€": "eur", "£": "gbp"},
    **{"¥": "jpy cny", "rmb": "cny", "₹": "inr", "rs": "inr", "₽": "rub", "fr": "chf", "kr": "sek nok dkk"},
    **{"zł": "pln", "kč": "czk"},
}
#: Letters that may multiply a number or be a unit: metres, tonnes, bytes.
_UNCERTAIN = frozenset({"m", "t", "b"})
#: The parts of a text, the text, and how many rows have it.
Cell = tuple[NumberText, str, int]


@dataclass(frozen=True)
class Affixes:
    """Hold what stands around the numbers of a column.

    Attributes:
        kept: what is passed over, as ``Reading.affixes`` has it.
        magnitudes: K, M and B multiply the numbers.
    """

    kept: tuple[str, ...]
    magnitudes: bool = False


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
    magnitudes = bool(scaled) and scaled == set(suffixes) and _multiply(cells, scaled, bool(kept - bounds), bare)
    units = [] if magnitudes else [suffix for suffix, _ in suffixes.most_common() if suffix not in CURRENCIES]
    # Units and letters that multiply are judged alike: 4K and 8K are names.
    lettered = scaled if magnitudes and len(scaled) == 1 and not kept else {*units[:1]} - _SIGNS
    if lettered and not given and _numbers_of(cells, min(lettered)) < LEAST_NUMBERS:
        if not _are_slips(suffixes, bare, cells):
            return None
        # They are odd cells of a column of numbers.
        units, magnitudes = [], False
    return Affixes(tuple(sorted(kept | {*units[:1]})), magnitudes)


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


def _multiply(cells: Sequence[Cell], scaled: set[str], currency: bool, bare: int) -> bool:
    """Return whether letters multiply: they are several, of money, K, or a capital M among numbers without one."""
    if len(scaled) > 1 or currency or not scaled <= _UNCERTAIN:
        return True
    return bool(bare) and any(text.endswith(("M", "B")) for part, text, _ in cells if part.suffix)


def _numbers_of(cells: Sequence[Cell], suffix: str | None) -> int:
    """Count the different numbers that have a suffix, or any."""
    return len({(part.sign, part.body) for part, _, _ in cells if suffix in (None, part.suffix)})
