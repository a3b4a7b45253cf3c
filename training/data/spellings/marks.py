"""Infer the marks of a column's numbers, and what they prove of the marks of its table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from eigenserve.model.rows.spellings.number_parts import digits_of
from eigenserve.training.data.spellings.affixes import Cell

#: Numbers with three digits behind one point, next to whole numbers below a thousand, from which the point parts
#: thousands: of 20 fractions rounded to three digits and written without zeros at the end, one is whole with a chance
#: of .02, and none has fewer digits with one of .9^20 = .12.
LEAST_DOTTED = 20
#: Key of a frame's ``attrs`` for what its file proves of the decimal mark, a ``Votes``.
VOTES_KEY = "eigenserve_votes"
_STYLES = [(decimal, mark) for decimal in ".," for mark in ("", ",", ".", " ", "'") if decimal != mark]
_EXPONENT = re.compile(r"[0-9.,][eE][+-]?[0-9]+\b")
_THREE_DECIMALS = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
#: Two small whole numbers, as the codes of two answers are written.
_PAIR = re.compile(r"[1-9][0-9]?,[1-9][0-9]?")
_ONES = str.maketrans("023456789", "111111111")


class Marks(NamedTuple):
    """Hold the marks of a column's numbers.

    Attributes:
        decimal: the decimal mark.
        thousands: the separator of thousands.
        ambiguous: whether they might mean something else.
        proof: the decimal mark that they prove; empty where they leave it open.
        pairs: whether they may be pairs of codes, such as 4,3, as well as numbers.
    """

    decimal: str = "."
    thousands: str = ""
    ambiguous: bool = False
    proof: str = ""
    pairs: bool = False


#: Those of numbers that show none.
NO_MARKS = Marks()


class Votes(NamedTuple):
    """Count what the columns of a table prove of its decimal mark.

    Attributes:
        points: columns that prove a point.
        commas: columns that prove a comma.
        pairs: columns whose commas may part two codes instead.
        semicolons: whether semicolons part the cells of its file, as they do where decimals have commas.
        typed: whether some of its fractions are numbers, not texts, which may be what others are meant to be.
    """

    points: int = 0
    commas: int = 0
    pairs: int = 0
    semicolons: bool = False
    typed: bool = False

    def plus(self, columns: Iterable[Marks]) -> Votes:
        """Count more columns."""
        marks = list(columns)
        return self._replace(
            points=self.points + sum(mark.proof == "." for mark in marks),
            commas=self.commas + sum(mark.proof == "," and not mark.pairs for mark in marks),
            pairs=self.pairs + sum(mark.pairs for mark in marks),
        )

    @property
    def decimal(self) -> str:
        """Return the decimal mark that most columns prove; empty where none does."""
        if self.commas + self.pairs and (self.semicolons or not self.points):
            return "," if self.commas or self.semicolons or not self.typed else ""
        if self.points:
            return "," if self.commas > self.points else "."
        return ""


def votes_of(frame: pd.DataFrame) -> Votes:
    """Return what a frame's file proves, as its ``attrs`` keep it, or its columns of numbers say."""
    if VOTES_KEY in frame.attrs:
        return Votes(*frame.attrs[VOTES_KEY])
    floats = (column.dropna() for _, column in frame.items() if pd.api.types.is_float_dtype(column.dtype))
    return Votes(typed=any(bool((column % 1 != 0).any()) for column in floats))


def infer_marks(cells: Sequence[Cell], decimal: str | None, hint: str) -> Marks:
    """Choose the decimal mark and the separator of thousands under which most bodies are numbers.

    Args:
        cells: the parts of a text, the text, and how many rows have it.
        decimal: the decimal mark, if it is given.
        hint: the decimal mark of other columns, where these cells leave it open.
    """
    bodies: Counter[tuple[str, bool]] = Counter()
    for part, text, count in cells:
        if not part.body.isdigit():
            # Marks are judged by where they stand, whatever the digits are, but for a zero in front.
            shape = part.body.translate(_ONES)
            bodies["0" + shape[1:] if part.body[0] == "0" else shape, _EXPONENT.search(text) is not None] += count
    if not bodies:
        return NO_MARKS
    preferred = decimal or ("," if _parts_thousands(cells) else hint)
    # Of equals the first: those with the mark that is given or preferred, and with fewer marks.
    styles = sorted(_STYLES, key=lambda style: style[0] != preferred)
    if decimal:
        styles = [style for style in styles if style[0] == decimal]
    fitting = [sum(count for body, count in bodies.items() if _digits(*body, *style) is not None) for style in styles]
    best = int(np.argmax(fitting))
    equals = [style for style, fits in zip(styles, fitting, strict=True) if fits == fitting[best]]
    readings = [[_digits(*body, *style) for body in bodies] for style in equals]
    differ = any(other != readings[0] for other in readings)
    proof = _proof(bodies)
    pairs = proof == "," and all(_is_pair(cell) for cell in cells if not cell[0].body.isdigit())
    return Marks(*styles[best], differ and not decimal, proof, pairs)


def _proof(bodies: Counter[tuple[str, bool]]) -> str:
    """Return the decimal mark without which more bodies are not numbers; empty where that is neither."""
    only: Counter[str] = Counter()
    for body, count in bodies.items():
        marks = {decimal for decimal, mark in _STYLES if _digits(*body, decimal, mark) is not None}
        if len(marks) == 1:
            only[marks.pop()] += count
    return "" if only["."] == only[","] else max(only, key=lambda mark: only[mark])


def _is_pair(cell: Cell) -> bool:
    """Return whether a number may be two codes: 4,3 or 12,7, but not 12,50."""
    part = cell[0]
    bare = not (part.prefix or part.suffix or part.scale or part.bound or part.sign or part.power)
    return bare and _PAIR.fullmatch(part.body) is not None


def _parts_thousands(cells: Sequence[Cell]) -> bool:
    """Return whether all points stand before three digits, next to whole numbers none of which is a thousand."""
    bodies = {part.body for part, _, _ in cells}
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
