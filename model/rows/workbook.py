"""Read the first sheet of an Excel workbook."""

from __future__ import annotations

from typing import Any

from eigenserve.errors import UserError
from eigenserve.model.rows.sources import Source, unreadable


def first_sheet(source: Source) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return the first sheet's rows that are not empty, all of one width, and all sheets' names.

    The first row has the names of the columns.

    Raises:
        UserError: openpyxl is not installed, the file is not a workbook, or its first sheet is empty.
    """
    try:
        import openpyxl
    except ImportError:
        raise UserError(
            f"{source.name} needs openpyxl, which is not installed: pip install 'eigenserve[excel]', or save it as CSV"
        ) from None
    try:
        with source.open() as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            # What a file says of its size is often wrong: "A1" for all of it, or nothing.
            sheet.reset_dimensions()
            lines = [row for row in map(_written, sheet.iter_rows(values_only=True)) if row]
            sheets = book.sheetnames
            book.close()
    except Exception as error:  # openpyxl raises what zipfile, XML and its own readers do
        raise unreadable(source.name, error) from error
    if not lines:
        raise UserError(f"{source.name} has no rows in its first sheet, {sheets[0]!r}")
    width = max(map(len, lines))
    return [row + (None,) * (width - len(row)) for row in lines], sheets


def _written(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the cells of a row up to the last one that is not empty."""
    width = len(row)
    while width and row[width - 1] is None:
        width -= 1
    return row[:width]
