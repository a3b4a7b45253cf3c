"""Infer how a column of texts writes its numbers: the marks, currencies, units and magnitudes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.moments import hours_of
from eigenserve.model.rows.readings import Reading
from eigenserve.model.rows.spellings.number_parts import (
    MAGNITUDES,
    NumberText,
    digits_of,
    is_plain_number,
    number_parts,
    range_ends,
)
from eigenserve.training.data.spellings.affixes import Affixes, Cell, affixes_of, are_few, word_before
from eigenserve.training.data.spellings.marks import NO_MARKS, Marks, infer_marks
from eigenserve.training.data.texts import Texts

#: A column is one of numbers where this share of its cells has their shape; the rest is odd. With a larger rest it is
#: one of texts some of which are numbers.
NEARLY = 0.8
#: Texts that are looked at before all are.
SAMPLE = 200
#: Different texts by which the way numbers are written is inferred; of more, those that it does not read are, too.
MOST_INFERRED = 20_000
#: Whole numbers of more digits are codes: float64 holds no more of them.
MOST_DIGITS = 15
#: The range of nanoseconds since 1970 that are times of these years: large, and no codes.
NANOSECONDS = (9e17, 4e18)
_CODE = re.compile(r"[^\W\d_]{1,4}[-. /]?\d")
#: Digits whose mark may part thousands or decimals.
_EITHER = re.compile(r"[1-9][0-9]{0,2}(?:[., '][0-9]{3})+")
#: Brackets of a negative number, and a dash for no cents.
_SIGNED = re.compile(r"\(|[.,][-\u2013\u2014]")
#: A date as cameras write it.
_DAY = re.compile(r"(?:19|20)[0-9]{2}:(?:0[1-9]|1[0-2]):(?:0[1-9]|[12][0-9]|3[01])")


@dataclass(frozen=True)
class Numbers:
    """Hold texts as numbers.

    Attributes:
        reading: how they are read.
        values: (len(texts),); NaN for a text that is not a number.
        example: a text that shows what is special about the reading, and its number; empty for plain numbers.
        marks: of the numbers, and what they prove.
        bare: a number without the unit in letters that others have; empty if there is none.
    """

    reading: Reading
    values: FloatArray
    example: tuple[str, float] | None = None
    marks: Marks = NO_MARKS
    bare: str = ""


def infer_numbers(texts: Texts, decimal: str | None = None, hint: str = "", given: bool = False) -> Numbers | None:
    """Read texts as numbers; None if they are not nearly all numbers, or are codes.

    Args:
        texts: of a column, those that stand for a missing value left out.
        decimal: the decimal mark, if it is given.
        hint: the decimal mark of other columns, where these texts leave it open.
        given: the column is one of numbers, however few of its texts are; ranges are their middles.
    """
    if not texts.texts or (not given and _share(texts.only(_first(len(texts.texts)))) < NEARLY / 2):
        return None
    judged, found = _spread(len(texts.texts), MOST_INFERRED), None
    while True:
        if (found := _inferred(texts.only(judged), decimal, hint, given)) is None:
            return None
        values = _values(found.reading, texts)
        # Texts that those judged so far did not show how to read are judged, too, once.
        unread = np.flatnonzero([] if judged.all() else np.isnan(values) & ~judged & ~texts.is_marker())
        if not len(unread) or np.count_nonzero(judged) > MOST_INFERRED:
            break
        judged[unread[_spread(len(unread), MOST_INFERRED)]] = True
    odd = np.isnan(values)
    if given:
        return None if odd.all() else replace(found, values=values)
    if texts.count(~odd) < NEARLY * texts.count(~texts.is_marker()):
        return None
    codes = texts.count(odd & _are_codes(texts.texts))
    if codes > texts.count(odd) / 2 and not are_few(codes, texts.present):
        return None
    return replace(found, values=values)


def _inferred(texts: Texts, decimal: str | None, hint: str, given: bool) -> Numbers | None:
    """Infer how texts are read; None if too few have the shape of a number, or letters there are names."""
    parts = _parts(texts, given)
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
    affixes = affixes_of([cell for _, cell in cells], given, any(ranges))
    if affixes is None:
        return None
    # Cells that are numbers have no marks.
    marked = [cell for with_marks, cell in cells if with_marks]
    marks = infer_marks(marked, decimal, hint)
    if marks.ambiguous and not is_text.all():
        other = infer_marks(marked, "," if marks.decimal == "." else ".", hint)._replace(ambiguous=True)
        marks = min(marks, other, key=lambda each: _distance(marked, each, texts.numbers))
    reading = Reading(*marks[:2], affixes=affixes.kept, magnitudes=affixes.magnitudes, ranges=any(ranges))
    values = _values(reading, texts)
    example, bare = _example(texts, values, parts, marks.ambiguous), _without_unit(texts, values, parts, affixes)
    return Numbers(reading, values, example, marks, bare)


def _values(reading: Reading, texts: Texts) -> FloatArray:
    """Read texts as numbers, (len(texts),); NaN for one that is none, or infinite."""
    values = np.array([np.nan if x is None else x for x in reading.numbers(texts.texts)], np.float64)
    if not reading.are_percents:
        # Among texts such as 12%, a number may be a share or its percent.
        values = np.where(np.isnan(texts.numbers), values, texts.numbers)
    values[np.isinf(values)] = np.nan
    return values


def _spread(count: int, most: int) -> NDArray[np.bool_]:
    """Choose at most so many of a count, evenly spread."""
    chosen = np.zeros(count, bool)
    chosen[np.linspace(0, count - 1, min(count, most)).astype(np.int64)] = True
    return chosen


def _distance(cells: Sequence[Cell], marks: Marks, numbers: FloatArray) -> float:
    """Return the powers of ten between numbers with these marks and the column's other numbers, in the median."""
    read = np.array([float(digits_of(part.body, *marks[:2]) or "nan") for part, _, _ in cells])
    sizes = (np.abs(some[np.isfinite(some) & (some != 0)]) for some in (read, numbers))
    low, high = (float(np.median(some)) if len(some) else np.nan for some in sizes)
    return abs(np.log10(low / high)) if low and high else 0.0


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


def are_number_codes(texts: Texts, named: bool = False) -> bool:
    """Return whether digits are names, not numbers: zip codes as 02134, or more digits than a number holds.

    Args:
        texts: of the column.
        named: whether the column is called as identifiers are.
    """
    if not _are_digits(texts.texts):
        return False
    if any(len(text.lstrip("0")) > MOST_DIGITS for text in texts.texts):
        # Nanoseconds since 1970 are times, not codes.
        times = all(len(text) == 19 for text in texts.texts)
        return named or not (times and are_nanoseconds(list(map(int, texts.texts)), texts.present))
    return _have_zeros(texts.texts) and not _are_hours_and_minutes(texts.texts)


def doubtful_digits(name: str, texts: Texts) -> str:
    """Say that the digits of a column of numbers are taken for times, where they may be codes; else an empty text."""
    if not _are_digits(texts.texts):
        return ""
    if all(len(text) == 19 for text in texts.texts):
        return nanoseconds_note(name, list(map(int, texts.texts)))
    if not _have_zeros(texts.texts):
        return ""
    shown = next(text for text in texts.texts if text[0] == "0")
    return (
        f"{name!r} holds digits such as {shown!r}: read as numbers, as hours and minutes are (--types {name}=category "
        "reads codes)"
    )


def are_nanoseconds(numbers: Sequence[int], rows: int) -> bool:
    """Return whether whole numbers are times of our years: whole microseconds, or others that hardly repeat.

    Args:
        numbers: different ones.
        rows: that have them.
    """
    if not all(NANOSECONDS[0] < number < NANOSECONDS[1] for number in numbers):
        return False
    return _are_micros(numbers) or are_few(rows - len(numbers), rows)


def nanoseconds_note(name: str, numbers: Sequence[int]) -> str:
    """Say that whole numbers are taken for times in nanoseconds, unless clocks and calendars alone write such."""
    if _are_micros(numbers):
        return ""
    return (
        f"{name!r} holds different whole numbers of 19 digits: read as numbers, as times in nanoseconds are "
        f"(--types {name}=category reads codes)"
    )


def _are_micros(nanoseconds: Sequence[int]) -> bool:
    return all(number % 1000 == 0 for number in nanoseconds)


def _are_digits(texts: Sequence[str]) -> bool:
    return all(text.isascii() and text.isdigit() for text in texts)


def _have_zeros(digits: Sequence[str]) -> bool:
    """Return whether any has a zero in front that a number had not."""
    return any(len(text) > 2 and text[0] == "0" for text in digits)


def _are_hours_and_minutes(digits: Sequence[str]) -> bool:
    """Return whether all are times as 0915, and not codes or days (0131): some are late in their hour, or quarters."""
    minutes = {text[2:] for text in digits}
    shaped = all(len(text) == 4 and text[:2] < "25" and text[2:] < "60" for text in digits)
    return shaped and (max(minutes) > "31" or minutes <= {"00", "15", "30", "45"})


def _first(count: int) -> NDArray[np.bool_]:
    return np.arange(count) < SAMPLE


def _share(texts: Texts, parts: Sequence[NumberText | None] | None = None) -> float:
    """Return the share of the rows, those with a marker left out, whose texts have the shape of a number."""
    parts = _parts(texts) if parts is None else parts
    shaped, rest = [part is not None for part in parts], texts.count(~texts.is_marker())
    return texts.count(shaped) / rest if rest else 0.0


def _parts(texts: Texts, given: bool = False) -> list[NumberText | None]:
    """Take texts apart; None for those without the shape of a number, or with a word before it that others have not."""
    parts = [number_parts(text) for text in texts.texts]
    cells = zip(parts, texts.texts, texts.counts.tolist(), strict=True)
    word = word_before([(part, text, count) for part, text, count in cells if part is not None], given)
    return [part if part is not None and (part.is_known or part.prefix == word) else None for part in parts]


def _are_codes(texts: Sequence[str]) -> NDArray[np.bool_]:
    return np.fromiter((_CODE.match(text) is not None for text in texts), bool, len(texts))


def _example(
    texts: Texts, values: FloatArray, parts: Sequence[NumberText | None], ambiguous: bool = False
) -> tuple[str, float] | None:
    """Find the first text that might be another number to programs or people; one with more around it is preferred."""
    best, example = -1.0, None
    for i in np.argsort(texts.rows, kind="stable").tolist():
        text = texts.texts[i]
        plain = is_plain_number(text) and float(text) == values[i] and not (ambiguous and "." in text)
        if np.isnan(values[i]) or plain:
            continue
        part = parts[i]
        # By what changes its meaning most: a mark, a bound or a sign, a magnitude, a unit.
        rank = 0.0
        if part is not None:
            either, negative = ambiguous and _EITHER.fullmatch(part.body), part.trail or _SIGNED.search(text)
            scaled = part.scale or part.suffix in MAGNITUDES
            rank = 4 if either else 3 if part.bound or negative else 2 if scaled else int(bool(part.suffix))
        # A zero is one in every unit.
        rank = rank if values[i] else -0.5
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
