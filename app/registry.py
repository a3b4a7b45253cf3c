"""Keep the models that are served now: load, reload and unload them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.model import CheckpointError, ModelStore, SpectralModel
from eigenserve.model.checkpoints.local_store import ModelNotFoundError
from eigenserve.model.checkpoints.remote_store import RemoteStore
from eigenserve.model.rows.features import category_key

log = logging.getLogger("eigenserve.registry")


@dataclass(frozen=True, eq=False)
class ServedModel:
    """Hold one loaded version of a model. A request keeps the one it began with."""

    name: str
    version: int
    model: SpectralModel

    @cached_property
    def class_keys(self) -> tuple[str, ...]:
        """Return the classes as keys of a JSON object."""
        return tuple(category_key(label) for label in self.model.classes)


@dataclass
class ModelRegistry:
    """Find models by name and version, the newest by default.

    ``served`` is replaced as a whole and never changed in place, so that a reader on any thread sees one
    state of the store. Loading happens under a lock, on threads that may wait.

    Attributes:
        store: where the models are.
        default: name of the model that answers requests naming none.
        keep_versions: how many versions of a model are served, the newest that can be loaded.
        served: name -> version -> model.
        failures: (name, version) -> why the version is not served.
        on_load: called with a model's name and the version that was loaded, or None for one that cannot be.
        ready: all models were loaded once.
        marks: folder with a file for every model that was unloaded on request, which worker processes share.
    """

    store: ModelStore | RemoteStore
    default: str | None = None
    keep_versions: int = 10
    served: Mapping[str, Mapping[int, ServedModel]] = field(default_factory=dict)
    failures: Mapping[tuple[str, int], str] = field(default_factory=dict)
    on_load: Callable[[str, int | None], None] = lambda name, version: None
    ready: bool = False
    marks: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unloaded: set[str] = field(default_factory=set)

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
            return versions[max(versions)]
        try:
            return versions[int(version)]
        except (KeyError, ValueError):
            have = ", ".join(map(str, sorted(versions)))
            raise ProblemError(404, f"no version {version!r} of model {name!r}; versions: {have}") from None

    def load_all(self) -> None:
        """Load every model of the store, except those that another worker unloaded.

        Raises:
            ModelNotFoundError: the store is empty, or has no ``default``.
            CheckpointError: a model has no version that can be loaded.
        """
        names = self.store.names()
        if not names:
            raise ModelNotFoundError(f"the store {self.store.root} is empty; train a model with `eigenserve fit`")
        if self.default is not None and self.default not in names:
            raise ModelNotFoundError(
                f"the default model {self.default!r} is not in the store {self.store.root}; "
                f"models there: {', '.join(names)}"
            )
        # A worker that starts later must not bring back what was unloaded meanwhile.
        unloaded = self._names_unloaded()
        for name in names:
            if name not in unloaded:
                self.load(name)
        self.ready = True

    def load(self, name: str) -> ServedModel:
        """Bring what is served of one model up to what the store has. A bad version displaces nothing.

        Returns:
            The newest version that can be loaded.

        Raises:
            ModelNotFoundError: the store has no such model.
            CheckpointError: none of its versions can be loaded; what was served before still is.
        """
        with self._lock:
            have = self.served.get(name, {})
            versions = self.store.versions(name)
            if not versions:
                raise ModelNotFoundError(
                    f"no model {name!r} in the store; models there: {', '.join(self.store.names()) or 'none'}"
                )
            loaded: dict[int, ServedModel] = {}
            failures = {key: why for key, why in self.failures.items() if key[0] != name}
            for version in reversed(versions):
                if len(loaded) == self.keep_versions:
                    break
                try:
                    loaded[version] = have.get(version) or self._read(name, version)
                except (CheckpointError, ModelNotFoundError) as error:
                    failures[name, version] = str(error)
                    self.on_load(name, None)
            known, self.failures = self.failures, MappingProxyType(failures)
            if not loaded:
                raise CheckpointError(failures[name, versions[-1]])
            for key, why in failures.items():
                if key not in known:
                    log.error("version not loaded", extra={"model": name, "version": key[1], "reason": why})
            self._mark(name, unloaded=False)
            self.served = MappingProxyType(
                {key: dict(loaded) if key == name else self.served[key] for key in sorted({*self.served, name})}
            )
            return loaded[max(loaded)]

    def unload(self, name: str) -> None:
        """Stop serving a model until it is loaded again.

        Raises:
            ModelNotFoundError: it is not served.
        """
        with self._lock:
            if name not in self.served:
                raise ModelNotFoundError(f"no model {name!r} is loaded; loaded: {', '.join(self.served)}")
            self._mark(name, unloaded=True)
            self.served = MappingProxyType({key: self.served[key] for key in self.served if key != name})

    def look(self) -> None:
        """Take up what is new in the store, and let go what has left it or was unloaded elsewhere."""
        unloaded = self._names_unloaded()
        names = [name for name in self.store.names() if name not in unloaded]
        for name in names:
            versions, served = self.store.versions(name), self.served.get(name, {})
            known = [*served, *(version for key, version in self.failures if key == name)]
            if versions[-1:] > [max(known, default=0)] or not served.keys() <= set(versions):
                try:
                    newest = self.load(name)
                    log.info("model loaded", extra={"model": name, "version": newest.version})
                except (CheckpointError, ModelNotFoundError) as error:
                    log.error("model not loaded", extra={"model": name, "reason": str(error)})
        gone = [name for name in self.served if name not in names]
        if gone:
            with self._lock:
                self.served = MappingProxyType({key: self.served[key] for key in self.served if key in names})
            log.info("models are no longer served", extra={"models": gone})

    def _names_unloaded(self) -> set[str]:
        return self._unloaded if self.marks is None else {path.name for path in self.marks.iterdir()}

    def _mark(self, name: str, unloaded: bool) -> None:
        (self._unloaded.add if unloaded else self._unloaded.discard)(name)
        if self.marks is not None and unloaded:
            (self.marks / name).touch()
        elif self.marks is not None:
            (self.marks / name).unlink(missing_ok=True)

    def _read(self, name: str, version: int) -> ServedModel:
        served = ServedModel(name, version, self.store.load(name, version))
        try:
            warm_up(served)
        except Exception as error:
            raise CheckpointError(f"{name} version {version} loads, but cannot predict: {error}") from error
        self.on_load(name, version)
        return served

    def _default_name(self, served: Mapping[str, Mapping[int, ServedModel]]) -> str:
        if self.default is not None:
            return self.default
        if len(served) == 1:
            return next(iter(served))
        if not self.ready:
            raise not_ready()
        names = ", ".join(served) or "none"
        raise invalid(("model",), f"must be given, one of {names}: a default model is not set")


def not_ready() -> ProblemError:
    """Answer while models are being loaded."""
    return ProblemError(503, "the models are still being loaded", headers={"Retry-After": "1"})


def warm_up(served: ServedModel) -> None:
    """Take one row through all kernels, so that no request waits for their compilation."""
    model = served.model
    columns = model.features.encode([{}])
    model.scores(columns)
    model.explain_columns(columns)
