"""Infer the structure of a CSV text: its encoding, its separator, its header, and the width of its rows."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eigenserve.errors import UserError
from eigenserve.model.rows.errors import CsvError
from eigenserve.model.rows.layout.blanks import BLANKS, BlankReader, are_aligned
from eigenserve.model.rows.layout.row_names import are_row_names, has_decimal_commas, remedy_of
from eigenserve.model.rows.layout.titles import header_remedy, titles_above, titles_note
from eigenserve.model.rows.text_encoding import byte_order_mark, encoding_of_head

#: Records there that are looked at.
HEAD_RECORDS = 200
SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
#: Characters of lines whose cells are all empty.
_EMPTY = ' \u00a0\r\n"\ufeff' + "".join(SEPARATORS)
#: Ragged lines that an error names.
_NAMED = 3
# A field may be a text of any length, within what was read.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class CsvLayout:
    """Say how a CSV text is taken apart.

    Attributes:
        encoding: as Python names it.
        separator: what stands between cells; ``BLANKS`` for runs of blanks and tabs.
        names: of the cells of a row, without blanks around them; "" for a cell that is left out.
        start: bytes before the first row.
        lines: lines before the first row.
        blank_before_quote: blanks may stand between a separator and a quoted cell.
        notes: what the user should know.
        passed_over: cells of a row that its header does not name, of which a note speaks.
    """

    encoding: str
    separator: str
    names: tuple[str, ...]
    start: int
    lines: int
    blank_before_quote: bool = False
    notes: tuple[str, ...] = ()
    passed_over: int = 0


def csv_separator(text: str | None) -> str | None:
    """Return the separator that an option names, as itself or as tab; None where none is given.

    Raises:
        UserError: a text that is not one character.
    """
    if text is None:
        return None
    separator = SEPARATOR_NAMES.get(text, text)
    if len(separator) != 1 or separator in '"\r\n':
        raise UserError(f"--csv-separator must be one character, or tab; got {text!r}")
    return separator


def infer_layout(
    head: bytes,
    *,
    complete: bool,
    wanted: Collection[str] = (),
    separator: str | None = None,
    encoding: str | None = None,
) -> CsvLayout:
    """Infer the layout of a CSV text from its beginning.

    Args:
        head: its first bytes.
        complete: whether they are all of it.
        wanted: names that the header should have; of two separators, that which yields more of them is chosen.
        separator: the separator, if it is given.
        encoding: likewise.

    Raises:
        CsvError: an empty text, bytes that are not in the encoding, or an encoding that must be given.
    """
    mark, marked = byte_order_mark(head)
    encoding = encoding or marked or encoding_of_head(head)
    text = _decoded(head[len(mark) :], encoding, complete)
    lines = list(io.StringIO(text, newline=""))
    if not complete and len(lines) > 1:
        lines.pop()  # It may go on.
    first, hint = _first_line(lines)
    if first == len(lines):
        raise CsvError("must have a first line with the names of the columns; got nothing")
    given = separator or hint
    likely, regular = (given, given != " ") if given else _separator(lines[first:], wanted)
    titles, separator, skipped = _titles(lines[first:], [likely] if given else [likely, *SEPARATORS], wanted)
    first += skipped
    head_lines = _below_comments(lines[first:])[: HEAD_RECORDS + 1]
    if not titles and (not regular or (separator == "\t" and not given)) and are_aligned(head_lines, wanted, regular):
        separator = BLANKS
    quoted = any(re.match(' +"', cell) for _, row in _head_records(lines[first:], separator, False) for cell in row)
    first += _comments(lines[first:], separator, quoted)
    records = list(_head_records(lines[first:], separator, quoted))
    if not records:
        raise CsvError("must have a first line with the names of the columns; got a quoted cell that does not end")
    taken, header = records[0]
    rows = [row for _, row in records[1:]]
    if not complete and len(rows) > 1:
        rows.pop()  # A quoted cell may go on.
    names, notes = _row_names([cell.strip() for cell in header], rows)
    before = "".join(lines[: first + taken])
    return CsvLayout(
        encoding=encoding,
        separator=separator,
        names=tuple(names),
        start=len(mark) + len(before.encode(encoding)),
        lines=first + taken,
        blank_before_quote=quoted,
        notes=(*titles, *notes),
        passed_over=len(notes),
    )


def records(lines: Iterable[str], layout: CsvLayout) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each row ends and its cells, whatever their number; blank lines are passed over.

    Args:
        lines: of the text behind its header, with their ends.
        layout: of the text.

    Raises:
        CsvError: a quoted cell that does not end, or goes on behind its quotes.
    """
    reader = _reader(lines, layout.separator, layout.blank_before_quote, strict=True)
    end = layout.lines
    try:
        for row in reader:
            end = layout.lines + reader.line_num
            if len(row) > 1 or (row and row[0].strip()):
                yield end, row
    except csv.Error as error:
        # The record that cannot be read begins behind the last one that could.
        last = layout.lines + reader.line_num
        where = f" in line {last}" if last > end + 1 else ""
        mend = 'end it with a quote, and write one within it twice ("", not \\")'
        faults = {
            "end of data": f"a quoted cell is not closed: {mend}",
            "expected after": f"a quoted cell ends{where}, and text follows it: {mend}",
        }
        fault = next((words for sign, words in faults.items() if sign in str(error)), str(error))
        raise CsvError(f"line {end + 1}: {fault}") from None


def rows_of(lines: Iterable[str], layout: CsvLayout) -> Iterator[list[str]]:
    """Yield rows of ``len(layout.names)`` cells.

    Raises:
        CsvError: once all rows were looked at, naming the first lines of another width.
    """
    width, count, at = len(layout.names), 0, None
    bad: list[str] = []
    wider: list[list[str]] = []
    shown = sum(map(bool, layout.names)) if "" in (layout.names[0], layout.names[-1]) else width
    for i, (line, row) in enumerate(records(lines, layout)):
        if len(row) == width:
            if not bad:
                yield row
            continue
        count += 1
        at = i if at is None else at
        if len(row) == width + 1 and len(wider) < HEAD_RECORDS:
            wider.append(row)
        if len(bad) < _NAMED:
            bad.append(f"line {line} has {len(row)}")
    if bad:
        more = f", and so on ({count} lines)" if count > len(bad) else ""
        names = ", ".join(name or "(none)" for name in layout.names[:4]) + (", ..." if width > 4 else "")
        kept = "" if shown == width else " and 1 without a name"
        remedy = "mend these lines, or quote cells that hold the separator"
        if len(wider) == min(i + 1, HEAD_RECORDS) and (width > 1 or has_decimal_commas(wider)):
            remedy = remedy_of(wider, layout.separator)
        elif count > _NAMED and width == 1:
            remedy = f"remove the lines above the header if the first is not it; else {remedy}"
        remedy = header_remedy(layout.names) or remedy
        raise CsvError(
            f"rows must have {shown} values{kept}, as the header has ({names}); {', '.join(bad)}{more}: {remedy}",
            at,
        )


def columns_of(text: str, layout: CsvLayout) -> dict[str, list[str]]:
    """Return all rows of a text behind its header, by column; a column without a name is left out.

    Raises:
        CsvError: as ``rows_of``.
    """
    rows = list(rows_of(io.StringIO(text, newline=""), layout))
    cells: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * len(layout.names)
    return {name: list(column) for name, column in zip(layout.names, cells, strict=True) if name}


def _decoded(head: bytes, encoding: str, complete: bool) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head, complete)
    except UnicodeDecodeError as error:
        raise CsvError(
            f"must be {encoding.upper()}; byte {error.start} is not: give --encoding, such as cp850 or utf-32"
        ) from None
    except LookupError:
        raise CsvError(f"unknown encoding {encoding!r}; known ones are utf-8, cp1252, utf-16 and so on") from None


def _first_line(lines: Sequence[str]) -> tuple[int, str | None]:
    """Find the first line with a cell that is not empty, and the separator that Excel writes above it (``sep=;``)."""
    first = next((i for i, line in enumerate(lines) if line.strip(_EMPTY)), len(lines))
    if first < len(lines) and (hint := re.fullmatch(r"sep=(.)\s*", lines[first], re.IGNORECASE)):
        return first + 1 + _first_line(lines[first + 1 :])[0], hint[1]
    return first, None


def _titles(
    lines: Sequence[str], separators: Sequence[str], wanted: Collection[str]
) -> tuple[tuple[str, ...], str, int]:
    """Find titles above the header: a note on them, the separator of what is below, and how many lines they take.

    Args:
        lines: from the first one that is not blank.
        separators: in question, the most likely one first.
        wanted: as for ``infer_layout``.
    """
    cells = next((row for _, row in _head_records(lines, separators[0], True)), [])
    alone = sum(bool(cell.strip()) for cell in cells) <= 1
    for separator in separators if alone else separators[:1]:
        parted = list(_head_records(lines, separator, True))
        rows = [[cell.strip() for cell in row] for _, row in parted]
        if count := titles_above(rows, wanted):
            return (titles_note(rows[:count]),), separator, parted[count - 1][0]
    return (), separators[0], 0


def _comments(lines: Sequence[str], separator: str, quoted: bool) -> int:
    """Count lines that begin with # above the header, which may itself begin so."""
    count = len(lines) - len(_below_comments(lines))
    if count:
        widths = [len(row) for _, row in _head_records(lines[count - 1 : count + 2], separator, quoted)]
        if len(widths) > 1 and widths[0] > 1 and widths[0] == widths[1] and lines[count - 1].startswith("#"):
            below = next(iter(_head_records(lines[count:], separator, quoted)))[1]
            if any(re.fullmatch(r"[+-]?[0-9.]+", cell.strip()) for cell in below):
                return count - 1
    return count if count < len(lines) else 0


def _below_comments(lines: Sequence[str]) -> Sequence[str]:
    return list(itertools.dropwhile(lambda line: line.startswith("#"), lines))


def _separator(lines: Sequence[str], wanted: Collection[str]) -> tuple[str, bool]:
    """Choose the known separator that parts the header and most rows into as many cells, and say whether it does."""

    def worth(separator: str) -> tuple[int, bool, int]:
        parted = [row for _, row in _head_records(lines, separator, True)] or [[]]
        names, width = {cell.strip() for cell in parted[0]}, len(parted[0])
        fitting = sum(len(row) in (width, width + 1) for row in parted[1:])
        regular = width > 1 and fitting >= 0.8 * (len(parted) - 1)
        return len(names.intersection(wanted)) if width > 1 else 0, regular, width

    # The first of equals.
    best = max(SEPARATORS, key=worth)
    return best, worth(best)[1]


def _head_records(lines: Sequence[str], separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield how many lines are taken and the cells of each record; no more where the text is not CSV."""
    reader = _reader(lines, separator, quoted)
    count = 0
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield reader.line_num, row
            count += 1
        if count > HEAD_RECORDS:
            return


def _reader(lines: Iterable[str], separator: str, quoted: bool, strict: bool = False) -> Any:
    """Return a reader of cells, with the number of lines that it has read."""
    if separator == BLANKS:
        return BlankReader(lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=quoted, strict=strict)


def _row_names(names: list[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of all cells of rows, which may have one more than their header has, or one less."""
    widths = set(map(len, rows))
    if len(widths) != 1 or widths == {len(names)}:
        return names, ()
    (width,) = widths
    if width == len(names) - 1 and not names[-1]:
        return names[:-1], ()
    if width != len(names) + 1:
        return names, ()
    if not any(row[-1].strip() for row in rows):
        return [*names, ""], ("every row ends in a separator, which the header does not: it was passed over",)
    if rows and are_row_names(names, [[cell.strip() for cell in row] for row in rows]):
        shown = rows[0][0].strip()
        note = f"the first column has no name in the header and was left out, as row names are ({shown!r}, ...)"
        return ["", *names], (note,)
    return names, ()
