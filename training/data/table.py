"""Read tables from files: raw values, of which those of clean columns are numbers and booleans already."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from eigenserve.errors import UserError
from eigenserve.model.rows.csv_arrow import text_batches
from eigenserve.model.rows.errors import CsvError
from eigenserve.model.rows.layout.blanks import BLANKS
from eigenserve.model.rows.layout.csv_layout import CsvLayout, csv_separator, infer_layout
from eigenserve.model.rows.readings import MISSING_TEXTS
from eigenserve.model.rows.sources import Source, check_content, sources_of, unreadable
from eigenserve.model.rows.text_encoding import HEAD_BYTES, encoding_of
from eigenserve.model.rows.workbook import read_sheet
from eigenserve.training.data.column_values import MOST_WHOLE
from eigenserve.training.data.parts import joined_parts, with_categories, with_partition
from eigenserve.training.data.spellings.marks import VOTES_KEY, Votes

#: Bytes of CSV that are parsed at a time.
BLOCK_BYTES = 2**24
#: Rows of a column that are looked at before all are.
HEAD_ROWS = 100
#: Share of the numbers with a point that must have three digits behind it, where the decimal mark is given as a comma:
#: of fractions rounded to three digits, a tenth has fewer.
MOST_DOTTED = 0.95
#: In RE2's words: whole numbers that are no codes (no zeros in front, no more digits than a float holds), and numbers.
_WHOLE = r"^[+-]?(0?[0-9]|[1-9][0-9]{1,14})$"
_NUMBER = r"^[+-]?(0?[0-9]|[1-9][0-9]{1,14}|[0-9]+[eE][+-]?[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)$"
_DOTTED = r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+$"
_HUNDREDS = r"^[+-]?[0-9]{1,3}$"
_COMMA = r"^[+-]?[0-9]*,[0-9]+$"


@dataclass(frozen=True)
class FileOptions:
    """Say how files are read where that is not inferred.

    Attributes:
        separator: of CSV cells.
        encoding: of CSV files.
        wanted: names that a CSV header should have.
        texts: columns whose cells stay texts.
        missing: texts for a missing value among numbers.
        missing_in: column -> such texts in it, instead of those.
        decimal: the decimal mark of numbers, if it is given.
    """

    separator: str | None = None
    encoding: str | None = None
    wanted: tuple[str, ...] = ()
    texts: frozenset[str] = frozenset()
    missing: frozenset[str] = MISSING_TEXTS
    missing_in: Mapping[str, frozenset[str]] = field(default_factory=dict)
    decimal: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "separator", csv_separator(self.separator))


@dataclass(frozen=True)
class RawTable:
    """Hold the rows of a table as its files have them.

    Attributes:
        frame: the rows.
        notes: what the user should know of the files.
        unnamed: columns that were left out since they have no name.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    unnamed: int = 0


def read_table(data: str | Path, options: FileOptions = FileOptions()) -> pd.DataFrame:
    """Read a table of any source as a frame of raw values, without a CSV's unnamed columns.

    Raises:
        UserError: no such file, an unknown kind of file, or one that cannot be read as what its name says.
    """
    sources = sources_of(data)
    return checked_frame(read_sources(sources, options).frame, sources[0].name if len(sources) == 1 else str(data))


def read_sources(sources: list[Source], options: FileOptions = FileOptions(), rows: Any = None) -> RawTable:
    """Read all rows of some files; or those that ``rows`` gives for their number.

    Raises:
        UserError: as ``read_table``.
    """
    kind = sources[0].format
    if kind == "excel":
        return _read_excel(sources, options.wanted)
    notes: list[str] = []
    tables = []
    unnamed = 0
    semicolons = False
    for source in sources:
        if kind == "csv":
            if len(sources) > 1 and not source.compression and not source.path.stat().st_size:
                notes.append(f"{source.name} is empty: it was passed over")
                continue
            table, layout, blank = _read_csv(source, options)
            notes += [note for note in layout.notes if note not in notes]
            unnamed += blank
            semicolons |= layout.separator == ";"
        else:
            table = _read_typed(source)
        table = with_partition(table, source)
        tables.append((source.name, table))
    if not tables:
        raise UserError(f"{sources[0].name} and all other parts are empty")
    joined = joined_parts(tables)
    if rows is not None and (chosen := rows(len(joined))) is not None:
        joined = joined.take(pa.array(chosen))
    if kind == "csv":
        return RawTable(_csv_frame(joined, options, semicolons), tuple(notes), unnamed)
    return RawTable(frame_of(joined), tuple(notes))


def frame_of(table: pa.Table, *, self_destruct: bool = False) -> pd.DataFrame:
    """Turn an Arrow table into a frame of raw values; whole numbers keep all of their digits next to missing ones."""
    table = with_categories(table)
    exact = {
        i: series
        for i, column in enumerate(table.columns)
        if column.null_count and (series := exact_integers(column)) is not None
    }
    frame = table.to_pandas(ignore_metadata=True, self_destruct=self_destruct).reset_index(drop=True)
    for i, series in exact.items():
        frame.isetitem(i, series.array)
    return frame


def exact_integers(column: pa.ChunkedArray) -> pd.Series | None:
    """Return whole numbers of more digits than a float holds as nullable integers; None for other columns."""
    if column.type not in (pa.int64(), pa.uint64()):
        return None
    ends = pc.min_max(column).as_py()
    if ends["max"] is None or max(-ends["min"], ends["max"]) <= MOST_WHOLE:
        return None
    kinds = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    return column.to_pandas(types_mapper=kinds.get)


def open_arrow(path: Path) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    """Open an Arrow file, or an Arrow stream in a file."""
    file = pa.OSFile(str(path))
    is_stream = file.read(6) != b"ARROW1"
    file.seek(0)
    return pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)


def checked_frame(frame: pd.DataFrame, name: str | Path) -> pd.DataFrame:
    """Check a frame from a file: its columns named by texts, without columns for the row numbers of pandas.

    Raises:
        UserError: two columns of the same name, or no rows.
    """
    frame.columns = frame.columns.map(str)
    doubled = frame.columns[frame.columns.duplicated()].tolist()
    if doubled:
        raise UserError(f"{name} has more than one column named {doubled[0]!r}: rename all but one")
    if len(frame) == 0:
        raise UserError(f"{name} must have at least one row; got none")
    return frame.drop(columns=_indices(frame))


def index_notes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Say which columns ``checked_frame`` leaves out of a frame from a file though they do more than count rows."""
    notes = []
    for name in _indices(frame):
        index = frame[name]
        if pd.api.types.is_integer_dtype(index.dtype) and bool((np.diff(index.to_numpy()) == 1).all()):
            continue
        first = index.iloc[0] if len(index) else None
        notes.append(
            f"the index of the rows, which has no name, was left out; its first value is {str(first)!r}: give it a "
            "name to use it as a column (index.name in pandas)"
        )
    return tuple(notes)


def _indices(frame: pd.DataFrame) -> list[str]:
    """Name the columns in which pandas keeps an index without a name."""
    return [str(name) for name in frame.columns if re.fullmatch("__index_level_[0-9]+__", str(name))]


def fingerprint(frame: pd.DataFrame) -> str:
    """Hash the content of a table: the same rows in the same order give the same text."""
    rows = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    names = "\x1f".join(frame.columns).encode()
    return hashlib.sha256(names + rows.tobytes()).hexdigest()


def _read_typed(source: Source) -> pa.Table:
    check_content(source)
    try:
        if source.format == "parquet":
            # The file alone: a folder called COLUMN=VALUE around it would become a column of its own kind.
            return pa.parquet.ParquetFile(source.path).read()
        return open_arrow(source.path).read_all()
    except (ValueError, OSError) as error:
        raise unreadable(source.name, error) from error


def _read_csv(source: Source, options: FileOptions) -> tuple[pa.Table, CsvLayout, int]:
    """Read every cell as a text; the layout; and how many columns without a name were left out."""
    check_content(source)
    try:
        with source.open() as file:
            encoding = options.encoding or encoding_of(file)
            file.seek(0)
            head = file.read(HEAD_BYTES)
            complete = not file.read(1)
        layout = infer_layout(
            head, complete=complete, wanted=options.wanted, separator=options.separator, encoding=encoding
        )
        names = layout.names
        doubled = next((name for i, name in enumerate(names) if name and name in names[:i]), None)
        if doubled is not None:
            is_number = doubled.replace(".", "", 1).lstrip("-").isdigit()
            remedy = "put a line of names above the data" if is_number else "rename all but one"
            raise UserError(f"{source.name} has more than one column named {doubled!r}: {remedy}")
        positions = [i for i, name in enumerate(names) if name]
        batches = list(text_batches(source.open, layout, positions, block_bytes=BLOCK_BYTES))
    except CsvError as error:
        raise UserError(f"{source.name}: {error}") from error
    except (ValueError, OSError, EOFError) as error:
        raise unreadable(source.name, error) from error
    schema = pa.schema([(str(i), pa.string()) for i in positions])
    table = pa.Table.from_batches(batches, schema).rename_columns([names[i] for i in positions])
    # The one cell more that rows have than their header is in the notes already.
    unnamed = len(names) - len(positions) - layout.passed_over
    if not encoding.startswith("utf-") and not options.encoding:
        note = f"{source.name} is not UTF-8: read as {encoding} (--encoding overrides it)"
        layout = CsvLayout(**{**layout.__dict__, "notes": (*layout.notes, note)})
    if layout.separator != "," and not options.separator:
        shown = {"\t": "tabs", ";": "semicolons", "|": "|", BLANKS: "runs of blanks"}.get(
            layout.separator, repr(layout.separator)
        )
        layout = CsvLayout(**{**layout.__dict__, "notes": (*layout.notes, f"cells are separated by {shown}")})
    return table, layout, unnamed


def _csv_frame(table: pa.Table, options: FileOptions, semicolons: bool) -> pd.DataFrame:
    """Turn columns of texts into a frame: those that are numbers or booleans throughout are, others stay texts."""
    # Semicolons part cells where decimals have commas.
    decimal_comma = semicolons or any(map(_is_decimal_comma, table.columns))
    grouped: Callable[[pa.ChunkedArray], bool] = partial(_may_be_grouped, decimal_comma=decimal_comma)
    if options.decimal == ",":
        grouped = _are_mostly_grouped
    columns = {
        name: _csv_column(column, name in options.texts, options.missing_in.get(name, options.missing), grouped)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    frame = pd.DataFrame(columns) if columns else pd.DataFrame(index=range(len(table)))
    floats = [table[name] for name, column in columns.items() if pd.api.types.is_float_dtype(column.dtype)]
    frame.attrs[VOTES_KEY] = tuple(Votes(sum(map(_has_decimal_points, floats)), semicolons=semicolons))
    return frame


def _has_decimal_points(cells: pa.ChunkedArray) -> bool:
    """Return whether points among a column's numbers can part nothing but decimals."""
    sample = pc.utf8_trim_whitespace(cells.slice(0, 10 * HEAD_ROWS))
    points = sample.filter(pc.match_substring(sample, "."))
    return len(points) > 0 and not _all(points, _DOTTED)


def _csv_column(
    cells: pa.ChunkedArray, stays: bool, missing: frozenset[str], grouped: Callable[[pa.ChunkedArray], bool]
) -> pd.Series:
    texts = pc.utf8_trim_whitespace(cells)
    absent = pc.or_(pc.is_null(texts), pc.is_in(texts, value_set=pa.array(sorted(missing), pa.string())))
    present = texts.filter(pc.invert(absent)) if pc.any(absent).as_py() else texts
    if not stays and len(present):
        complete = len(present) == len(texts)
        if _all(present, _WHOLE):
            unsigned = pc.utf8_ltrim(texts, "+")
            whole = pc.if_else(absent, pa.scalar(None, pa.string()), unsigned).cast(pa.int64())
            return pd.Series(whole.to_numpy() if complete else whole.cast(pa.float64()).to_numpy())
        if not grouped(present) and _all(present, _NUMBER):
            unsigned = pc.utf8_ltrim(texts, "+")
            numbers = pc.if_else(absent, pa.scalar(None, pa.string()), unsigned).cast(pa.float64())
            return pd.Series(numbers.to_numpy())
        if _all(present, "^(?i:true|false)$"):
            flags = pc.equal(pc.utf8_lower(pc.if_else(absent, pa.scalar(None, pa.string()), texts)), "true")
            return pd.Series(flags.to_pylist(), dtype=bool if complete else object)
    if not stays and not len(present):
        return pd.Series(np.full(len(texts), np.nan))
    empty = pc.equal(texts, "")
    # As they are: whether blanks around them part what is one category, is said of the column.
    cells = pc.if_else(empty, pa.scalar(None, pa.string()), cells)
    return pd.Series(cells.to_pandas().to_numpy(object), dtype="str")


def _are_mostly_grouped(texts: pa.ChunkedArray) -> bool:
    """Return whether points part thousands, where decimals have commas, in nearly all numbers that have one."""
    dotted = texts.filter(pc.match_substring(texts, "."))
    return len(dotted) > 0 and pc.mean(pc.match_substring_regex(dotted, _DOTTED)).as_py() >= MOST_DOTTED


def _may_be_grouped(texts: pa.ChunkedArray, decimal_comma: bool) -> bool:
    """Return whether 1.234 may be more than a thousand: in a file with decimal commas, or next to 567 but not 1234."""
    head = texts.slice(0, HEAD_ROWS)
    if not _all(head.filter(pc.match_substring(head, ".")), _DOTTED):
        return False
    dotted = pc.match_substring(texts, ".")
    whole = texts.filter(pc.invert(dotted))
    if not decimal_comma and not (len(whole) and _all(whole, _HUNDREDS)):
        return False
    return _all(texts.filter(dotted), _DOTTED)


def _all(texts: pa.ChunkedArray, pattern: str) -> bool:
    """Return whether all texts match; where the first do not, the others are not looked at."""
    parts = (texts.slice(0, HEAD_ROWS), texts.slice(HEAD_ROWS))
    return all(pc.all(pc.match_substring_regex(part, pattern)).as_py() is not False for part in parts)


def _is_decimal_comma(cells: pa.ChunkedArray) -> bool:
    """Return whether a column's numbers have decimal commas that can be nothing else."""
    sample = pc.utf8_trim_whitespace(cells.slice(0, 10 * HEAD_ROWS))
    commas = sample.filter(pc.match_substring(sample, ","))
    return len(commas) > 0 and _all(commas, _COMMA) and not _all(commas, r"^[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+$")


def _read_excel(sources: list[Source], wanted: Collection[str]) -> RawTable:
    """Read the sheet of a workbook whose columns should have the names that are wanted."""
    if len(sources) > 1:
        raise UserError("one workbook is read at a time; give its name, or save the parts as CSV or Parquet")
    (source,) = sources
    lines, notes = read_sheet(source, wanted)
    names = ["" if cell is None else str(cell).strip() for cell in lines[0]]
    columns: dict[str, Any] = {}
    for i, name in enumerate(names):
        if name in columns:
            raise UserError(f"{source.name} has more than one column named {name!r}: rename all but one")
        if name:
            columns[name] = pd.Series([row[i] for row in lines[1:]], dtype=object).infer_objects()
    return RawTable(pd.DataFrame(columns), notes, names.count(""))
