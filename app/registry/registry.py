"""Keep the models that are served now: find, load and unload them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from eigenserve.app.agreement.agreement import Agreement, Offer
from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.registry.failures import Key
from eigenserve.app.registry.peers import Alone, Peers
from eigenserve.app.registry.readiness import LOADING, not_ready
from eigenserve.app.registry.routing import Routing
from eigenserve.app.registry.served import ServedModel, make_served
from eigenserve.app.registry.shelf import Shelf, Taken, log_failure
from eigenserve.model import CheckpointError, ModelStore
from eigenserve.model.checkpoints.files import CheckpointFiles
from eigenserve.model.checkpoints.listing import Listing
from eigenserve.model.checkpoints.local_store import ModelNotFoundError
from eigenserve.model.checkpoints.remote_store import RemoteStore

log = logging.getLogger("eigenserve.registry")

Served = Mapping[str, Mapping[int, ServedModel]]


@dataclass
class ModelRegistry:
    """Find models by name and version, by default the promoted or newest.

    What this process takes from the store is offered to its peers, and what they agree on is served. Looking and
    loading happen under a lock, on threads that may wait; ``served`` is replaced as a whole and never changed in
    place, so that a reader on any thread sees one state of it.

    Attributes:
        store: where the models are.
        default: name of the model that answers requests naming none.
        keep_versions: how many versions of a model are served, the newest that can be loaded.
        on_load: called with a model's name and the version that was loaded, or None for one that cannot be.
        peers: who must agree before a version answers; set before anything is loaded.
        routing: which version answers where none is named.
    """

    store: ModelStore | RemoteStore
    default: str | None = None
    keep_versions: int = 10
    on_load: Callable[[str, int | None], None] = lambda name, version: None
    peers: Peers = field(default_factory=Alone)
    routing: Routing = field(default_factory=Routing)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: By digest: all that may be agreed on, which is what this process offers or did offer lately. Replaced as a whole.
    _loaded: Mapping[tuple[Key, str], ServedModel] = field(default_factory=dict)
    #: Those of ``_loaded`` that are no longer offered, and the number of the first offer without them.
    _retired: dict[tuple[Key, str], int] = field(default_factory=dict)
    _offered: tuple[int, Offer | None] = (0, None)
    _served: tuple[Agreement | None, Served] = field(default_factory=lambda: (None, {}))

    def __post_init__(self) -> None:
        self._shelf = Shelf(self.store, self.keep_versions, self.on_load, self._copy)

    @property
    def ready(self) -> bool:
        """Return whether this process has all that is agreed on, and may answer."""
        return self.peers.worker in self.peers.agreement.members

    @property
    def served(self) -> Served:
        """Return what is served at this moment: name -> version -> model."""
        agreement, served = self._served
        while (current := self.peers.agreement) is not agreement and self.peers.worker in current.members:
            loaded = self._loaded
            try:
                served = MappingProxyType(
                    {
                        name: {version: loaded[(name, version), digest] for version, digest in versions.items()}
                        for name, versions in current.table.items()
                    }
                )
            except KeyError:
                if self.peers.agreement is current:
                    raise
                continue  # what there is no longer agreement on was let go meanwhile
            agreement = current
            self._served = agreement, served
        return served

    @property
    def failures(self) -> Mapping[Key, str]:
        """Return (name, version) -> why the store has it, but it cannot be loaded; version 0 for a whole model."""
        return {key: failure.reason for key, failure in self._shelf.failures.known.items()}

    def find(self, name: str | None = None, version: str | int | None = None) -> ServedModel:
        """Find the model that answers a request.

        Raises:
            ProblemError: 404 no such model or version; 422 none named where there are several; 503 not
                ready.
        """
        served = self.served
        if name is None:
            name = self._default_name(served)
        versions = served.get(name)
        if versions is None:
            if not self.ready:
                raise not_ready()
            raise ProblemError(404, f"no model {name!r}; models: {', '.join(served) or 'none'}")
        if version is None:
            return versions[self.routing.choose(name, versions, self.peers.agreement.promoted)]
        try:
            return versions[int(version)]
        except (KeyError, ValueError):
            have = ", ".join(map(str, sorted(versions)))
            raise ProblemError(404, f"no version {version!r} of model {name!r}; versions: {have}") from None

    def load_all(self) -> None:
        """Load every model of the store that can be, or, where other workers serve, at least what they do.

        Raises:
            ModelNotFoundError: the store is empty, or has no ``default``.
            CheckpointError: nothing in it can be loaded.
            OSError: it cannot be read.
        """
        with self._lock:
            agreement = self.peers.agreement
            first = not agreement.table and not agreement.unloaded
            try:
                listing = self._shelf.listing()
            except OSError as error:
                if first:
                    if isinstance(error, FileNotFoundError | NotADirectoryError):
                        raise self._empty() from error
                    raise
                log.error("the store cannot be read", extra={"reason": str(error)})
            else:
                self._take_all(listing, first)
            self._cover(agreement)
            self._offer()

    def look(self) -> None:
        """Take up what is new in the store or was mended, and let go what has left it or was unloaded.

        Raises:
            OSError: the store is missing, cannot be read, or is suddenly another one and empty. What is served stays.
        """
        with self._lock:
            try:
                self._shelf.look(self.peers.agreement.unloaded)
            finally:
                self._cover(self.peers.agreement)
                self._offer()

    def load(self, name: str) -> ServedModel:
        """Bring what is served of one model up to what the store has, now. A bad version displaces nothing.

        Returns:
            The newest version that can be loaded. It answers once all workers have it.

        Raises:
            ModelNotFoundError: the store has no such model.
            CheckpointError: none of its versions can be loaded; what was served before still is.
            OSError: as ``look``.
        """
        with self._lock:
            listing = self._shelf.listing()
            if name in listing.unreadable:
                raise CheckpointError(listing.unreadable[name])
            versions = listing.versions.get(name)
            if versions is None:
                models = ", ".join(listing.versions) or "none"
                raise ModelNotFoundError(f"no model {name!r} in the store; models there: {models}")
            taken = self._shelf.take(name, versions)
            if not taken:
                raise CheckpointError(self.failures[name, max(versions)])
            self._offer()
            self.peers.load(name)
            return taken[max(taken)].served

    def unload(self, name: str) -> None:
        """Stop serving a model until it is loaded again.

        Raises:
            ModelNotFoundError: it is not served.
        """
        if name not in self.served:
            raise ModelNotFoundError(f"no model {name!r} is loaded; loaded: {', '.join(self.served)}")
        self.peers.unload(name)

    def promote(self, name: str, version: str | int | None) -> Callable[[], bool]:
        """Let a version answer requests that name none, in all workers; None for the newest.

        Returns:
            Says whether that is so by now.

        Raises:
            ProblemError: 404 no such model or version.
        """
        chosen = self.find(name, version).version if version is not None else None
        self.find(name)
        self.peers.promote(name, chosen)
        return lambda: self.peers.agreement.promoted.get(name, -1) == chosen

    def canary(self, name: str) -> ServedModel | None:
        """Return the version that answers a share of a model's requests now; None for none."""
        canary = self.routing.canaries.get(name)
        if canary is None or name in self.peers.agreement.promoted:
            return None
        return self.served.get(name, {}).get(canary.version)

    def defaults(self, names: Iterable[str] | None = None) -> dict[str, ServedModel]:
        """Return by name the versions that answer requests that name none, canaries aside."""
        served, agreed = self.served, self.peers.agreement.promoted
        return {
            name: served[name][self.routing.default(name, served[name], agreed.get(name))]
            for name in (served if names is None else names)
        }

    def unready_reason(self) -> str | None:
        """Say why this process cannot answer what it should; None if it can."""
        if not self.ready:
            return LOADING
        served, unloaded = self.served, self.peers.agreement.unloaded
        if self.default is not None and self.default not in served and self.default not in unloaded:
            reasons = [why for (name, _), why in sorted(self.failures.items()) if name == self.default]
            reason = reasons[-1] if reasons else "the store does not have it"
            return f"the default model {self.default!r} is not served: {reason}"
        if not served and not unloaded:
            return "no model is served"
        return None

    def _take_all(self, listing: Listing, first: bool) -> None:
        """Take all models, or raise what keeps a server from starting: nothing of it is likely to heal by itself."""
        names = sorted({*listing.versions, *listing.unreadable})
        if first and not names:
            raise self._empty()
        if first and self.default is not None and self.default not in names:
            raise ModelNotFoundError(
                f"the default model {self.default!r} is not in the store {self.store.root}; "
                f"models there: {', '.join(names)}"
            )
        # A mistake is reported by the command line, in one line.
        self._shelf.quiet = True
        self._shelf.take_all(listing, self.peers.agreement.unloaded)
        self._shelf.quiet = False
        if first and not self._shelf.taken:
            raise CheckpointError("; ".join(dict.fromkeys(self.failures.values())))
        for key, reason in sorted(self.failures.items()):
            log_failure(key, reason)

    def _empty(self) -> ModelNotFoundError:
        missing = isinstance(self.store.root, Path) and not self.store.root.exists()
        state = "does not exist" if missing else "is empty"
        return ModelNotFoundError(f"the store {self.store.root} {state}; train a model with `eigenserve fit`")

    def _copy(self, files: CheckpointFiles) -> None:
        """Keep what was loaded for workers that start later."""
        if self.peers.copies is not None:
            try:
                self.peers.copies.keep(files)
            except OSError as error:
                log.warning("no copy for other workers", extra={"place": str(files.place), "reason": str(error)})

    def _cover(self, agreement: Agreement) -> None:
        """Have all that the other workers answer with, before this one answers."""
        if self.peers.copies is None or self.ready:
            return
        for name, versions in agreement.table.items():
            for version, digest in versions.items():
                taken = self._shelf.taken.get(name, {}).get(version)
                if (taken is not None and taken.served.digest == digest) or ((name, version), digest) in self._loaded:
                    continue
                try:
                    served = make_served(name, version, self.peers.copies.read(digest))
                except CheckpointError as error:
                    reason = {"model": name, "version": version, "reason": str(error)}
                    log.error("what others serve cannot be loaded", extra=reason)
                    continue
                self._loaded = {**self._loaded, ((name, version), digest): served}
                if taken is None:
                    self._shelf.taken.setdefault(name, {})[version] = Taken(served, None)

    def _offer(self) -> None:
        """Let the peers know what there is, if that has changed, and let go what nobody can agree on any more."""
        taken = {
            ((name, version), one.served.digest): one.served
            for name, versions in self._shelf.taken.items()
            for version, one in versions.items()
        }
        self._loaded = {**self._loaded, **taken}
        offer: dict[str, dict[int, list[str]]] = {}
        for (name, version), digest in [*taken, *(self._loaded.keys() - taken.keys() if not self.ready else ())]:
            offer.setdefault(name, {}).setdefault(version, []).append(digest)
        number, before = self._offered
        if offer != before:
            number += 1
            self._offered = number, offer
            self.peers.offer(number, offer)
        agreement = self.peers.agreement
        agreed = {((n, v), digest) for n, versions in agreement.table.items() for v, digest in versions.items()}
        # An agreement that does not know of the latest offer may still name what it has no longer.
        self._retired = {key: self._retired.get(key, number) for key in self._loaded.keys() - taken.keys()}
        known = agreement.members.get(self.peers.worker, -1)
        gone = {key for key, since in self._retired.items() if known >= since and key not in agreed}
        self._loaded = {key: served for key, served in self._loaded.items() if key not in gone}

    def _default_name(self, served: Served) -> str:
        if self.default is not None:
            return self.default
        if len(served) == 1:
            return next(iter(served))
        if not self.ready:
            raise not_ready()
        names = ", ".join(served) or "none"
        raise invalid(("model",), f"must be given, one of {names}: a default model is not set")
