"""Open the files that are read and written, by a local path or an fsspec URL."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import json
import lzma
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from eigenserve.app.batch.errors import ScoreError

#: Formats of tables, by what a file's name ends in.
COMPRESSIONS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
TEXTS = tuple(
    kind + packed for kind in (".csv", ".tsv", ".txt", ".tab", ".dat", ".data") for packed in ("", *COMPRESSIONS)
)
WORKBOOKS = (".xlsx", ".xlsm")
OUTPUTS = (".csv", ".csv.gz", ".parquet", ".pq", ".arrow", ".feather")
SUFFIXES = (*TEXTS, *OUTPUTS[2:], ".arrows", *WORKBOOKS)
#: Bytes at either end of a file that distinguish it from another one of the same size. A Parquet file ends with the
#: statistics of all its columns.
SAMPLE_BYTES = 2**20
#: What file systems of fsspec call the things that change with a file's content.
CHANGING = (
    "ETag",
    "etag",
    "generation",
    "mtime",
    "created",
    "LastModified",
    "last_modified",
    "Last-Modified",
)


@dataclass(frozen=True)
class Place:
    """Name a file by its path or URL.

    Attributes:
        text: the path or URL.
        name: what messages call it, where that is not the text.
        ending: one of ``SUFFIXES``, where the name does not say what the file is.
        partition: columns whose value is the same in all rows, from folders called COLUMN=VALUE; None for missing.
        draft: keeps a file that holds what came from elsewhere.
    """

    text: str
    name: str = ""
    ending: str = ""
    partition: tuple[tuple[str, str | None], ...] = ()
    draft: Any = field(default=None, compare=False, repr=False)

    @property
    def shown(self) -> str:
        """Return what messages call it."""
        return self.name or self.text

    @property
    def is_url(self) -> bool:
        """Return whether fsspec opens it."""
        return "://" in self._without_protocol

    @property
    def path(self) -> Path:
        """Return the path of a local file, also of one that is given as file:// or local://."""
        plain = self._without_protocol
        return Path(plain if plain == self.text else os.path.expanduser(plain))

    @property
    def _without_protocol(self) -> str:
        return re.sub("^(file|local)://", "", self.text)

    def is_same(self, other: Place) -> bool:
        """Return whether both are one file, however it is written: through links, or a cache (``CACHE::URL``), too."""
        ours, theirs = (Place(place.text.rpartition("::")[2]) if place.is_url else place for place in (self, other))
        if ours.is_url != theirs.is_url:
            return False
        if ours.is_url:
            return file_system(ours.text) == file_system(theirs.text)
        try:
            return ours.path.samefile(theirs.path)
        except OSError:  # One of them is not there yet.
            return ours.path.resolve() == theirs.path.resolve()

    @property
    def suffix(self) -> str:
        """Return the ending of the name, one of ``SUFFIXES``; empty for none of them."""
        return self.ending or next((suffix for suffix in SUFFIXES if self.text.lower().endswith(suffix)), "")

    @property
    def compression(self) -> str:
        """Return the end of a compressed text's name, such as ".gz"; "" for others."""
        return next((packed for packed in COMPRESSIONS if self.suffix.endswith(packed)), "")

    def open(self) -> IO[bytes]:
        """Open the file, to read from and to seek in.

        Raises:
            ScoreError: it cannot be opened.
        """
        try:
            if not self.is_url:
                return self.path.open("rb")
            system, path = file_system(self.text)
            return system.open(path, "rb")
        except (OSError, ValueError) as error:
            raise ScoreError(f"{self.shown} cannot be read: {_reason(error)}") from error

    def identity(self) -> dict[str, Any]:
        """Identify the content: size, what changes with it, and a hash of its ends; of all of it where nothing does."""
        with self.open() as file:
            try:
                changes = self._changes()
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                digest = hashlib.sha256()
                if changes:
                    digest.update(file.read(SAMPLE_BYTES))
                    file.seek(max(0, size - SAMPLE_BYTES))
                    digest.update(file.read(SAMPLE_BYTES))
                else:
                    while block := file.read(SAMPLE_BYTES):
                        digest.update(block)
            except OSError as error:
                raise ScoreError(f"{self.shown} cannot be read: {_reason(error)}") from error
        return {"size": size, "sha256": digest.hexdigest(), "changes": changes}

    def _changes(self) -> list[str]:
        """Return what the file system has that changes with the content; nothing where it has nothing."""
        if self.draft is not None:
            return []
        if not self.is_url:
            status = self.path.stat()
            # Programs may set back the time of modification, but not that of the change.
            return [str(status.st_ino), str(status.st_mtime_ns), str(status.st_ctime_ns)]
        system, path = file_system(self.text)
        info = system.info(path)
        return [f"{key}={info[key]}" for key in CHANGING if info.get(key) is not None]


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it.

    Raises:
        ScoreError: fsspec, or what it needs for such a URL, is not installed; or it knows no such URL.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ScoreError(f"{url} needs fsspec, which is not installed here: pip install 'eigenserve[score]'") from None
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise ScoreError(f"{url} cannot be reached: {_reason(error)}") from error
    return system, str(path)


def fingerprint(*parts: Any) -> str:
    """Return a text that differs where any of the parts (of JSON) does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def writing(place: Place) -> Iterator[None]:
    """Report a failure to write, such as a full disk, by the name of the output."""
    try:
        yield
    except OSError as error:
        message = f"{place.text} cannot be written: {_reason(error)}; once that is mended, the same command resumes"
        raise ScoreError(message) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
