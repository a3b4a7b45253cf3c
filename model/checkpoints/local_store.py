"""Keep named models and their versions in a folder."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from eigenserve.errors import EigenserveError
from eigenserve.model.checkpoints.files import (
    CheckpointError,
    CheckpointFiles,
    read_checkpoint,
    read_files,
    read_regular,
    write_checkpoint,
)
from eigenserve.model.checkpoints.listing import Fingerprint, Listing, fingerprint
from eigenserve.model.spectral import SpectralModel

__all__ = ["CheckpointError", "ModelNotFoundError", "ModelStore", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
#: What training found, next to the checkpoint in a version's folder.
REPORT = "report.html"
#: A report has its charts in it: about 5 MB.
MAX_REPORT_BYTES = 256 * 2**20


class ModelNotFoundError(EigenserveError, LookupError):
    """Report that the store does not hold such a model or version."""

    def __str__(self) -> str:
        return str(self.args[0])


def check_name(name: str) -> str:
    """Return ``name``, if it can name a model: it then cannot lead out of the store's folder.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a model's name must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter "
            f"or a digit; got {name!r}"
        )
    return name


def is_name(text: str) -> bool:
    """Return whether ``text`` can name a model."""
    return _NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Return whether ``text`` is a version as a store writes it."""
    return _VERSION.fullmatch(text) is not None


@dataclass(frozen=True)
class ModelStore:
    """Keep models in a folder as STORE/NAME/VERSION/, versions 1, 2, 3, ...

    A version appears whole or not at all, and never changes afterwards.

    Args:
        root: the folder; it need not exist yet.

    Raises:
        TypeError: a root that is no path.
        ValueError: a URL, which `open_store` opens.
    """

    root: Path

    def __init__(self, root: str | os.PathLike[str]) -> None:
        text = os.fspath(root)
        if "://" in text:
            opener = "eigenserve.model.checkpoints.locations.open_store"
            raise ValueError(f"a ModelStore is a folder; {opener} opens a URL; got {text!r}")
        object.__setattr__(self, "root", Path(text))

    def names(self) -> list[str]:
        """List models that have a version, in alphabetical order."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if _NAME.fullmatch(p.name) and self.versions(p.name))

    def versions(self, name: str) -> list[int]:
        """List the versions of a model, ascending; none for an unknown one."""
        folder = self.root / check_name(name)
        if not folder.is_dir():
            return []
        # A version is a folder of that number; one that lacks its files is reported when it is loaded.
        return sorted(int(p.name) for p in folder.iterdir() if _VERSION.fullmatch(p.name) and _may_be_folder(p))

    def listing(self) -> Listing:
        """Look at all models and versions at once, without reading them.

        Raises:
            OSError: the folder is missing or cannot be read.
        """
        root = self.root.stat()
        versions: dict[str, dict[int, Fingerprint]] = {}
        unreadable: dict[str, str] = {}
        for folder in sorted(self.root.iterdir()):
            if not is_name(folder.name):
                continue
            try:
                numbers = self.versions(folder.name)
            except OSError as error:
                unreadable[folder.name] = f"{folder} cannot be read: {error.strerror}"
                continue
            if numbers:
                versions[folder.name] = {number: fingerprint(folder / str(number)) for number in numbers}
        return Listing(versions, unreadable, (root.st_dev, root.st_ino))

    def read(self, name: str, version: int) -> CheckpointFiles:
        """Read the files of a version.

        Raises:
            CheckpointError: one is missing or cannot be read.
        """
        return read_files(self.root / check_name(name) / str(version))

    def load(self, name: str, version: int | None = None) -> SpectralModel:
        """Load one version of a model, by default the newest.

        Raises:
            ModelNotFoundError: no such model or version.
            CheckpointError: it is there, but damaged.
        """
        versions = self.versions(name)
        if not versions:
            have = ", ".join(self.names()) or "none"
            raise ModelNotFoundError(f"no model {name!r} in the store {self.root}; models there: {have}")
        if version is None:
            version = versions[-1]
        if version not in versions:
            raise ModelNotFoundError(
                f"no version {version} of model {name!r}; versions: {', '.join(map(str, versions))}"
            )
        model = read_checkpoint(self.root / name / str(version))
        return replace(model, card={**model.card, "name": name, "version": version})

    def report(self, name: str, version: int) -> bytes | None:
        """Read the report of a version, an HTML page; None where training left none.

        Raises:
            CheckpointError: what has its name is a link, a folder or a pipe: a link could lead to any file.
        """
        path = self.root / check_name(name) / str(version) / REPORT
        try:
            return read_regular(path, MAX_REPORT_BYTES, os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CheckpointError(f"{path} cannot be read: it is not a regular file") from None
            raise

    def save(
        self,
        name: str,
        model: SpectralModel,
        add_files: Callable[[Path, SpectralModel], None] | None = None,
        first: int = 1,
    ) -> SpectralModel:
        """Write the next version of ``name``.

        Args:
            name: the model's name.
            model: the model to write.
            add_files: called with the folder before it appears, to write more files into it.
            first: the least number of the version.

        Returns:
            The model with its name and version in the card.

        Raises:
            ValueError: a name that cannot be one.
        """
        folder = self.root / check_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            version = max(first, max(self.versions(name), default=0) + 1)
            named = replace(model, card={"name": name, "version": version, **_without_identity(model.card)})
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
            try:
                write_checkpoint(draft, named)
                if add_files is not None:
                    add_files(draft, named)
                draft.chmod(0o755)
                _flush(draft)
                try:
                    os.rename(draft, folder / str(version))
                except OSError:
                    if version in self.versions(name):
                        continue  # another writer took this version; take the next one
                    raise
                _flush(folder)
                return named
            finally:
                shutil.rmtree(draft, ignore_errors=True)


def _may_be_folder(path: Path) -> bool:
    """Return whether something is a folder, or may be: what cannot be looked at is reported when it is loaded."""
    try:
        return path.is_dir()
    except OSError:
        return True


def _without_identity(card: object) -> dict[str, object]:
    return {key: value for key, value in dict(card).items() if key not in ("name", "version")}  # type: ignore[call-overload]


def _flush(folder: Path) -> None:
    """Make a folder's files and entries durable."""
    for path in (*(p for p in folder.iterdir() if p.is_file()), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
