"""Read tables whose cells stand apart by runs of blanks, as programs align them in columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

#: The separator of such tables.
BLANKS = "blanks"
#: Rows that prove it where no name that is wanted does.
_LEAST_ROWS = 3
_CELL = re.compile(r'"((?:[^"]|"")*)"(?![^ \t])|([^ \t]+)')
_NUMBER = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+[.,]?(?:[eE][+-]?[0-9]+)?")
_SEPARATORS = (",", ";", "|")


class BlankReader:
    """Yield the cells of each line, as ``csv.reader`` does; cells in quotes may have blanks.

    Attributes:
        line_num: lines that were read.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.line_num = 0

    def __iter__(self) -> Iterator[list[str]]:
        for line in self._lines:
            self.line_num += 1
            yield [match[2] or match[1].replace('""', '"') for match in _CELL.finditer(line.strip(" \t\r\n"))]


def are_aligned(lines: Sequence[str], wanted: Collection[str], tabs: bool = False) -> bool:
    """Return whether runs of blanks part every line of a table into as many cells, but for a header without row names.

    Args:
        lines: from the header on.
        wanted: names that the header should have.
        tabs: whether tabs alone part it as well: then names that are wanted, which they do not part, decide, or a first
            line of numbers.
    """
    rows = [row for row in BlankReader(lines) if row]
    if not rows or lines[0].strip() in wanted:
        return False
    header, below = rows[0], rows[1:]
    widths = set(map(len, below))
    if len(widths) != 1 or max(widths) < 2 or len(header) not in (max(widths), max(widths) - 1):
        return False
    if any(cell.endswith(_SEPARATORS) for row in rows[: _LEAST_ROWS + 1] for cell in row):
        return False
    named = not set(wanted).isdisjoint(header)
    if tabs:
        is_data = 2 * sum(bool(_NUMBER.fullmatch(cell)) for cell in header) > len(header)
        return (named or is_data) and set(wanted).isdisjoint(map(str.strip, lines[0].split("\t")))
    return named or (len(below) >= _LEAST_ROWS and any(_are_numbers(column) for column in zip(*below, strict=True)))


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(map(_NUMBER.fullmatch, cells))
