"""Infer how a column of texts writes its numbers: the marks, currencies, units and magnitudes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.moments import hours_of
from eigenserve.model.rows.readings import (
    MAGNITUDES,
    NumberText,
    Reading,
    digits_of,
    is_plain_number,
    range_ends,
    split_number,
)
from eigenserve.training.data.spellings.affixes import LEAST_NUMBERS, Affixes, Cell, affixes_of, are_few
from eigenserve.training.data.texts import Texts

#: A column is one of numbers where this share of its cells has their shape; the rest is odd. With a larger rest it is
#: one of texts some of which are numbers.
NEARLY = 0.8
#: Texts that are looked at before all are.
SAMPLE = 200
#: Whole numbers of more digits are codes: float64 holds no more of them.
MOST_DIGITS = 15
#: The range of nanoseconds since 1970 that are times of these years: large, and no codes.
NANOSECONDS = (9e17, 4e18)
_STYLES = [(decimal, mark) for decimal in ".," for mark in ("", ",", ".", " ", "'") if decimal != mark]
_CODE = re.compile(r"[^\W\d_]{1,4}[-. /]?\d")
_EXPONENT = re.compile(r"[0-9.,][eE][+-]?[0-9]+\b")
#: Numbers with three digits behind one point, next to whole numbers below a thousand, from which the point parts
#: thousands: of 20 fractions rounded to three digits and written without zeros at the end, one is whole with a chance
#: of .02, and none has fewer digits with one of .9^20 = .12.
LEAST_DOTTED = 20
_THREE_DECIMALS = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
#: A date as cameras write it.
_DAY = re.compile(r"(?:19|20)[0-9]{2}:(?:0[1-9]|1[0-2]):(?:0[1-9]|[12][0-9]|3[01])")
_ONES = str.maketrans("023456789", "111111111")


@dataclass(frozen=True)
class Numbers:
    """Hold texts as numbers.

    Attributes:
        reading: how they are read.
        values: (len(texts),); NaN for a text that is not a number.
        example: a text that shows what is special about the reading, and its number; empty for plain numbers.
        ambiguous: the marks might mean something else.
        bare: a number without the unit in letters that others have; empty if there is none.
        proof: the decimal mark that the texts prove; empty for none.
    """

    reading: Reading
    values: FloatArray
    example: tuple[str, float] | None = None
    ambiguous: bool = False
    bare: str = ""
    proof: str = ""


def infer_numbers(
    texts: Texts, decimal: str | None = None, hint: str = ".", given: bool = False, points: bool = False
) -> Numbers | None:
    """Read texts as numbers; None if they are not nearly all numbers, or are codes.

    Args:
        texts: of a column, those that stand for a missing value left out.
        decimal: the decimal mark, if it is given.
        hint: the decimal mark of other columns, where these texts leave it open.
        given: the column is one of numbers, however few of its texts are; ranges are their middles.
        points: other columns prove that the decimal mark is the point.
    """
    if not texts.texts or (not given and _share(texts.only(_first(len(texts.texts)))) < NEARLY / 2):
        return None
    parts = [split_number(text) for text in texts.texts]
    if not given and _share(texts, parts) < NEARLY:
        return None
    ranges = [
        range_ends(text) if part is None and given else None for text, part in zip(texts.texts, parts, strict=True)
    ]
    ends = [ends or (part,) for ends, part in zip(ranges, parts, strict=True)]
    is_text = np.isnan(texts.numbers)
    cells = [
        (is_text[i], (part, text, count))
        for i, (each, text, count) in enumerate(zip(ends, texts.texts, texts.counts.tolist(), strict=True))
        for part in each
        if part is not None
    ]
    affixes = affixes_of([cell for _, cell in cells], given)
    if affixes is None:
        return None
    # Cells that are numbers have no marks.
    marked = [cell for with_marks, cell in cells if with_marks]
    marks, ambiguous = _marks(marked, decimal, hint)
    if ambiguous and not is_text.all():
        other = _marks(marked, "," if marks[0] == "." else ".", hint)[0]
        marks = min(marks, other, key=lambda each: _distance(marked, each, texts.numbers))
    proof = "" if ambiguous else _proof(marked, marks[0])
    if points and marks[0] == "," and not (proof or given or decimal):
        return None
    reading = Reading(*marks, affixes=affixes.kept, magnitudes=affixes.magnitudes, ranges=any(ranges))
    values = np.array([np.nan if (x := reading.number(text)) is None else x for text in texts.texts])
    if not reading.are_percents:
        # Among texts such as 12%, a number may be a share or its percent.
        values = np.where(is_text, values, texts.numbers)
    values[np.isinf(values)] = np.nan
    odd = np.isnan(values)
    example, bare = _example(texts, values, parts, ambiguous), _without_unit(texts, values, parts, affixes)
    numbers = Numbers(reading, values, example, ambiguous, bare, proof)
    if given:
        return None if odd.all() else numbers
    if texts.count(~odd) < NEARLY * texts.count(~texts.is_marker()):
        return None
    codes = texts.count(odd & _are_codes(texts.texts))
    if codes > texts.count(odd) / 2 and not are_few(codes, texts.present):
        return None
    return numbers


def infer_hours(texts: Texts) -> Numbers | None:
    """Read texts as times of day or durations, h:mm or h:mm:ss; None if they are not nearly all so."""
    if not texts.texts or not any(hours_of(text) is not None for text in texts.texts[:SAMPLE]):
        return None
    if all(_DAY.fullmatch(text) for text in texts.texts):
        return None
    values = np.array([np.nan if (x := hours_of(text)) is None else x for text in texts.texts])
    if texts.count(~np.isnan(values)) < NEARLY * texts.count(~texts.is_marker()):
        return None
    reading = Reading(clock=True)
    return Numbers(reading, values, _example(texts, values, [None] * len(values)))


def are_number_codes(texts: Sequence[str], named: bool = False) -> bool:
    """Return whether digits are names, not numbers: zip codes as 02134, or more digits than a number holds.

    Args:
        texts: of the column, different ones.
        named: whether the column is called as identifiers are.
    """
    digits = [text for text in texts if text.isascii() and text.isdigit()]
    if len(digits) < len(texts):
        return False
    if any(len(text.lstrip("0")) > MOST_DIGITS for text in digits):
        # Nanoseconds since 1970 are times, not codes.
        return named or not all(len(text) == 19 and NANOSECONDS[0] < int(text) < NANOSECONDS[1] for text in digits)
    leading = any(len(text) > 2 and text[0] == "0" for text in digits)
    # Hours and minutes as 0915.
    clock = all(len(text) == 4 and text[:2] < "25" and text[2:] < "60" for text in digits)
    return leading and not clock


def _first(count: int) -> NDArray[np.bool_]:
    return np.arange(count) < SAMPLE


def _share(texts: Texts, parts: Sequence[NumberText | None] | None = None) -> float:
    """Return the share of the rows, those with a marker left out, whose texts have the shape of a number."""
    parts = [split_number(text) for text in texts.texts] if parts is None else parts
    shaped, rest = [part is not None for part in parts], texts.count(~texts.is_marker())
    return texts.count(shaped) / rest if rest else 0.0


def _are_codes(texts: Sequence[str]) -> NDArray[np.bool_]:
    return np.fromiter((_CODE.match(text) is not None for text in texts), bool, len(texts))


def _marks(cells: Sequence[Cell], decimal: str | None, hint: str) -> tuple[tuple[str, str], bool]:
    """Choose the decimal mark and the thousands separator under which most bodies are numbers."""
    bodies: Counter[tuple[str, bool]] = Counter()
    for part, text, count in cells:
        if not part.body.isdigit():
            # Marks are judged by where they stand, whatever the digits are, but for a zero in front.
            shape = part.body.translate(_ONES)
            bodies["0" + shape[1:] if part.body[0] == "0" else shape, _EXPONENT.search(text) is not None] += count
    if not bodies:
        return (".", ""), False
    preferred = decimal or next((other for mark, other in (".,", ",.") if _parts_thousands(cells, mark)), hint)
    # Of equals the first: those with the mark that is given or preferred, and with fewer marks.
    styles = sorted(_STYLES, key=lambda style: style[0] != preferred)
    if decimal:
        styles = [style for style in styles if style[0] == decimal]
    fitting = [sum(count for body, count in bodies.items() if _digits(*body, *style) is not None) for style in styles]
    best = int(np.argmax(fitting))
    equals = [style for style, fits in zip(styles, fitting, strict=True) if fits == fitting[best]]
    readings = [[_digits(*body, *style) for body in bodies] for style in equals]
    differ = any(other != readings[0] for other in readings)
    return styles[best], differ and not decimal


def _distance(cells: Sequence[Cell], marks: tuple[str, str], numbers: FloatArray) -> float:
    """Return the powers of ten between numbers with these marks and the column's other numbers, in the median."""
    read = np.array([float(digits_of(part.body, *marks) or "nan") for part, _, _ in cells])
    sizes = (np.abs(some[np.isfinite(some) & (some != 0)]) for some in (read, numbers))
    low, high = (float(np.median(some)) if len(some) else np.nan for some in sizes)
    return abs(np.log10(low / high)) if low and high else 0.0


def _proof(cells: Sequence[Cell], decimal: str) -> str:
    """Return the decimal mark if the numbers prove it: lists of codes, such as 5,4, prove no comma."""
    marked = [(part, count) for part, _, count in cells if decimal in part.body]
    if decimal == "." or not marked:
        return decimal if marked else ""
    ends = [part.body.rpartition(",")[2] for part, _ in marked]
    dressed = any(
        part.prefix or part.suffix or part.sign or part.power or part.body.strip("0123456789,") for part, _ in marked
    )
    cents = len(set(map(len, ends))) == 1 and len(ends[0]) > 1
    different = len({part.body for part, _ in marked})
    many = different >= LEAST_NUMBERS and 2 * different > sum(count for _, count in marked)
    return "," if dressed or cents or many else ""


def _parts_thousands(cells: Sequence[Cell], mark: str) -> bool:
    """Return whether all such marks stand before three digits, next to whole numbers none of which is a thousand."""
    bodies = {part.body.replace(mark, ".") if "." not in part.body or mark == "." else "" for part, _, _ in cells}
    whole = {body for body in bodies if body.isdigit()}
    dotted = bodies - whole
    return (
        bool(whole - {"0"})
        and all(len(body) <= 3 for body in whole)
        and len(dotted) >= LEAST_DOTTED
        and all(_THREE_DECIMALS.fullmatch(body) for body in dotted)
        and not any(part.power for part, _, _ in cells)
    )


def _digits(body: str, with_exponent: bool, decimal: str, thousands: str) -> str | None:
    """Return digits as ``digits_of``; those before an exponent are never parted by thousands."""
    return None if with_exponent and thousands and thousands in body else digits_of(body, decimal, thousands)


def _example(
    texts: Texts, values: FloatArray, parts: Sequence[NumberText | None], ambiguous: bool = False
) -> tuple[str, float] | None:
    """Find the first text that might be another number to programs or people; one with more around it is preferred."""
    best, example = -1, None
    for i in np.argsort(texts.rows, kind="stable").tolist():
        text = texts.texts[i]
        plain = is_plain_number(text) and float(text) == values[i] and not (ambiguous and "." in text)
        if np.isnan(values[i]) or plain:
            continue
        part = parts[i]
        # By what changes its meaning most: a bound, a magnitude, a unit.
        rank = 0
        if part is not None:
            rank = 3 * bool(part.bound) or 2 * bool(part.scale or part.suffix in MAGNITUDES) or int(bool(part.suffix))
        if rank > best:
            best, example = rank, (text, float(values[i]))
    return example


def _without_unit(texts: Texts, values: FloatArray, parts: Sequence[NumberText | None], affixes: Affixes) -> str:
    """Find the first number without the unit in letters that others have; an empty text if there is none."""
    for i in np.argsort(texts.rows, kind="stable").tolist() if affixes.unit[:1].isalpha() else ():
        part = parts[i]
        if part is not None and not part.suffix and values[i] != 0 and not np.isnan(values[i]):
            return texts.texts[i]
    return ""
