"""Limit the rows and values of a request, whatever form they come in."""

from __future__ import annotations

from typing import Any

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.json_rows import RowSlices
from eigenserve.model.rows.errors import Location

#: Values of one request: as Python objects each takes 32 bytes.
MAX_CELLS = 3_000_000
#: Of a tensor: [N] and [N, 1] are a feature's, [N, F] is that of all; a few more ones do no harm.
MAX_DIMENSIONS = 8


def check_rows(rows: Any, max_rows: int, loc: Location) -> list[Any] | RowSlices:
    """Return the rows of a body, if they are a list of not too many.

    Raises:
        ProblemError: 422, 413.
    """
    if not isinstance(rows, list | RowSlices):
        raise invalid(loc, f"must be a list of rows; got {describe(rows)}")
    if not len(rows):
        raise invalid(loc, "must have at least one row; got an empty list")
    check_count(len(rows), max_rows)
    return rows


def check_columns(columns: dict[str, Any], max_rows: int, loc: Location) -> dict[str, Any]:
    """Check columns by name: they must be lists of one length.

    Raises:
        ProblemError: 422, 413.
    """
    lengths = {len(values) if isinstance(values, list) else -1 for values in columns.values()}
    if len(lengths) != 1 or min(lengths) < 1:
        raise invalid(loc, "must have a list of values for every column, all of one length, at least 1")
    count = lengths.pop()
    check_count(count, max_rows)
    check_cells(count * len(columns))
    return columns


def check_cells(count: int) -> None:
    """Refuse a request of more values than one may have.

    Raises:
        ProblemError: 413.
    """
    if count > MAX_CELLS:
        raise ProblemError(413, f"a request must have at most {MAX_CELLS} values: send several requests")


def check_count(count: int, max_rows: int) -> None:
    """Refuse a request of more rows than one may have.

    Raises:
        ProblemError: 413.
    """
    if count > max_rows:
        raise ProblemError(413, f"a request must have at most {max_rows} rows; got {count}: send several requests")
