"""Keep the parts of an output in a folder next to it, on a local disk or wherever fsspec reaches."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.places import Place, file_system
from eigenserve.model.checkpoints.atomic import write_whole

#: Each but the last is lost to another process that ended just then.
LOCK_TRIES = 100


class Folder(Protocol):
    """Describe a folder of small files next to an output."""

    @property
    def path(self) -> Path | str:
        """Return where the folder is."""

    def names(self) -> list[str]:
        """List the folder's files; none where it does not exist."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically; remote storage may keep a part, which the hash in its name reveals."""

    def read(self, name: str) -> bytes:
        """Read a file."""

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
        """Open a file to write, which becomes ``place`` at once when it is written without an error."""


def folder_beside(place: Place) -> Folder:
    """Return the folder for the parts of an output.

    Raises:
        ScoreError: no file can be written there.
    """
    if not place.is_url:
        path = place.path
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise ScoreError(f"cannot write to {place.text}: {path.parent} is not a writable directory")
        return LocalFolder(path.with_name(f".{path.name}.parts"))
    system, remote = file_system(place.text)
    parent, _, name = remote.rpartition("/")
    return RemoteFolder(system, f"{parent}/.{name}.parts")


@dataclass(frozen=True)
class LocalFolder:
    """Implement ``Folder`` on a local disk."""

    path: Path

    def names(self) -> list[str]:
        """See ``Folder``."""
        return sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []

    def write(self, name: str, content: bytes) -> None:
        """See ``Folder``; the file is on the disk when this returns."""
        self.path.mkdir(parents=True, exist_ok=True)
        with write_whole(self.path / name) as file:
            file.write(content)

    def read(self, name: str) -> bytes:
        """See ``Folder``."""
        return (self.path / name).read_bytes()

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
        """Return the descriptor that holds the lock; None where its holder removed the folder meanwhile."""
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
        with write_whole(place.path, self.path) as file:
            yield file


@dataclass(frozen=True)
class RemoteFolder:
    """Implement ``Folder`` wherever fsspec reaches."""

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

    def remove(self, name: str) -> None:
        """See ``Folder``."""
        self.system.rm_file(f"{self.path}/{name}")

    def clear(self) -> None:
        """See ``Folder``."""
        if self.system.exists(self.path):
            self.system.rm(self.path, recursive=True)

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """See ``Folder``; object stores have no locks, so two runs that write the same parts go unnoticed."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def publish(self, place: Place) -> Iterator[IO[bytes]]:
        """See ``Folder``."""
        self.system.makedirs(self.path, exist_ok=True)
        draft = f"{self.path}/.output"
        with self.system.open(draft, "wb") as file:
            yield file
        self.system.mv(draft, file_system(place.text)[1])
