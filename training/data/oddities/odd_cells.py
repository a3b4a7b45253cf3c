"""Judge the odd cells of a column, which are neither what the others are nor missing: name them, or stop the fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.rows.spellings.number_parts import has_unit
from eigenserve.training.data.reading_options import ColumnType
from eigenserve.training.data.spellings.date_texts import are_no_dates
from eigenserve.training.data.texts import Texts

#: Share of a column's cells that may be neither what the others are nor missing.
MOST_ODD = 0.01
#: Odd cells that a note names, and odd texts that a model keeps as texts for a missing value.
NAMED, KEPT = 3, 50
#: What the cells of a column are -> what all of them are, and the type that an option gives the column.
_KINDS = {
    "a number": ("numbers", "number"),
    "a finite number": ("finite numbers", "number"),
    "a date": ("dates", "date"),
    "a time": ("times", "time"),
}


def odd_texts(
    name: str, kind: str, texts: Texts, odd: NDArray[np.bool_], wanted: ColumnType | None
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Return the texts of odd cells, which count as missing, whether all others would, and a note that names them.

    Args:
        name: of the column.
        kind: what its cells should be, such as "a number".
        texts: of the column.
        odd: (texts,), which of them are not.
        wanted: the type, where it is given.

    Raises:
        UserError: too many of them, unless they are words for a missing value or the type is given.
    """
    if not odd.any():
        return (), False, ()
    places = np.flatnonzero(odd)[np.argsort(texts.rows[odd], kind="stable")]
    named = [(int(texts.rows[i]), texts.texts[i]) for i in places]
    strange = odd & ~texts.is_marker()
    if kind == "a date":
        strange &= ~are_no_dates(texts.texts)
    if strange.any() and wanted is None:
        first = min(np.flatnonzero(strange), key=lambda i: texts.rows[i])
        example = int(texts.rows[first]), texts.texts[first]
        check_share(name, kind, example, texts.count(strange), texts.present)
    note = odd_note(name, kind, named, texts.count(odd), texts.present)
    kept = tuple(texts.texts[i] for i in places[:KEPT])
    return kept, wanted is not None or len(places) > len(kept), (note,)


def check_share(name: str, kind: str, example: tuple[int, object], count: int, present: int) -> None:
    """Check that few enough cells of a column are odd.

    Args:
        name: of the column.
        kind: what its cells should be, such as "a number".
        example: row and value of an odd one.
        count: how many are odd.
        present: how many are not missing.

    Raises:
        UserError: more than one, and more than MOST_ODD.
    """
    if count <= max(1.0, MOST_ODD * present):
        return
    every, option = _KINDS[kind]
    row, value = example
    raise UserError(
        f"column {name!r} is nearly all {every}, but {count:,} of {present:,} cells ({count / present:.1%}) are not, "
        f"such as {_shown(value, row)}: mend them, or give --types {name}={option} (they count as missing) or "
        f"{name}=category"
    )


def odd_note(name: str, kind: str, named: Sequence[tuple[int, object]], count: int, present: int) -> str:
    """Write a note that names the first odd cells by row and value."""
    shown = ", ".join(_shown(value, row) for row, value in named[:NAMED])
    shown += ", ..." if count > min(NAMED, len(named)) else ""
    if count == 1:
        return f"in {name!r} 1 cell that is not {kind} counts as missing: {shown}"
    return f"in {name!r} {count:,} of {present:,} cells are not {kind} and count as missing: {shown}"


def _shown(value: object, row: int) -> str:
    """Name a cell by its value and row; say so where it has a unit that the others have not."""
    unit = " (another unit)" if isinstance(value, str) and has_unit(value) else ""
    return f"{value!r} in row {row + 1}{unit}"
