"""Read and write the files of records, on a local disk or wherever fsspec reaches."""

from __future__ import annotations

import inspect
import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eigenserve.app.observability.records.holding import (
    alone_in_folder,
    hold_folder,
    is_folder_held,
    is_process_running,
    this_process,
)
from eigenserve.errors import UserError
from eigenserve.model.checkpoints.atomic import write_whole


class Folder(Protocol):
    """Describe a folder of files and folders, by paths relative to it."""

    def names(self, path: str = "") -> list[str]:
        """List what is in it, or in a folder of it, in order; nothing where it does not exist."""

    def read(self, path: str) -> bytes:
        """Read a file."""

    def write(self, path: str, content: bytes | memoryview) -> None:
        """Write a file whole or not at all, and the folder it is in."""

    def create(self, path: str, content: bytes) -> None:
        """Write a file that is not there yet, and the folder it is in; raises FileExistsError."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def alone(self) -> AbstractContextManager[bool]:
        """Wait until nobody else is in here; the value is False where that cannot be had."""

    def hold(self, path: str) -> str:
        """Hold a folder of it for as long as this process runs; return by what ``is_held`` knows it again."""

    def is_held(self, path: str, identity: str) -> bool | None:
        """Return whether the process that held a folder still runs; None where that cannot be known from here."""


def open_folder(url: str) -> Folder:
    """Return the folder at a path or an fsspec URL.

    Raises:
        UserError: fsspec, or what it needs for such a URL, is not installed; or it knows no such URL.
    """
    plain = re.sub("^(file|local)://", "", url)
    if "://" not in plain:
        return LocalFolder(Path(os.path.expanduser(plain)))
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(f"{url} cannot be reached: {error}") from error
    return RemoteFolder(system, str(path).rstrip("/"))


@dataclass(frozen=True)
class LocalFolder:
    """Implement ``Folder`` on a local disk; what is written is on the disk when ``write`` returns."""

    root: Path

    def names(self, path: str = "") -> list[str]:
        """See ``Folder``."""
        folder = self.root / path
        # What begins with a point is a draft of a process that was killed.
        return sorted(p.name for p in folder.iterdir() if p.name[0] != ".") if folder.is_dir() else []

    def read(self, path: str) -> bytes:
        """See ``Folder``."""
        return (self.root / path).read_bytes()

    def write(self, path: str, content: bytes | memoryview) -> None:
        """See ``Folder``."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(place) as file:
            file.write(content)

    def create(self, path: str, content: bytes) -> None:
        """See ``Folder``."""
        place = self.root / path
        draft = place.with_name(f".draft-{os.getpid()}-{place.name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(draft) as file:
            file.write(content)
        try:
            os.link(draft, place)
        finally:
            draft.unlink()

    def remove(self, path: str) -> None:
        """See ``Folder``."""
        (self.root / path).unlink(missing_ok=True)

    def alone(self) -> AbstractContextManager[bool]:
        """See ``Folder``."""
        return alone_in_folder(self.root)

    def hold(self, path: str) -> str:
        """See ``Folder``."""
        return hold_folder(self.root / path)

    def is_held(self, path: str, identity: str) -> bool | None:
        """See ``Folder``."""
        return is_folder_held(self.root / path, identity)


@dataclass(frozen=True)
class RemoteFolder:
    """Implement ``Folder`` on a file system of fsspec."""

    system: Any
    root: str

    def names(self, path: str = "") -> list[str]:
        """See ``Folder``."""
        self.system.invalidate_cache()
        try:
            listed = self.system.ls(f"{self.root}/{path}".rstrip("/"), detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in listed)

    def read(self, path: str) -> bytes:
        """See ``Folder``."""
        content: bytes = self.system.cat_file(f"{self.root}/{path}")
        return content

    def write(self, path: str, content: bytes | memoryview) -> None:
        """See ``Folder``."""
        place = f"{self.root}/{path}"
        self.system.makedirs(place.rpartition("/")[0], exist_ok=True)
        self.system.pipe_file(place, bytes(content))

    def create(self, path: str, content: bytes) -> None:
        """See ``Folder``."""
        place = f"{self.root}/{path}"
        self.system.makedirs(place.rpartition("/")[0], exist_ok=True)
        self.system.invalidate_cache()
        if self.system.exists(place):
            raise FileExistsError(place)
        knows = "mode" in inspect.signature(self.system.pipe_file).parameters
        try:
            self.system.pipe_file(place, content, **({"mode": "create"} if knows else {}))
        except Exception as error:  # each store has another one for what is there already
            self.system.invalidate_cache()
            if self.system.exists(place):
                raise FileExistsError(place) from error
            raise
        # Stores that know no such mode keep what was written last.
        if self.read(path) != content:
            raise FileExistsError(place)

    def remove(self, path: str) -> None:
        """See ``Folder``."""
        self.system.rm_file(f"{self.root}/{path}")

    def alone(self) -> AbstractContextManager[bool]:
        """See ``Folder``."""
        return nullcontext(False)

    def hold(self, path: str) -> str:
        """See ``Folder``."""
        return this_process()

    def is_held(self, path: str, identity: str) -> bool | None:
        """See ``Folder``."""
        return is_process_running(identity)
