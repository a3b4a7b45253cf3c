"""Read the first sheet of an Excel workbook."""

from __future__ import annotations

from typing import Any

from eigenserve.errors import UserError
from eigenserve.model.rows.sources import Source, unreadable


def first_sheet(source: Source) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return the first sheet's rows that are not empty, the names of the columns first, and all sheets' names.

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
            rows = book.worksheets[0].iter_rows(values_only=True)
            lines = [row for row in rows if any(cell is not None for cell in row)]
            sheets = book.sheetnames
            book.close()
    except Exception as error:  # openpyxl raises what zipfile, XML and its own readers do
        raise unreadable(source.name, error) from error
    if not lines:
        raise UserError(f"{source.name} has no rows in its first sheet, {sheets[0]!r}")
    return lines, sheets
