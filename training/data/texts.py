"""Collect the different texts of a column, how often each occurs and where first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from string import ascii_lowercase
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import category_key
from eigenserve.model.rows.moments import plain_text

#: Words and signs that stand for a missing value among numbers or dates, in small letters: written by people,
#: spreadsheets, databases (\N) and Stata (.a to .z), and neither number nor date themselves. Among categories they may
#: be one.
MARKERS = frozenset(
    {
        *("-", "--", "---", "—", ".", "..", "...", "*", "**", "n.a.", "n.a", "na", "na.", "n/a", "n/d", "n.d.", "nd"),
        *("none", "nil", "null", "nan", "missing", "unknown", "unk", "unk.", "not available", "not applicable"),
        *("no data", "nodata", "undefined", "tbd", "tba", "(null)", "(blank)", "[null]", "<null>", "<na>", "n/k"),
        *("not known", "no answer", "k.a.", "keine angabe", "s/d", "#value!", "#div/0!", "#ref!", "#name?", "#num!"),
        *("–", "\u2212", ":", "\\n", "$-", "$ -", "€-", "€ -", "- €", "-€", "£-", "£ -"),
        *(f".{letter}" for letter in ascii_lowercase),
        *("#null!", "#n/a", "?", "??", "???", "blank", "empty", "void", "not reported", "not recorded"),
    }
)


@dataclass(frozen=True)
class Texts:
    """Hold the different texts of a column of N rows, without blanks around them, and its numbers as texts.

    Attributes:
        texts: the different ones, of which none stands for a missing value; one may be a number's and a text's.
        counts: (len(texts),) how many rows have each.
        rows: (len(texts),) the first row of the table that has it, from 0.
        codes: (N,) which text each row has; -1 where it is missing.
        numbers: (len(texts),) those that are no texts in the column; NaN for a text.
        trimmed: a text that stands with blanks around it, too; empty if there is none.
        unseen: likewise with other accents, blanks or signs that look the same.
    """

    texts: list[str]
    counts: NDArray[np.int64]
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    numbers: FloatArray
    trimmed: str = ""
    unseen: str = ""

    @property
    def present(self) -> int:
        """Count the rows with a text."""
        return int(self.counts.sum())

    def count(self, chosen: Iterable[bool]) -> int:
        """Count the rows whose text is one of those chosen, a flag for each."""
        return int(self.counts[np.fromiter(chosen, bool, len(self.texts))].sum())

    def spread(self, values: FloatArray) -> FloatArray:
        """Spread a number for each text: (N,) a number for each row; NaN where it is missing."""
        return np.append(values, np.nan)[self.codes]

    def is_marker(self) -> NDArray[np.bool_]:
        """Return whether each, (len(texts),), is a word or sign for a missing value."""
        return np.fromiter((text.casefold() in MARKERS for text in self.texts), bool, len(self.texts))

    def only(self, kept: NDArray[np.bool_]) -> Texts:
        """Return the texts that are kept; the others are missing."""
        places = np.where(kept, np.cumsum(kept) - 1, -1)
        texts = [text for text, keep in zip(self.texts, kept, strict=True) if keep]
        codes = np.append(places, -1)[self.codes]
        return Texts(texts, self.counts[kept], self.rows[kept], codes, self.numbers[kept])


def texts_of(column: pd.Series, missing: frozenset[str]) -> Texts:
    """Collect the different texts of a column.

    Args:
        column: of texts and numbers; None and NaN are missing.
        missing: texts that stand for a missing value.
    """
    raw, uniques = pd.factorize(column)
    names: dict[tuple[str, bool], int] = {}
    numbers: list[float] = []
    trimmed = unseen = ""
    odd: set[str] = set()
    places = np.full(len(uniques) + 1, -1, np.int64)
    for i, value in enumerate(np.asarray(uniques, object)):
        number = type(value) is not str and is_number(value)
        name = category_key(value) if number else plain_text(value)
        if not number and not value.isascii() and value.strip() != name:
            odd.add(name)
        if number or name not in missing:
            key = name, number
            if key in names:
                trimmed, unseen = (trimmed, unseen or name) if name in odd else (trimmed or name, unseen)
            else:
                numbers.append(float(value) if number else np.nan)
            places[i] = names.setdefault(key, len(names))
    codes = places[raw]
    kept = np.flatnonzero(codes >= 0)
    rows = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(rows, codes[kept], table_rows(column)[kept])
    counts = np.bincount(codes[kept], minlength=len(names)).astype(np.int64)
    return Texts([name for name, _ in names], counts, rows, codes, np.array(numbers, np.float64), trimmed, unseen)


def table_rows(part: pd.Series | pd.DataFrame) -> NDArray[np.int64]:
    """Return where each of N rows stands in the table that it is of, from 0: what its index says, or its position."""
    is_known = pd.api.types.is_integer_dtype(part.index.dtype)
    return np.asarray(part.index if is_known else np.arange(len(part)), np.int64)


def is_number(value: Any) -> TypeGuard[int | float | Decimal | np.integer | np.floating]:
    """Return whether a value is a number, and neither a text nor a boolean."""
    return isinstance(value, int | float | Decimal | np.integer | np.floating) and not isinstance(value, bool)
