"""Say of a column of categories that its texts look like numbers or dates, and which option would read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.rows.moments import MONTH_WORDS
from eigenserve.model.rows.spellings.number_parts import has_unit, number_parts, range_ends, split_number
from eigenserve.training.data.spellings.affixes import PARTED
from eigenserve.training.data.spellings.date_texts import infer_dates
from eigenserve.training.data.spellings.number_texts import infer_numbers
from eigenserve.training.data.texts import Texts

#: Share of a column's cells from which they are most.
MOST = 0.5
#: Texts that are looked at.
SAMPLE = 500
_DATE = re.compile(
    r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?![\d.]).*|(?:19|20)\d\d[-/.]\d{1,2}(?!\d).*"
    r"|\d{4}[ -]?[WQ]\d{1,2}|[WQ]\d{1,2}[ -/]?\d{4}",
    re.IGNORECASE,
)
#: Groups of letters in a text that looks like numbers, as 3h 53m has; a hexadecimal identifier has more.
MOST_WORDS = 2
_LETTERS, _VERSION = re.compile(r"[^\W\d_]+"), re.compile(r"\d\.\d+\.\d")
_DIGIT_FIRST = re.compile(r"\W*\d")


def resemblance(name: str, texts: Texts, decimal: str | None = None, hint: str = "") -> str | None:
    """Return a note on a column that is one of categories though most of its cells look like numbers or dates.

    Args:
        name: of the column.
        texts: of the column.
        decimal, hint: as for ``infer_numbers``.
    """
    first = texts.only((np.arange(len(texts.texts)) < SAMPLE) & ~texts.is_marker())
    confirmed = f"read as categories (--types {name}=category confirms it"
    try:
        dates = infer_dates(name, first, share=MOST)
    except UserError:  # Day and month may be either: no reason to stop where so many are not dates.
        dates = None
    if dates is not None:
        return _partly(name, "date", first, np.isnan(dates.days))
    if text := _most(first, _looks_like_date):
        return (
            f"{name!r} looks like dates, such as {text!r}, in no format that is known: {confirmed}; "
            f"--date-format {name}=%d/%m/%Y gives the format of dates with a year)"
        )
    if text := _most(first, _looks_like_range):
        return f"{name!r} holds ranges such as {text!r}: {confirmed}; --types {name}=number reads their middles)"
    numbers = infer_numbers(first, decimal, hint, given=True)
    if numbers is not None and (text := _most(first, lambda text: _has_word_before(text, numbers.reading.affixes))):
        word = text[: re.search(r"\W*\d", text).start()]  # type: ignore[union-attr]
        return (
            f"{name!r} has {word!r} before its numbers, such as {text!r}: {confirmed}; --types {name}=number reads the "
            "numbers)"
        )
    if numbers is not None and _most(first, lambda text: split_number(text) is not None):
        return _partly(name, "number", first, np.isnan(numbers.values))
    if text := _most(first, _looks_like_number):
        return f"{name!r} looks like numbers, such as {text!r}, but they cannot be read as such: {confirmed})"
    return None


def _partly(name: str, kind: str, texts: Texts, odd: NDArray[np.bool_]) -> str:
    """Say that some cells would be numbers or dates, and others not."""
    option = f"--types {name}={kind}"
    some = next(text for text, is_odd in zip(texts.texts, odd, strict=True) if not is_odd)
    if not odd.any():
        return f"{name!r} holds few different texts such as {some!r}: read as categories ({option} reads {kind}s)"
    others = [text for text, is_odd in zip(texts.texts, odd, strict=True) if is_odd]
    if kind == "number" and (unit := next((text for text in others if has_unit(text)), None)) and has_unit(some):
        return (
            f"{name!r} has numbers in several units, such as {some!r} and {unit!r}: read as categories (convert them "
            f"to one; {option} keeps those like {some!r} and counts the others as missing)"
        )
    share = texts.count(~odd) / texts.present
    return (
        f"{name!r} has {kind}s such as {some!r} in {share:.0%} of its cells, and others such as {others[0]!r}: read as "
        f"categories ({option} counts these as missing)"
    )


def _most(texts: Texts, looks: Callable[[str], bool]) -> str:
    """Return the first text that looks so, if most cells do; else an empty text."""
    flags = [looks(text) for text in texts.texts]
    if not texts.present or texts.count(flags) < MOST * texts.present:
        return ""
    return next(text for text, flag in zip(texts.texts, flags, strict=True) if flag)


def _has_word_before(text: str, affixes: Sequence[str]) -> bool:
    """Return whether a word that is no currency known stands before a number, parted from it: Room 12."""
    parts = number_parts(text)
    return parts is not None and not parts.is_known and parts.prefix in affixes and PARTED.match(text) is not None


def _looks_like_date(text: str) -> bool:
    if not any(letter.isdigit() for letter in text):
        return False
    words = re.findall(r"[^\W\d_]{3,}", text.casefold())
    return bool(_DATE.fullmatch(text)) or (len(words) <= 3 and any(word in MONTH_WORDS for word in words))


def _looks_like_range(text: str) -> bool:
    ends = range_ends(text)
    if ends is None:
        return False
    low, high = (end.body for end in ends)
    # A longer number before a shorter one is a code, such as a zip code of nine digits.
    return not (low.isdigit() and high.isdigit()) or int(low) <= int(high)


def _looks_like_number(text: str) -> bool:
    """Return whether a text begins with a digit, or a sign before it, and has few letters; versions are left out.

    So does a quantity with decimals or thousands behind a word.
    """
    parts = number_parts(text)
    if parts is not None and not parts.is_known:
        return PARTED.match(text) is not None and not parts.body.isdigit()
    digits = sum(letter.isdigit() for letter in text)
    if len(_LETTERS.findall(text)) > MOST_WORDS:
        return False
    return (
        bool(_DIGIT_FIRST.match(text))
        and _VERSION.search(text) is None
        and 3 * digits >= sum(letter.isalnum() for letter in text)
    )
