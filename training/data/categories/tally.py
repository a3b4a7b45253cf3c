"""Add up rows and targets by category, of categories that are known or of all that there are, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import category_key
from eigenserve.model.rows.features import Feature
from eigenserve.model.rows.moments import plain_text
from eigenserve.training.data.column_values import differs_by_case

#: Categories that a feature has at most where they are counted on all rows: a model keeps each by its name.
MOST_CATEGORIES = 200_000


class Tally:
    """Count the rows of the categories of a feature, and add up their targets.

    Attributes:
        names: the categories.
        counts: (L,), rows of each.
        sums: (L, O), of their targets.
        squares: (O,), the sums of the squares of all that were counted.
        pruned: whether rare categories were forgotten, so that what is counted of others may lack rows, too.
    """

    def __init__(
        self, feature: Feature, outputs: int, grows: bool = False, apart: bool = False, most: int = MOST_CATEGORIES
    ) -> None:
        """Begin with the categories of a feature.

        Args:
            feature: a categorical one, which says how cells are read.
            outputs: O.
            grows: whether categories are added that it does not have.
            apart: whether spellings that differ by capital letters alone are different categories.
            most: categories that are kept when twice as many spellings are held.
        """
        self._feature, self._grows, self._apart, self._most = feature, grows, apart, most
        self.names, self.pruned = list(feature.categories), False
        self.counts, self.sums, self.squares = np.zeros(0), np.zeros((0, outputs)), np.zeros(outputs)
        self._begin()

    def _begin(self) -> None:
        self._codes: dict[Any, int] = {name: code for code, name in enumerate(self.names)}
        added = self.names if self._grows and not self._apart else []
        self._folded = {name.casefold(): code for code, name in enumerate(added) if not differs_by_case(name)}

    def add(self, column: pd.Series, numbers: FloatArray) -> None:
        """Add rows.

        Args:
            column: (N,), raw cells; those missing are passed over.
            numbers: (O, N), the targets.
        """
        places, cells = pd.factorize(column)
        codes = np.array([*map(self._code, cells), -1], np.int64)[places]
        here = codes >= 0
        codes, numbers, length = codes[here], numbers[:, here], len(self.names)
        counts: FloatArray = np.bincount(codes, minlength=length).astype(np.float64)
        sums: FloatArray = np.stack([np.bincount(codes, output, length) for output in numbers], axis=1)
        counts[: len(self.counts)] += self.counts
        sums[: len(self.sums)] += self.sums
        self.counts, self.sums, self.squares = counts, sums, self.squares + (numbers**2).sum(axis=1)
        if len(self._codes) > 2 * self._most:
            if self._grows and length > self._most:
                self.keep(self.most_frequent(self._most))
                self.pruned = True
            self._begin()

    def most_frequent(self, most: int) -> list[int]:
        """Return the codes of the categories of most rows, of equally many those that were met first."""
        return np.argsort(-self.counts, kind="stable")[:most].tolist()

    def keep(self, codes: Sequence[int]) -> None:
        """Keep some categories, in this order."""
        self.names = [self.names[code] for code in codes]
        self.counts, self.sums = self.counts[list(codes)], self.sums[list(codes)]

    def _code(self, cell: Any) -> int:
        code = self._codes.get(cell)
        if code is None:
            code = self._codes[cell] = self._read(cell)
        return code

    def _read(self, cell: Any) -> int:
        """Read a cell like a request's: without blanks, without regard to capital letters; -1 for none or unknown."""
        if self._grows and not self._apart and isinstance(cell, str):
            # As below, in two thirds of the time.
            name = plain_text(cell)
            if name not in self._codes and name in self._feature.reading.missing_texts:
                return -1
            name = category_key(name)
        else:
            number, _ = self._feature.encode(cell)
            if np.isnan(number):
                return -1
            known = number < len(self._feature.categories)
            if not self._grows:
                return int(number) if known else -1
            if known and not self._apart:
                name = self._feature.categories[int(number)]
            else:
                name = plain_text(cell) if self._apart and isinstance(cell, str) else category_key(cell)
        merged = not self._apart and not differs_by_case(name)
        code = self._codes.get(name, self._folded.get(name.casefold()) if merged else None)
        if code is None:
            code = len(self.names)
            self.names.append(name)
            self._codes[name] = code
            if merged:
                self._folded[name.casefold()] = code
        return code
