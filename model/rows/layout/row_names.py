"""Decide what rows with one cell more than their header mean: row names without a name, or a header that lacks one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

#: Rows from which whole numbers that go up in steps show a header that leaves out the column of row names.
LEAST_ROWS = 10
_WHOLE, _NUMBER = re.compile(r"[0-9]+"), re.compile(r"[+-]?[0-9.,]+(?:[eE][+-]?[0-9]+)?%?")
#: 2020-01-31 10:00, 31.01.2020, 31 Jan 2020, 2024Q3, 10:30.
_DATE = re.compile(r"[0-9]{1,4}([-/:. ]|[QWMqwm])[0-9]{1,2}\b.*|[0-9]{1,2}[-. ][^\W\d_]{3,9}[-., ]+[0-9]{2,4}\b.*")
#: Names under which rows are numbered.
_NUMBERING = re.compile(r"#|(?:row|obs)?[ _.]?(?:id|idx|index|no|nr|num|number|row|obs)\.?", re.IGNORECASE)


def are_row_names(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether rows, which have one cell more than their header, begin with names of rows.

    Programs write counts or texts as such; numbers with decimals and dates are cells of the first column that the
    header names, which then lacks another name.

    Args:
        names: those of the header.
        rows: cells without blanks around them, one more than there are names.
    """
    first = [row[0] for row in rows]
    if len(first) < 2 or len(set(first)) < len(first) or "" in first:
        return False
    if not all(map(_WHOLE.fullmatch, first)):
        return not any(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell) for cell in first)
    steps = {int(after) - int(before) for before, after in itertools.pairwise(first)}
    goes_up = steps == {1} or (len(first) >= LEAST_ROWS and min(steps) > 0)
    numbered = _NUMBERING.fullmatch(names[0]) and not all(_WHOLE.fullmatch(row[1]) for row in rows)
    return goes_up and not numbered and not has_decimal_commas([row[1:] for row in rows])


def has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether two cells in a row look like whole numbers and their decimals: as many digits in every row."""
    columns = [list(map(str.strip, column)) for column in zip(*rows, strict=True)]
    return any(_may_be_decimals(whole, rest) for whole, rest in itertools.pairwise(columns))


def _may_be_decimals(whole: Sequence[str], decimals: Sequence[str]) -> bool:
    if not all(re.fullmatch(r"[+-]?[0-9]+", cell) for cell in whole) or not all(map(_WHOLE.fullmatch, decimals)):
        return False
    widths = set(map(len, decimals))
    # One digit may be a small number, unless it takes every value.
    return len(widths) == 1 and (widths != {1} or len(set(decimals)) == 10)


def remedy_of(rows: Sequence[Sequence[str]], separator: str) -> str:
    """Say what to do with rows that all have one cell more than their header.

    Args:
        rows: some of them, as wide.
        separator: of their cells.
    """
    names = "name every column in the header, also the first if it has row names"
    if separator == "," and has_decimal_commas(rows):
        return f"if these are decimal commas, quote such numbers or separate cells by semicolons; else {names}"
    return names
