"""Places: where files are read from and written to, a local path or an fsspec URL."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from app.score.faults import ScoreError

#: Formats of tables, by what a file's name ends in.
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq", ".arrow", ".feather")
#: Bytes at either end of a file that tell it from another one of the same size. A Parquet file ends with the
#: statistics of all its columns.
SAMPLE_BYTES = 2**20
#: Each but the last is lost to another process that ended just then.
LOCK_TRIES = 100


class Folder(Protocol):
    """A folder of small files beside an output."""

    @property
    def path(self) -> Path | str:
        """Where it is."""

    def names(self) -> list[str]:
        """Its files; none where it does not exist."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file; it appears whole or, if its name tells its size, can be seen not to be."""

    def read(self, name: str) -> bytes:
        """A file's content."""

    def size(self, name: str) -> int:
        """A file's bytes."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def clear(self) -> None:
        """Remove all of it."""

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold it alone, where that is possible.

        Raises:
            ScoreError: another process has it.
        """

    def publish(self, place: Place) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A file to write, which becomes ``place`` at once when it is written without an error."""


@dataclass(frozen=True)
class Place:
    """A file, by its path or URL."""

    text: str

    @property
    def is_url(self) -> bool:
        """Whether fsspec opens it."""
        return "://" in self._without_protocol

    @property
    def path(self) -> Path:
        """The path of a local file, also of one that is given as file:// or local://."""
        plain = self._without_protocol
        return Path(plain if plain == self.text else os.path.expanduser(plain))

    @property
    def _without_protocol(self) -> str:
        return re.sub("^(file|local)://", "", self.text)

    def is_same(self, other: Place) -> bool:
        """Whether both are one file, however it is written: also through links, or through a cache (``CACHE::URL``)."""
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
        """What its name ends in, of ``SUFFIXES``; empty for none of them."""
        return next((suffix for suffix in SUFFIXES if self.text.lower().endswith(suffix)), "")

    def open(self) -> IO[bytes]:
        """The file, to read from and to seek in.

        Raises:
            ScoreError: it cannot be opened.
        """
        try:
            if not self.is_url:
                return self.path.open("rb")
            system, path = file_system(self.text)
            return system.open(path, "rb")
        except (OSError, ValueError) as error:
            raise ScoreError(f"{self.text} cannot be read: {_reason(error)}") from error

    def identity(self) -> dict[str, Any]:
        """What tells its content from another: size, time of change where known, and a hash of its ends."""
        with self.open() as file:
            try:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                digest = hashlib.sha256(file.read(SAMPLE_BYTES))
                file.seek(max(0, size - SAMPLE_BYTES))
                digest.update(file.read(SAMPLE_BYTES))
            except OSError as error:
                raise ScoreError(f"{self.text} cannot be read: {_reason(error)}") from error
        return {"size": size, "ends_sha256": digest.hexdigest(), "changed": self._changed()}

    def folder(self) -> Folder:
        """The folder beside it for the parts of this output.

        Raises:
            ScoreError: no file can be written there.
        """
        if not self.is_url:
            path = self.path
            if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
                raise ScoreError(f"{self.text} cannot be written: {path.parent} is no folder that may be written to")
            return LocalFolder(path.with_name(f".{path.name}.parts"))
        system, remote = file_system(self.text)
        parent, _, name = remote.rpartition("/")
        return RemoteFolder(system, f"{parent}/.{name}.parts")

    def _changed(self) -> str:
        if not self.is_url:
            return str(self.path.stat().st_mtime_ns)
        system, path = file_system(self.text)
        info = system.info(path)
        known = (info.get(key) for key in ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified"))
        return next((str(value) for value in known if value is not None), "")


@dataclass(frozen=True)
class LocalFolder:
    """A ``Folder`` on a local disk."""

    path: Path

    def names(self) -> list[str]:
        """See ``Folder``."""
        return sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []

    def write(self, name: str, content: bytes) -> None:
        """See ``Folder``; the file is on the disk when this returns."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._whole(self.path / f".{name}", self.path / name) as file:
            file.write(content)

    def read(self, name: str) -> bytes:
        """See ``Folder``."""
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        """See ``Folder``."""
        return (self.path / name).stat().st_size

    def remove(self, name: str) -> None:
        """See ``Folder``."""
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """See ``Folder``."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """See ``Folder``. The system lets go of it when the process ends, however it ends."""
        tries = (self._try_lock() for _ in range(LOCK_TRIES))
        descriptor = next((found for found in tries if found is not None), None)
        if descriptor is None:
            raise ScoreError(f"another process is writing {self.path}: wait for it, or end it")
        try:
            yield
        finally:
            os.close(descriptor)

    def _try_lock(self) -> int | None:
        """The descriptor that holds the lock; None where the folder was removed meanwhile, by the one who had it."""
        # Imported here: Windows has none, and scoring on a URL needs none.
        import fcntl

        with contextlib.suppress(FileExistsError):
            self.path.mkdir()
        descriptor = None
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                held, descriptor = descriptor, None
                return held
        except FileNotFoundError:
            pass
        except BlockingIOError:
            raise ScoreError(f"another process is writing {self.path}: wait for it, or end it") from None
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return None

    @contextlib.contextmanager
    def publish(self, place: Place) -> Iterator[IO[bytes]]:
        """See ``Folder``."""
        with self._whole(self.path / ".output", place.path) as file:
            yield file

    @staticmethod
    @contextlib.contextmanager
    def _whole(draft: Path, path: Path) -> Iterator[IO[bytes]]:
        """A file that becomes ``path`` once it is on the disk; where that fails, its room is given back."""
        try:
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class RemoteFolder:
    """A ``Folder`` wherever fsspec reaches."""

    system: Any
    path: str

    def names(self) -> list[str]:
        """See ``Folder``."""
        self.system.invalidate_cache()
        try:
            found = self.system.ls(self.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def write(self, name: str, content: bytes) -> None:
        """See ``Folder``."""
        self.system.makedirs(self.path, exist_ok=True)
        self.system.pipe_file(f"{self.path}/{name}", content)

    def read(self, name: str) -> bytes:
        """See ``Folder``."""
        content: bytes = self.system.cat_file(f"{self.path}/{name}")
        return content

    def size(self, name: str) -> int:
        """See ``Folder``."""
        return int(self.system.size(f"{self.path}/{name}"))

    def remove(self, name: str) -> None:
        """See ``Folder``."""
        self.system.rm_file(f"{self.path}/{name}")

    def clear(self) -> None:
        """See ``Folder``."""
        if self.system.exists(self.path):
            self.system.rm(self.path, recursive=True)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """See ``Folder``; object stores have no locks, so two runs that write the same parts are not told."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def publish(self, place: Place) -> Iterator[IO[bytes]]:
        """See ``Folder``."""
        self.system.makedirs(self.path, exist_ok=True)
        draft = f"{self.path}/.output"
        with self.system.open(draft, "wb") as file:
            yield file
        self.system.mv(draft, file_system(place.text)[1])


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it.

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
    """A text that differs where any of the parts (of JSON) does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def writing(place: Place) -> Iterator[None]:
    """Tell a failure to write, such as a full disk, by the name of the output."""
    try:
        yield
    except OSError as error:
        message = f"{place.text} cannot be written: {_reason(error)}; once that is mended, the same command resumes"
        raise ScoreError(message) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
