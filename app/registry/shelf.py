"""Take versions from the store, and let go of those that have left it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from eigenserve.app.registry.failures import Failures, Key
from eigenserve.app.registry.served import ServedModel, make_served
from eigenserve.model import CheckpointError, ModelStore
from eigenserve.model.checkpoints.files import CheckpointFiles
from eigenserve.model.checkpoints.listing import Fingerprint, Listing
from eigenserve.model.checkpoints.remote_store import RemoteStore

log = logging.getLogger("eigenserve.registry")

#: A version that is being replaced is missing for a moment: it has left the store when two looks miss it.
LOOKS_UNTIL_GONE = 2
#: Looks (30 s of them as the service comes) for which missing versions are expected back: after an outage, when
#: another folder stands in the store's place, and when all models are missing at once.
LOOKS_OF_PATIENCE = 15


@dataclass(frozen=True)
class Taken:
    """Hold a loaded version, and the state of the files it was loaded from; None where that is not known."""

    served: ServedModel
    fingerprint: Fingerprint | None


@dataclass
class Shelf:
    """Hold the newest versions of every model that can be loaded.

    Attributes:
        store: where they come from.
        keep_versions: how many of a model are taken.
        on_load: called with a model's name and the version that was loaded, or None for one that cannot be.
        on_files: called with the files of what was loaded.
        taken: name -> version -> what was taken.
        failures: versions that cannot be loaded as they are in the store now.
        quiet: whether nothing is logged.
    """

    store: ModelStore | RemoteStore
    keep_versions: int
    on_load: Callable[[str, int | None], None]
    on_files: Callable[[CheckpointFiles], None]
    taken: dict[str, dict[int, Taken]] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)
    quiet: bool = False
    _missing: dict[Key, int] = field(default_factory=dict)
    _root: tuple[int, int] | None = None
    _patience: int = 0

    def look(self, unloaded: Collection[str] = ()) -> None:
        """Go through all models of the store.

        Args:
            unloaded: names that are not wanted.

        Raises:
            OSError: the store is missing, cannot be read, or is suddenly another one and empty. Nothing is let go.
        """
        try:
            listing = self.listing()
        except OSError:
            self._patience = LOOKS_OF_PATIENCE
            raise
        self.take_all(listing, unloaded)

    def take_all(self, listing: Listing, unloaded: Collection[str] = ()) -> None:
        """Go through all models of a listing, each for itself.

        Args:
            listing: of the store, just now.
            unloaded: names that are not wanted.
        """
        if self.taken and listing.root != self._root:
            self._patience = LOOKS_OF_PATIENCE
        self._root = listing.root
        until_gone = LOOKS_OF_PATIENCE if self._patience or not listing.versions else LOOKS_UNTIL_GONE
        listed = {(name, version) for name, versions in listing.versions.items() for version in versions}
        # What is gone is forgotten, so that it is taken if it comes back.
        self.failures.keep(listed | {(name, 0) for name in listing.unreadable})
        self._missing = {key: count for key, count in self._missing.items() if key not in listed}
        taken: dict[str, dict[int, Taken]] = {}
        for name in sorted({*listing.versions, *self.taken}):
            if name in listing.unreadable:
                taken[name] = self.taken.get(name, {})
            elif name not in unloaded:
                taken[name] = self._take(name, listing.versions.get(name, {}), until_gone)
        for name, reason in listing.unreadable.items():
            self._fail((name, 0), reason, None)
        self.taken = {name: versions for name, versions in taken.items() if versions}
        # Where nothing is missing, everything has come back.
        self._patience = max(0, self._patience - 1) if self._missing else 0

    def listing(self) -> Listing:
        """List the store.

        Raises:
            OSError: as ``look``.
        """
        listing = self.store.listing()
        if self.taken and not listing.versions and (listing.root is None or listing.root != self._root):
            # So does a volume look that is not mounted.
            raise OSError(f"the store {self.store.root} has become empty, which is taken for an outage")
        return listing

    def take(self, name: str, versions: Mapping[int, Fingerprint]) -> Mapping[int, Taken]:
        """Take a model as the store has it now, whatever failed or was missing lately.

        Returns:
            What was taken. If it is nothing, what was taken before stays.
        """
        self.failures.forget(*((name, version) for version in versions))
        taken = self._take(name, versions, until_gone=0)
        if taken:
            self.taken[name] = taken
        return taken

    def _take(self, name: str, versions: Mapping[int, Fingerprint], until_gone: int) -> dict[int, Taken]:
        have = self.taken.get(name, {})
        taken: dict[int, Taken] = {}
        for version in sorted(versions, reverse=True):
            if len(taken) == self.keep_versions:
                break
            one = self._take_version((name, version), versions[version], have.get(version))
            if one is not None:
                taken[version] = one
        for version in have.keys() - versions.keys():
            missed = self._missing[name, version] = self._missing.get((name, version), 0) + 1
            if missed < until_gone:
                taken[version] = have[version]
            else:
                del self._missing[name, version]
                log.info("version has left the store", extra={"model": name, "version": version})
        return taken

    def _take_version(self, key: Key, fingerprint: Fingerprint, have: Taken | None) -> Taken | None:
        """Return a version as the store has it now; as it was before, or None, if that cannot be loaded."""
        if have is not None and have.fingerprint == fingerprint:
            self.failures.forget(key)
            return have
        if self.failures.rests(key, fingerprint, time.monotonic()):
            return have
        name, version = key
        try:
            files = self.store.read(name, version)
            if have is not None and files.digest == have.served.digest:
                # The document names the hash of the weights, which may have been damaged since.
                files.model()
                served = have.served
            else:
                served = make_served(name, version, files)
                if not self.quiet:
                    log.info("version loaded", extra={"model": name, "version": version})
                self.on_load(name, version)
                self.on_files(files)
        except Exception as error:
            # Whatever is wrong with it, the other versions and models are looked at all the same.
            reason = str(error) if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
            self._fail(key, reason, fingerprint)
            self.on_load(name, None)
            return have
        self.failures.forget(key)
        return Taken(served, fingerprint)

    def _fail(self, key: Key, reason: str, fingerprint: Fingerprint) -> None:
        if self.failures.add(key, reason, fingerprint, time.monotonic()) and not self.quiet:
            log_failure(key, reason)


def log_failure(key: Key, reason: str) -> None:
    """Log that a version is not served, or with version 0 a whole model."""
    log.error("version not loaded", extra={"model": key[0], "version": key[1] or None, "reason": reason})
