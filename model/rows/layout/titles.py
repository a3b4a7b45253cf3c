"""Find the header of a table below lines of titles, where it is unmistakable."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice

from eigenserve.model.rows.readings import MISSING_TEXTS

#: Lines of titles that may stand above a header.
MOST_TITLES = 20
#: Rows below a header that show that it is one, and the share of them that must be as wide as it.
LEAST_ROWS, SAME_WIDTH = 3, 0.95
#: Share of a column's cells that must be numbers for a name above them to be no cell of theirs.
NUMBERS = 0.8
#: Quotes that CSV does not know, and what parts the cells of a line that is one cell.
_QUOTES = frozenset({("'", "'"), ("`", "`"), ("´", "´"), ("‘", "’"), ("“", "”"), ("„", "“"), ("«", "»")})
_PARTED = re.compile(r"[^,;\t|]+([,;\t|])[^,;\t|]+")
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*")


def titles_above(rows: Sequence[Sequence[str]], wanted: Collection[str] = ()) -> int:
    """Count the rows of titles above a header.

    The header has a different name for each cell, none of them a number. Either it has all names that are wanted, which
    no row above has; or the titles are first cells alone, or not half of a row, and a column of numbers is below it.

    Args:
        rows: cells of the first rows of a table, without blanks around them; rows may end early.
        wanted: names that the header should have.

    Returns:
        0 where the first row is the header, or where none is for certain.
    """
    widths = Counter(len(row) for row in rows)
    width = widths.most_common(1)[0][0] if rows else 0
    plain = True
    for count, row in islice(enumerate(rows), MOST_TITLES + 1):  # noqa: B007 (it is used below)
        if len(row) == width and all(row):
            break
        cells = sum(map(bool, row))
        plain = plain and not (cells and not row[0]) and cells <= max(1, (width - 1) // 2)
    else:
        return 0
    below = rows[count + 1 :]
    fitting = [other for other in below if len(other) == width]
    is_header = (
        width > 1
        and len(set(row)) == width
        and not any(_NUMBER.fullmatch(cell) or cell in MISSING_TEXTS for cell in row)
        and len(below) >= LEAST_ROWS
        and len(fitting) >= SAME_WIDTH * len(below)
    )
    named = bool(wanted) and set(wanted) <= set(row) and not set(wanted) & set().union(*rows[:count])
    by_shape = plain and any(map(_are_numbers, zip(*fitting, strict=True)))
    return count if is_header and (named or by_shape) else 0


def as_called(present: Sequence[str], wanted: Collection[str]) -> list[str]:
    """Return a table's names, of which those that differ from a wanted one by blanks around it alone are that one.

    CSV and workbooks are read without such blanks, other formats with them.
    """
    known = set(wanted)
    absent = known - set(present)
    if not absent:
        return list(present)
    spare = Counter(name.strip() for name in present if name not in known)
    sought = Counter(name.strip() for name in absent)
    called = {name.strip(): name for name in absent if sought[name.strip()] == spare[name.strip()] == 1}
    return [name if name in known else called.get(name.strip(), name) for name in present]


def header_remedy(names: Sequence[str]) -> str:
    """Say what to do with a header that shows quotes where CSV has none; an empty text for others."""
    if len(names) == 1 and _PARTED.search(names[0]):
        return "each line is in quotes as a whole: remove the quotes around lines"
    quoted = sum(len(name) > 1 and (name[0], name[-1]) in _QUOTES for name in names)
    if 2 * quoted > len(names):
        return f'cells are in the quotes {names[0][:1]}, which CSV does not know: put " in their place'
    return ""


def titles_note(rows: Sequence[Sequence[str]]) -> str:
    """Say which rows of titles were passed over."""
    shown = next((cell for row in rows for cell in row if cell), "")
    lines = "1 line above the header was" if len(rows) == 1 else f"{len(rows)} lines above the header were"
    return f"{lines} passed over: {shown[:40]!r}{', ...' if len(rows) > 1 else ''}"


def _are_numbers(cells: Sequence[str]) -> bool:
    present = [cell for cell in cells if cell not in MISSING_TEXTS]
    return bool(present) and sum(bool(_NUMBER.fullmatch(cell)) for cell in present) >= NUMBERS * len(present)
