"""Read a sheet of an Excel workbook: the first, or the one with the columns that are wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import IO, Any

from eigenserve.errors import UserError
from eigenserve.model.rows.layout.titles import titles_above, titles_note
from eigenserve.model.rows.sources import Source, check_content, unreadable

#: Rows in which titles above the header are looked for.
HEAD_ROWS = 200
#: Columns of each sheet that a message names.
_NAMED = 5
Row = tuple[Any, ...]


def read_sheet(source: Source, wanted: Collection[str] = ()) -> tuple[list[Row], tuple[str, ...]]:
    """Return a sheet's rows that are not empty, all of one width, and what the user should know.

    It is the first, or the only other one whose header has more of the names that are wanted. The first row has the
    names of the columns; titles above it are left out.

    Args:
        source: the workbook.
        wanted: names that the columns should have.

    Raises:
        UserError: openpyxl is not installed, the file is not a workbook, its formulas have no values, its first sheet
            is empty, or none or several of its sheets have a column that is wanted.
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
            sheets = [sheet.title for sheet in book.worksheets]
            at = _place(source.name, book.worksheets, wanted)
            lines = list(_rows(book.worksheets[at]))
            book.close()
            formulas = list(_formulas_without_values(openpyxl, file, at)) if any(None in row for row in lines) else []
    except UserError:
        raise
    except Exception as error:  # openpyxl raises what zipfile, XML and its own readers do
        raise unreadable(source.name, error) from error
    if formulas:
        raise UserError(
            f"{source.name} has formulas without values, such as {formulas[0]} ({len(formulas):,} in all), as programs "
            "write them that do not compute: open it in Excel or LibreOffice, and save it"
        )
    if not lines:
        raise UserError(f"{source.name} has no rows in its first sheet, {sheets[0]!r}")
    notes = []
    if at:
        notes.append(f"the sheet {sheets[at]!r} was read, which has the columns that the first, {sheets[0]!r}, has not")
    elif len(sheets) > 1:
        notes.append(f"the first of {len(sheets)} sheets was read, {sheets[0]!r}")
    width = max(map(len, lines))
    lines = [row + (None,) * (width - len(row)) for row in lines]
    titles, head = _head(lines, wanted)
    if titles:
        notes.append(titles_note(head[:titles]))
    return lines[titles:], tuple(notes)


def _place(name: str, sheets: Sequence[Any], wanted: Collection[str]) -> int:
    """Find the sheet to read: the first, unless one other has more of the names that are wanted."""
    if not wanted or len(sheets) == 1:
        return 0
    wanted = [name.strip() for name in wanted]
    headers = [_header(sheets[0], wanted)]
    if set(wanted) <= set(headers[0]):
        return 0
    headers += [_header(sheet, wanted) for sheet in sheets[1:]]
    having = [len(set(wanted).intersection(header)) for header in headers]
    best = [i for i, count in enumerate(having) if count == max(having) > 0]
    if len(best) == 1 or best[:1] == [0]:
        return best[0]
    titles = [sheet.title for sheet in sheets]
    if best:
        several = " and ".join(repr(titles[i]) for i in best)
        raise UserError(f"{name} has the columns in several sheets, {several}: move the one to read to the front")
    shown = "; ".join(f"{title!r}: {_shown(header)}" for title, header in zip(titles, headers, strict=True))
    raise UserError(f"no sheet of {name} has a column {next(iter(wanted))!r}; they have {shown}")


def _shown(header: Sequence[str]) -> str:
    names = [cell for cell in header if cell]
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "") if names else "nothing"


def _header(sheet: Any, wanted: Collection[str]) -> list[str]:
    """Return the names of a sheet's columns; none of an empty one."""
    titles, head = _head(list(islice(_rows(sheet), HEAD_ROWS)), wanted)
    return head[titles] if head else []


def _head(lines: Sequence[Row], wanted: Collection[str]) -> tuple[int, list[list[str]]]:
    """Count the rows of titles above a header, and return the first rows as texts."""
    width = max(map(len, lines), default=0)
    head = [
        ["" if cell is None else str(cell).strip() for cell in row] + [""] * (width - len(row))
        for row in lines[:HEAD_ROWS]
    ]
    return titles_above(head, wanted), head


def _rows(sheet: Any) -> Iterator[Row]:
    """Yield the rows of a sheet that are not empty."""
    # What a file says of its size is often wrong: "A1" for all of it, or nothing.
    sheet.reset_dimensions()
    yield from filter(None, map(_written, sheet.iter_rows(values_only=True)))


def _formulas_without_values(openpyxl: Any, file: IO[bytes], at: int) -> Iterator[str]:
    """Yield the places of cells of a sheet that have a formula and no value; an empty text is one."""
    books = [openpyxl.load_workbook(file, read_only=True, data_only=data_only) for data_only in (True, False)]
    for book in books:
        book.worksheets[at].reset_dimensions()
    for rows in zip(*(book.worksheets[at].iter_rows() for book in books), strict=True):
        for value, formula in zip(*rows, strict=True):
            if value.value is None and value.data_type == "n" and formula.data_type == "f":
                yield formula.coordinate
    for book in books:
        book.close()


def _written(row: Row) -> Row:
    """Return the cells of a row up to the last one that is not empty; none where all are empty or blanks."""
    width = len(row)
    while width and row[width - 1] is None:
        width -= 1
    blank = all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in row[:width])
    return () if blank else row[:width]
