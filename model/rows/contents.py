"""Recognise what a file is by its first bytes, and say what to do with one that cannot be read as a table."""

from __future__ import annotations

from typing import IO, Any

#: Bytes that are enough to recognise a file.
HEAD_BYTES = 4096
_SAVE = "save it as CSV or Parquet"
#: First bytes -> what the file is, and the remedy.
_MAGICS: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "let its name end in .parquet"),
    (b"ARROW1", "an Arrow file", "let its name end in .arrow"),
    (b"\x1f\x8b", "compressed by gzip", "let its name end in .gz, as .csv.gz"),
    (b"BZh", "compressed by bzip2", "let its name end in .bz2, as .csv.bz2"),
    (b"\xfd7zXZ", "compressed by xz", "let its name end in .xz, as .csv.xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it, or compress it by gzip, as .csv.gz"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook, or a document", "save it as .xlsx or CSV"),
    (b"$FL2", "an SPSS file", f"{_SAVE}, as pandas.read_spss and to_parquet do"),
    (b"$FL3", "an SPSS file", f"{_SAVE}, as pandas.read_spss and to_parquet do"),
    (b"<stata_dta>", "a Stata file", f"{_SAVE}, as pandas.read_stata and to_parquet do"),
    (b"SQLite format 3", "an SQLite database", f"{_SAVE}, as pandas.read_sql and to_parquet do"),
    (b"\x89HDF", "an HDF5 file", f"{_SAVE}, as pandas.read_hdf and to_parquet do"),
    (b"%PDF", "a PDF document", _SAVE),
    (b"Obj\x01", "an Avro file", _SAVE),
    (b"ORC", "an ORC file", f"{_SAVE}, as pandas.read_orc and to_parquet do"),
)
#: Ends of names -> the remedy.
_ENDS = {
    ".zip": "unpack it, or compress it by gzip, as .csv.gz",
    ".zst": "unpack it, or compress it by gzip, as .csv.gz",
    ".xls": "save it as .xlsx or CSV",
    ".xlsb": "save it as .xlsx or CSV",
    ".ods": "save it as .xlsx or CSV",
    **{
        end: f"{_SAVE}, as pandas.{reader} and to_parquet do"
        for end, reader in {
            ".sav": "read_spss",
            ".zsav": "read_spss",
            ".dta": "read_stata",
            ".sas7bdat": "read_sas",
            ".xpt": "read_sas",
            ".json": "read_json",
            ".jsonl": "read_json(lines=True)",
            ".ndjson": "read_json(lines=True)",
            ".orc": "read_orc",
            ".h5": "read_hdf",
            ".html": "read_html",
            ".xml": "read_xml",
            ".pkl": "read_pickle",
            ".pickle": "read_pickle",
        }.items()
    },
}


def remedy_for(end: str) -> str:
    """Say what to do with a file whose name ends so; "" where nothing is known of it."""
    return _ENDS.get(end.lower(), "")


def foreign_content(file: IO[bytes], kind: str) -> str:
    """Say that a file is not what its name says, what it is by its first bytes, and what to do.

    Args:
        file: at its beginning, decompressed.
        kind: what it should be: csv, parquet, arrow or excel.

    Returns:
        "" where it may be that.
    """
    head = file.read(HEAD_BYTES)
    what, remedy = _content(head, file)
    own = {"parquet": "a Parquet file", "arrow": "an Arrow file", "excel": "an Excel workbook"}.get(kind)
    if what == own or (what is None and kind == "csv"):
        return ""
    if what is None:
        if kind != "arrow" and head and b"\0" not in head[:200]:
            return f"is not {own}; it seems to be text: let its name end in .csv"
        return ""
    return f"is not {'CSV' if kind == 'csv' else own}; its first bytes are those of {what}: {remedy}"


def _content(head: bytes, file: Any) -> tuple[str | None, str]:
    if head.startswith(b"PK\x03\x04"):
        # The parts of a workbook stand in a folder of this name; the list of them ends the file.
        ends = file.seek(0, 2)
        file.seek(max(0, ends - 2**16))
        if b"xl/" in head + file.read():
            return "an Excel workbook", "let its name end in .xlsx"
        return "a zip archive", _ENDS[".zip"]
    for magic, what, remedy in _MAGICS:
        if head.startswith(magic):
            return (f"a file {what}" if what.startswith("compressed") else what), remedy
    # Stata before version 13: the version, the order of bytes, the type 1 and a zero.
    if len(head) > 4 and 102 <= head[0] <= 115 and head[1] in (1, 2) and head[2:4] == b"\x01\x00":
        return "a Stata file", _ENDS[".dta"]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<table")):
        return "a web page", f"{_SAVE}, as pandas.read_html and to_parquet do, or fetch the file and not the page"
    if text.startswith(b"<?xml"):
        return "XML", f"{_SAVE}, as pandas.read_xml and to_parquet do"
    if text.startswith((b'{"', b'[{"', b"[\n{", b"[ {", b"{\n", b"[[")):
        return "JSON", f"{_SAVE}, as pandas.read_json and to_parquet do"
    return None, ""
