"""Read the first sheet of an Excel workbook."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO, Any

from eigenserve.errors import UserError
from eigenserve.model.rows.layout.titles import titles_above, titles_note
from eigenserve.model.rows.sources import Source, check_content, unreadable

#: Rows in which titles above the header are looked for.
HEAD_ROWS = 200


def first_sheet(source: Source, wanted: Collection[str] = ()) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    """Return the first sheet's rows that are not empty, all of one width, and what the user should know.

    The first row has the names of the columns; titles above it are left out.

    Args:
        source: the workbook.
        wanted: names that the columns should have.

    Raises:
        UserError: openpyxl is not installed, the file is not a workbook, its formulas have no values, or its first
            sheet is empty.
    """
    check_content(source)
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
            formulas = list(_formulas_without_values(openpyxl, file)) if any(None in row for row in lines) else []
    except Exception as error:  # openpyxl raises what zipfile, XML and its own readers do
        raise unreadable(source.name, error) from error
    if formulas:
        raise UserError(
            f"{source.name} has formulas without values, such as {formulas[0]} ({len(formulas):,} in all), as programs "
            "write them that do not compute: open it in Excel or LibreOffice, and save it"
        )
    if not lines:
        raise UserError(f"{source.name} has no rows in its first sheet, {sheets[0]!r}")
    notes = [f"the first of {len(sheets)} sheets was read, {sheets[0]!r}"] if len(sheets) > 1 else []
    width = max(map(len, lines))
    lines = [row + (None,) * (width - len(row)) for row in lines]
    head = [["" if cell is None else str(cell).strip() for cell in row] for row in lines[:HEAD_ROWS]]
    if titles := titles_above(head, wanted):
        notes.append(titles_note(head[:titles]))
    return lines[titles:], tuple(notes)


def _formulas_without_values(openpyxl: Any, file: IO[bytes]) -> Iterator[str]:
    """Yield the places of cells that have a formula and no value; an empty text is one."""
    books = [openpyxl.load_workbook(file, read_only=True, data_only=data_only) for data_only in (True, False)]
    for book in books:
        book.worksheets[0].reset_dimensions()
    for rows in zip(*(book.worksheets[0].iter_rows() for book in books), strict=True):
        for value, formula in zip(*rows, strict=True):
            if value.value is None and value.data_type == "n" and formula.data_type == "f":
                yield formula.coordinate
    for book in books:
        book.close()


def _written(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the cells of a row up to the last one that is not empty; none where all are empty or blanks."""
    width = len(row)
    while width and row[width - 1] is None:
        width -= 1
    blank = all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in row[:width])
    return () if blank else row[:width]
