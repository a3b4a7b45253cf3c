"""Choose which currency, unit and signs stand around the numbers of a column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from eigenserve.model.rows.spellings.number_parts import CURRENCIES, LONGEST_LETTERS, MAGNITUDES, NumberText

#: A unit in letters is one where so many different numbers have it; else 2WD and 4WD would be numbers.
LEAST_NUMBERS = 10
#: Share of the cells up to which letters behind numbers are slips, as the O of 4500O is.
MOST_SLIPS = 0.01
#: Share of the words before numbers, currencies left out, that must be one word.
MOST_WORD = 0.8
#: Signs and names of currencies -> the codes that they may stand for; others are codes themselves.
_MEANINGS = {
    **dict.fromkeys(("$", "dollar"), "usd aud cad nzd sgd hkd mxn twd ars clp cop uyu dop"),
    "euro": "eur",
    **{"us$": "usd", "a$": "aud", "c$": "cad", "r$": "brl", "nz$": "nzd", "hk$": "hkd", "€": "eur", "£": "gbp"},
    **{"¥": "jpy cny", "rmb": "cny", "₹": "inr", "rs": "inr pkr lkr", "₽": "rub", "fr": "chf", "kr": "sek nok dkk"},
    **{"zł": "pln", "kč": "czk", "円": "jpy", "元": "cny"},
    **{"usd$": "usd", "au$": "aud", "ca$": "cad", "s$": "sgd", "nt$": "twd", "mx$": "mxn", "sfr": "chf", "s/": "pen"},
    **{"rp": "idr", "rm": "myr", "ksh": "kes", "tk": "bdt", "dh": "aed", "lei": "ron", "leu": "ron", "b/": "pab"},
    **{"₺": "try", "₩": "krw", "₪": "ils", "฿": "thb", "₫": "vnd", "₴": "uah", "₦": "ngn", "₱": "php", "₡": "crc"},
    **{
        "₸": "kzt",
        "৳": "bdt",
        "₨": "inr pkr lkr",
        "₵": "ghs",
        "₲": "pyg",
        "₭": "lak",
        "₮": "mnt",
        "₼": "azn",
        "₾": "gel",
    },
}
#: Letters that may multiply a number or be a unit or name: metres, tonnes, bytes, kelvins, block B; and cents.
_UNCERTAIN = frozenset({"m", "t", "b", "k", "¢", "p"})
#: Hundredths of a currency, which multiply where it stands among them alone.
_CENTS = frozenset({"¢", "p"})
#: Digits before the decimal mark of numbers that are large enough for some among them to be written in millions.
LARGE_DIGITS = 4
_DECIMALS = re.compile(r"[.,](?:[0-9]{0,2}|[0-9]{4,})$")
_JOINED, _CAPITAL = re.compile(r"[0-9.,][A-Za-z]\W*$"), re.compile(r"[KMB]\W*$")
#: A word that stands apart before a number, and digits in groups, as only quantities have them.
PARTED = re.compile(r"\W*[^\W\d_]+(?:\.|/\.?)?\s")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:[,.'][0-9]{3})*[,'][0-9]{3}(?:[.,][0-9]+)?")
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


def word_before(cells: Sequence[Cell], given: bool = False) -> str:
    """Choose the word before most numbers that is no currency known; empty where numbers with it may be names.

    They are quantities where ten or more have it, some with decimals or thousands: AED 0.50 and R 1,200, but not Room
    12; only thousands say so where it stands directly before them, as in diagnoses (E11.9).

    Args:
        cells: as for ``affixes_of``, with any word before the number.
        given: they are numbers.
    """
    counts: Counter[str] = Counter()
    for part, _, count in cells:
        counts[part.prefix] += 0 if part.is_known else count
    word, count = max(counts.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    if not count or count < MOST_WORD * counts.total():
        return ""
    # J$ is a currency, whatever the letters are.
    if given or word[-1] in CURRENCIES:
        return word
    having = [(part.body, text) for part, text, _ in cells if part.prefix == word]
    parted = all(PARTED.match(text) for _, text in having)
    marked = any(not body.isdigit() if parted else _GROUPED.fullmatch(body) for body, _ in having)
    named = any(len(body) > 1 and body[0] == "0" and body.isdigit() for body, _ in having)
    return word if marked and not named and len({body for body, _ in having}) >= LEAST_NUMBERS else ""


def affixes_of(cells: Sequence[Cell], given: bool = False, ranges: bool = False) -> Affixes | None:
    """Choose the currency and the unit that most cells have; None where letters there are names.

    Args:
        cells: the parts of a text, the text, and how many rows have it.
        given: letters are units, however few numbers have them.
        ranges: whether some of them are ends of ranges.
    """
    suffixes: Counter[str] = Counter()
    for part, _, count in cells:
        suffixes[part.suffix] += count
    bare = suffixes.pop("", 0)
    kept = _one_currency(cells)
    bounds = {part.bound for part, _, _ in cells} - {""}
    if bounds and not given and _numbers_of(cells, None) < LEAST_NUMBERS:
        return None
    kept |= bounds | ({"-"} if _are_open(cells, ranges) else set())
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
    # A percent among numbers without a sign is odd; the numbers are not.
    if units and units[0].startswith("%") and not given and _are_slips(suffixes, bare, cells):
        units = []
    return Affixes(tuple(sorted(kept | {*units[:1]})), magnitudes, units[0] if units else "")


def are_few(count: int, rows: int) -> bool:
    """Return whether so few cells of a column are different that they may be slips."""
    return count <= max(1.0, MOST_SLIPS * rows)


def _are_slips(suffixes: Counter[str], bare: int, cells: Sequence[Cell]) -> bool:
    """Return whether letters stand behind so few of the numbers, or most have decimals, that none is a name."""
    few = bare >= LEAST_NUMBERS and are_few(suffixes.total(), bare + suffixes.total())
    measured = sum(count for part, _, count in cells if not part.suffix and not part.body.isdigit())
    return few or measured > suffixes.total() + bare - measured


def _are_open(cells: Sequence[Cell], ranges: bool) -> bool:
    """Return whether a minus behind a number means "and more": among ranges, or where all are whole and have one."""
    trailing = [part.trail for part, _, _ in cells if part.body.strip("0.,")]
    return any(trailing) and (ranges or (all(trailing) and all(part.body.isdigit() for part, _, _ in cells)))


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
    words = {part.prefix for part, _, _ in cells if not part.is_known}
    return words | {affix for affix in seen if best in _codes(affix)}


def _codes(affix: str) -> set[str]:
    return set(_MEANINGS.get(affix, affix).split())


def _multiply(cells: Sequence[Cell], scaled: set[str], currency: bool) -> bool:
    """Return whether letters multiply, by what stands with them.

    They do where they are several, of money, or mean nothing else; and K, and a capital M or B, where they stand close
    to the digits of most cells, or among large numbers without one: 7 B among the floors of houses is a name.
    """
    if len(scaled - _CENTS) > 1 or currency or not scaled <= _UNCERTAIN:
        return True
    with_letter = [(text, count) for part, text, count in cells if part.suffix]
    bare = [(part, count) for part, _, count in cells if not part.suffix]
    large = sum(count for part, count in bare if _whole_digits(part.body) >= LARGE_DIGITS)
    joined = sum(count for text, count in with_letter if _JOINED.search(text))
    letters, others = (sum(count for _, count in some) for some in (with_letter, bare))
    among_large = others > 0 and large >= others / 2
    if scaled == {"k"}:
        sizes = [
            [_whole_digits(part.body) for part, _, _ in cells if bool(part.suffix) == has] for has in (True, False)
        ]
        # Kelvins are as large as the numbers without them; 25 K next to 356 are thousands.
        smaller = others > 0 and median(sizes[0]) < median(sizes[1])
        return among_large or smaller or joined >= letters / 2
    capital = any(_CAPITAL.search(text) for text, _ in with_letter)
    return capital and (among_large or joined >= (letters + others) / 2)


def _whole_digits(body: str) -> int:
    """Count the digits before the decimals, which are neither three nor none."""
    return sum(digit.isdigit() for digit in _DECIMALS.sub("", body))


def _numbers_of(cells: Sequence[Cell], suffix: str | None) -> int:
    """Count the different numbers that have a suffix, or any."""
    return len({(part.sign, part.body) for part, _, _ in cells if suffix in (None, part.suffix)})
