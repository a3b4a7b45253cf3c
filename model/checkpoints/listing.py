"""List what a store has at one moment, and by what one sees that a version has changed."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS

#: Equal as long as the files of a version are the same.
Fingerprint = Hashable


@dataclass(frozen=True)
class Listing:
    """Hold the models and versions of a store.

    Attributes:
        versions: name -> version -> its fingerprint. Names without any version are left out.
        unreadable: name -> why its versions could not be listed.
        root: what distinguishes the store's folder from another one at the same place; None for object stores.
    """

    versions: Mapping[str, Mapping[int, Fingerprint]]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    root: tuple[int, int] | None = None


def fingerprint(folder: Path) -> Fingerprint:
    """Return what the file system knows of a checkpoint's files; a missing one counts by its error."""
    return tuple(_status(folder / name) for name in (DOCUMENT, WEIGHTS))


def _status(path: Path) -> Hashable:
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
