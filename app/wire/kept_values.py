"""Check the values that are handed through when they are read, so that every format of answer can write them."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import orjson
from pydantic_core import to_jsonable_python

from eigenserve.app.problems import Location, invalid
from eigenserve.app.wire.arrow import load_pyarrow
from eigenserve.app.wire.describe import describe

#: Characters of a text that is handed through: ids, dates and names are shorter, and each may wait to be recorded.
MAX_TEXT = 512
_SCALARS = frozenset({type(None), bool, int, float, str, date, datetime, time})
#: Cells of Arrow columns that JSON has no form for: written as texts, decimals with all their digits, durations as
#: ISO 8601 has them.
_AS_TEXT = frozenset({Decimal, timedelta, bytes, UUID})


def kept_cells(values: Any, loc: Location, name: str, start: int = 0) -> Any:
    """Return the cells of a column to hand through, all of which can be written.

    Args:
        values: a list, or an array of numbers.
        loc: where in the body the rows are.
        name: of the column.
        start: the row of the first cell.

    Raises:
        ProblemError: 422 naming a cell that is not a text, a number, a boolean, a date, a time or null.
    """
    if isinstance(values, np.ndarray):
        return values
    kinds = set(map(type, values))
    if not kinds.isdisjoint(_AS_TEXT):
        values = [
            _text(cell, (*loc, start + i, name)) if type(cell) in _AS_TEXT else cell for i, cell in enumerate(values)
        ]
        kinds = (kinds - _AS_TEXT) | {str}
    if not kinds <= _SCALARS:
        row = next(i for i, cell in enumerate(values) if type(cell) not in _SCALARS)
        raise _refused((*loc, start + row, name), describe(values[row]))
    if str in kinds:
        longest = max(map(len, values)) if kinds == {str} else max(len(cell) for cell in values if type(cell) is str)
        if longest > MAX_TEXT:
            row = next(i for i, cell in enumerate(values) if type(cell) is str and len(cell) > MAX_TEXT)
            raise _refused((*loc, start + row, name), f"a text of {len(values[row])} characters")
    return values


def check_tensor(values: Any, datatype: str, layout: str | None, loc: Location) -> None:
    """Check that values to hand through fit the datatype of their tensor.

    Null is a missing number or text: NaN, or an empty text, where an answer is binary.

    Args:
        values: a list, or an array that was read from the binary form.
        datatype: of the Open Inference Protocol.
        layout: of its numbers; None for texts.
        loc: of the tensor's data.

    Raises:
        ProblemError: 422.
    """
    if isinstance(values, np.ndarray):
        return
    kinds = set(map(type, values))
    if layout is None:
        fits, wanted = kinds <= {str, type(None)}, f"texts of at most {MAX_TEXT} characters, or null"
        fits = fits and max((len(text) for text in values if text is not None), default=0) <= MAX_TEXT
    elif np.dtype(layout).kind == "b":
        fits, wanted = kinds <= {bool}, "true or false"
    elif np.dtype(layout).kind == "f":
        fits, wanted = kinds <= {int, float, type(None)}, "numbers that it can hold, or null"
        with np.errstate(over="ignore"):
            fits = fits and not np.isinf(np.array(values, np.float64).astype(layout)).any()
    else:
        limits = np.iinfo(layout)
        wanted = f"whole numbers from {limits.min} to {limits.max}"
        fits = kinds <= {int} and limits.min <= min(values) and max(values) <= limits.max
    if not fits:
        raise invalid(loc, f"must be {wanted}, as its datatype {datatype} says, to be handed through")


def arrow_kept(kept: dict[str, Any]) -> dict[str, Any]:
    """Return columns to hand through as arrays of one type each: where cells are of several kinds, as texts."""
    pyarrow = load_pyarrow()
    columns = {}
    for name, values in kept.items():
        try:
            columns[name] = pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):
            columns[name] = pyarrow.array(
                [None if cell is None else _written(cell) for cell in values], pyarrow.string()
            )
    return columns


def _text(cell: Any, loc: Location) -> str:
    try:
        return str(to_jsonable_python(cell))
    except ValueError:
        raise _refused(loc, "bytes that are not UTF-8") from None


def _written(cell: Any) -> str:
    return cell if isinstance(cell, str) else orjson.dumps(cell).decode().strip('"')


def _refused(loc: Location, got: str) -> Exception:
    message = f"must be a text of at most {MAX_TEXT} characters, a number, true, false or null to be handed through"
    return invalid(loc, f"{message}; got {got}")
