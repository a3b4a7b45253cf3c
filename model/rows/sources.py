"""Find the files of a table: a file, a folder or a glob of parts, standard input, or a URL."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import unquote

from eigenserve.errors import UserError
from eigenserve.model.rows.contents import foreign_content, remedy_for

Format = Literal["csv", "parquet", "arrow", "excel"]
FORMATS: dict[str, Format] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".tab", ".dat", ".data"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".arrows"), "arrow"),
    **dict.fromkeys((".xlsx", ".xlsm"), "excel"),
}
_COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_MAGICS: tuple[tuple[bytes, Format], ...] = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"PK\x03\x04", "excel"))
#: What the folders of Hive and its relatives say of a missing value.
MISSING_PARTITION = "__HIVE_DEFAULT_PARTITION__"
#: Seconds that a web server may be silent.
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Source:
    """Name one file of a table.

    Attributes:
        name: as the user gave or would give it.
        path: of the file on this machine.
        format: of its content.
        compression: the end of its name that says how it is compressed; "" for not at all.
        partition: column -> value for all rows, from folders called COLUMN=VALUE; None where it is missing.
        draft: keeps a file that was fetched for as long as it is needed.
    """

    name: str
    path: Path
    format: Format
    compression: str = ""
    partition: dict[str, str | None] = field(default_factory=dict)
    draft: Any = None

    def open(self) -> IO[bytes]:
        """Open the file, decompressed."""
        opener = _COMPRESSED.get(self.compression, open)
        file: IO[bytes] = opener(self.path, "rb")
        return file


def sources_of(data: str | Path) -> list[Source]:
    """Find the files of a table, in the order of their names.

    Raises:
        UserError: nothing there, an unknown kind of file, or something that cannot be fetched.
    """
    text = str(data)
    if text == "-":
        return [_standard_input()]
    if re.match(r"https?://", text):
        return [_download(text)]
    if "://" in text and not text.startswith("file://"):
        return _remote(text)
    path = Path(text.removeprefix("file://")).expanduser()
    if path.is_dir():
        return _parts(text, [str(part) for part in path.rglob("*") if part.is_file()], path)
    if not path.exists() and glob.has_magic(text):
        return _parts(text, [part for part in glob.glob(text, recursive=True) if Path(part).is_file()], None)
    if not path.exists():
        raise UserError(f"{text} does not exist: give an existing file")
    if not path.is_file() or path.parent == Path("/dev"):
        # A pipe is read once; what it held is read as often as a file is.
        return [_copied(text, path)]
    return [_source(text, path)]


def table_name(data: str | Path) -> str:
    """Return a name for a model of a table: that of its file or folder without its ends."""
    text = str(data).split("?")[0].rstrip("/")
    if text == "-":
        return ""
    parts = [part for part in re.split(r"[/\\]", text) if part and not glob.has_magic(part)]
    return parts[-1].split(".")[0] if parts else ""


def partition_of(folders: Iterable[str]) -> dict[str, str | None]:
    """Return what folders called COLUMN=VALUE say, as Spark and Hive write names and values; None for a missing one."""
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {unquote(name): None if value == MISSING_PARTITION else unquote(value) for name, value in pairs}


def _source(name: str, path: Path, **more: Any) -> Source:
    ends = Path(name.split("?")[0] if "://" in name else name).suffixes
    compression = ends.pop().lower() if ends and ends[-1].lower() in _COMPRESSED else ""
    kind = FORMATS.get(ends[-1].lower()) if ends else None
    if kind is None or (compression and kind != "csv"):
        known = ", ".join(sorted(FORMATS))
        if remedy := remedy_for(ends[-1] if ends else ""):
            raise UserError(f"{name} cannot be read; {remedy}")
        raise UserError(f"{name} must end in one of {known}; text may be compressed, as .csv.gz")
    return Source(name, path, kind, compression, **more)


def _parts(name: str, paths: list[str], root: Path | None) -> list[Source]:
    """Choose the files of a folder or a glob, those left out that tools write next to them."""
    chosen = []
    for part in sorted(paths):
        below = Path(part).relative_to(root).parts if root else Path(part).parts
        if any(piece.startswith(("_", ".")) for piece in (below if root else below[-1:])):
            continue
        partition = partition_of(below[:-1])
        if root is None or any(end in FORMATS for end in Path(part).suffixes):
            chosen.append(_source(part, Path(part), partition=partition))
    if not chosen:
        raise UserError(f"{name} has no file that ends in one of {', '.join(sorted(FORMATS))}")
    formats = {part.format for part in chosen}
    if len(formats) > 1:
        raise UserError(
            f"{name} must hold parts of one format; it has {' and '.join(sorted(formats))}: name one, as *.csv"
        )
    return chosen


def _standard_input() -> Source:
    draft = tempfile.NamedTemporaryFile(prefix="eigenserve-")  # noqa: SIM115 (kept with the source)
    shutil.copyfileobj(sys.stdin.buffer, draft)
    return _fetched("standard input", draft)


def _copied(name: str, path: Path) -> Source:
    draft = tempfile.NamedTemporaryFile(prefix="eigenserve-")  # noqa: SIM115
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, draft)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from error
    return _fetched(name, draft)


def _download(url: str) -> Source:
    draft = tempfile.NamedTemporaryFile(prefix="eigenserve-")  # noqa: SIM115
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            shutil.copyfileobj(answer, draft)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"{url} cannot be fetched: {getattr(error, 'reason', None) or error}") from error
    return _fetched(url, draft)


def _remote(url: str) -> list[Source]:
    """Fetch the files behind a URL that fsspec knows."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UserError(f"{url} needs fsspec, which is not installed: pip install 'eigenserve[store]'") from None
    try:
        system, path = url_to_fs(url)
        paths = [path]
        if system.isdir(path) or glob.has_magic(path):
            paths = system.glob(path) if glob.has_magic(path) else system.find(path)
        sources = []
        for part in sorted(paths):
            if len(paths) > 1 and (Path(part).name.startswith(("_", ".")) or Path(part).suffix == ".crc"):
                continue
            draft = tempfile.NamedTemporaryFile(prefix="eigenserve-")  # noqa: SIM115
            with system.open(part, "rb") as file:
                shutil.copyfileobj(file, draft)
            # The folders above a file that is named alone say nothing, here as on a local disk.
            folders = [] if paths == [path] else str(part).split("/")[:-1]
            sources.append(_fetched(str(part), draft, partition_of(folders)))
    except (ImportError, ValueError, OSError) as error:
        raise UserError(f"{url} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not sources:
        raise UserError(f"no file {url}")
    return sources


def _fetched(name: str, draft: Any, partition: dict[str, str | None] | None = None) -> Source:
    """Name a file that was fetched; its format is that of its name, or shows in its first bytes."""
    draft.flush()
    path = Path(draft.name)
    try:
        return _source(name, path, draft=draft, partition=partition or {})
    except UserError:
        pass
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\x1f\x8b"):
        return Source(name, path, "csv", ".gz", draft=draft)
    kind: Format = next((kind for magic, kind in _MAGICS if head.startswith(magic)), "csv")
    return Source(name, path, kind, draft=draft)


def unreadable(name: str, error: Exception) -> UserError:
    """Return the error of a file that is not what its name says."""
    return UserError(f"{name} cannot be read: {' '.join(str(error).split())}")


def check_content(source: Source) -> None:
    """Check that a file may be what its name says, by its first bytes.

    Raises:
        UserError: it is something else.
    """
    try:
        with source.open() as file:
            fault = foreign_content(file, source.format)
    except (OSError, EOFError, lzma.LZMAError) as error:
        if source.compression:
            raise UserError(
                f"{source.name} cannot be unpacked ({error}): if it is not compressed, leave {source.compression} out "
                "of its name"
            ) from error
        raise unreadable(source.name, error) from error
    if fault:
        raise UserError(f"{source.name} {fault}")
