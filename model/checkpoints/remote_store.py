"""Keep a store behind an fsspec URL (s3://, gs://, az://, ...), read through a folder on this machine."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eigenserve.model.checkpoints.files import (
    DOCUMENT,
    MAX_DOCUMENT_BYTES,
    MAX_WEIGHTS_BYTES,
    WEIGHTS,
    CheckpointError,
    CheckpointFiles,
    named_hash,
)
from eigenserve.model.checkpoints.listing import Fingerprint, Listing
from eigenserve.model.checkpoints.local_store import (
    REPORT,
    ModelNotFoundError,
    ModelStore,
    check_name,
    is_name,
    is_version,
)
from eigenserve.model.spectral import SpectralModel

#: One listing of the store answers the questions of one look at it.
LISTING_S = 0.2
#: What file systems of fsspec call the things that change with a file's content.
CHANGING = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created", "generation", "md5Hash")

AddFiles = Callable[[Path, SpectralModel], None]


@dataclass
class RemoteStore:
    """Keep models as URL/NAME/VERSION/, with the interface of ``ModelStore``.

    Object stores have no folders to rename, so a version exists once both its document and its weights do; neither
    may change afterwards. A version is copied to ``cache`` whole or not at all, and read there, its hashes checked.
    The copy is used again as long as the remote document is the same, byte for byte: it holds the weights' hash.

    Attributes:
        root: the URL.
        cache: the folder for copies; processes may share it.
    """

    root: str
    cache: Path
    _listed: tuple[float, Listing] = field(default=(-LISTING_S, Listing({})), init=False)

    def __post_init__(self) -> None:
        self.root = self.root.rstrip("/")
        _ = self._filesystem

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system, and the store's path in it."""
        try:
            import fsspec.core

            system, path = fsspec.core.url_to_fs(self.root, use_listings_cache=False)
        except ImportError as error:
            raise ValueError(
                f"the store {self.root} needs a package (pip install 'eigenserve[store]' for s3://): {error}"
            ) from None
        except ValueError as error:
            raise ValueError(f"the store {self.root} cannot be opened: {error}") from None
        return system, path.rstrip("/")

    @cached_property
    def _copies(self) -> ModelStore:
        return ModelStore(self.cache / hashlib.sha256(self.root.encode()).hexdigest()[:16])

    def listing(self) -> Listing:
        """Look at all models and versions at once, without reading them.

        Raises:
            OSError: the store cannot be reached; also raised by what follows.
        """
        self._listed = (time.monotonic(), self._list())
        return self._listed[1]

    def names(self) -> list[str]:
        """List models that have a version, in alphabetical order."""
        return sorted(self.listing().versions)

    def versions(self, name: str) -> list[int]:
        """List the versions of a model, ascending; none for an unknown one."""
        check_name(name)
        at, listed = self._listed
        return sorted((self.listing() if time.monotonic() - at > LISTING_S else listed).versions.get(name, ()))

    def read(self, name: str, version: int) -> CheckpointFiles:
        """Read the files of a version from its copy here, made now if need be.

        Raises:
            CheckpointError: it is missing, damaged or cannot be fetched.
        """
        try:
            self._fetch(check_name(name), version)
        except CheckpointError:
            raise
        except Exception as error:  # every protocol raises different errors
            raise CheckpointError(f"{self.root}/{name}/{version} cannot be fetched: {error}") from error
        return self._copies.read(name, version)

    def load(self, name: str, version: int | None = None) -> SpectralModel:
        """Load one version of a model, by default the newest.

        Raises:
            ModelNotFoundError: no such model or version.
            CheckpointError: it is there, but damaged, or cannot be fetched.
        """
        versions = self.versions(name)
        wanted = version if version is not None else max(versions, default=0)
        if wanted not in versions:
            have = ", ".join(map(str, versions)) or "none"
            which = "model" if version is None else f"version {version} of model"
            raise ModelNotFoundError(f"no {which} {name!r} in the store {self.root}; versions: {have}")
        model = self.read(name, wanted).model()
        return replace(model, card={**model.card, "name": name, "version": wanted})

    def report(self, name: str, version: int) -> bytes | None:
        """Read the report of a version, an HTML page; None where training left none."""
        system, path = self._filesystem
        try:
            content: bytes = system.cat_file(f"{path}/{check_name(name)}/{version}/{REPORT}")
        except FileNotFoundError:
            return None
        return content

    def save(self, name: str, model: SpectralModel, add_files: AddFiles | None = None) -> SpectralModel:
        """Write the next version of ``name``, its document last: before that it does not exist.

        Two writers at the same time may take the same number; the store cannot prevent it.

        Args:
            name: the model's name.
            model: the model to write.
            add_files: called with the folder before it is copied, to write more files into it.

        Returns:
            The model with its name and version in the card.
        """
        system, path = self._filesystem
        self._listed = (-LISTING_S, Listing({}))
        version = max(self.versions(name), default=0) + 1
        with tempfile.TemporaryDirectory() as folder:
            draft = ModelStore(Path(folder))
            saved = draft.save(name, model, add_files, version)
            files = sorted((draft.root / name / str(version)).iterdir(), key=lambda file: file.name == DOCUMENT)
            system.makedirs(f"{path}/{name}/{version}", exist_ok=True)  # object stores have none, and make none
            for file in files:
                system.pipe_file(f"{path}/{name}/{version}/{file.name}", file.read_bytes())
        self._listed = (-LISTING_S, Listing({}))
        return saved

    def _list(self) -> Listing:
        system, path = self._filesystem
        system.invalidate_cache()
        files: dict[tuple[str, int], dict[str, Fingerprint]] = {}
        try:
            everything: dict[str, dict[str, Any]] = system.find(path, detail=True)
        except FileNotFoundError:
            return Listing({})
        except Exception as error:  # every protocol raises different errors
            raise OSError(f"the store {self.root} cannot be read: {error}") from error
        for place, details in everything.items():
            parts = place[len(path) :].strip("/").split("/")
            if len(parts) == 3 and is_name(parts[0]) and is_version(parts[1]):
                known = tuple(str(details.get(key)) for key in CHANGING)
                files.setdefault((parts[0], int(parts[1])), {})[parts[2]] = known
        listed: dict[str, dict[int, Fingerprint]] = {}
        for (name, version), has in sorted(files.items()):
            if {DOCUMENT, WEIGHTS} <= has.keys():
                listed.setdefault(name, {})[version] = (has[DOCUMENT], has[WEIGHTS])
        return Listing(listed)

    def _fetch(self, name: str, version: int) -> None:
        """Have a copy of a version, made by this process or another."""
        system, path = self._filesystem
        remote, copy = f"{path}/{name}/{version}", self._copies.root / name / str(version)
        for file, most in ((DOCUMENT, MAX_DOCUMENT_BYTES), (WEIGHTS, MAX_WEIGHTS_BYTES)):
            size = system.size(f"{remote}/{file}")
            if size is not None and size > most:
                raise CheckpointError(f"{self.root}/{name}/{version}/{file} must have at most {most} bytes; got {size}")
        document: bytes = system.cat_file(f"{remote}/{DOCUMENT}")
        if _is_copy(copy, document):
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=copy.parent))
        try:
            whole = draft / "whole"
            whole.mkdir()
            system.get_file(f"{remote}/{WEIGHTS}", str(whole / WEIGHTS))
            (whole / DOCUMENT).write_bytes(document)
            try:
                if copy.exists():
                    # Of a version that was removed and written again, or a copy that was damaged.
                    copy.rename(draft / "old")
                whole.rename(copy)
            except OSError:
                if not _is_copy(copy, document):  # unless another process was quicker
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _is_copy(copy: Path, document: bytes) -> bool:
    """Return whether a folder holds this document and the weights that it names."""
    try:
        if (copy / DOCUMENT).read_bytes() != document:
            return False
        with (copy / WEIGHTS).open("rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest() == named_hash(document, "weights_sha256")
    except OSError:
        return False
