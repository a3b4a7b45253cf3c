"""Open the store at a folder or a URL, and load the model at a place in one."""

from __future__ import annotations

import os
from pathlib import Path

from eigenserve.model.checkpoints.local_store import ModelNotFoundError, ModelStore, is_name, is_version
from eigenserve.model.checkpoints.mlflow_models import SCHEME, registered_model
from eigenserve.model.checkpoints.remote_store import RemoteStore
from eigenserve.model.spectral import SpectralModel


def open_store(location: str | os.PathLike[str], cache: Path | None = None) -> ModelStore | RemoteStore:
    """Open the store at a folder or an fsspec URL.

    Args:
        location: the folder, or the URL.
        cache: the folder for copies of remote versions; by default one of the user's cache.

    Raises:
        ValueError: a URL whose protocol is not known, or needs a package that is not installed.
    """
    text = os.fspath(location)
    if text.startswith(SCHEME):
        return registered_model(text, default_cache() if cache is None else cache)[0]
    if "://" not in text:
        return ModelStore(Path(text))
    return RemoteStore(text, default_cache() if cache is None else cache)


def default_cache() -> Path:
    """Return $XDG_CACHE_HOME/eigenserve, or ~/.cache/eigenserve."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eigenserve"


def load_model(path: str | os.PathLike[str]) -> SpectralModel:
    """Load STORE/NAME (its newest version) or STORE/NAME/VERSION; STORE is a folder or an fsspec URL.

    Also ``models:/NAME/VERSION`` of MLflow's registry (see ``model.checkpoints.mlflow_models``).

    Raises:
        ModelNotFoundError: nothing there.
        CheckpointError: something there that is damaged.
    """
    store, name, version = place_of(path)
    return store.load(name, version)


def place_of(path: str | os.PathLike[str]) -> tuple[ModelStore | RemoteStore, str, int | None]:
    """Return the store, the name and the version, None for the newest, of STORE/NAME or STORE/NAME/VERSION.

    Raises:
        ModelNotFoundError: nothing there.
    """
    text = os.fspath(path)
    if text.startswith(SCHEME):
        return registered_model(text, default_cache())
    if "://" in text:
        root, _, name = text.rstrip("/").rpartition("/")
        above, _, before = root.rpartition("/")
        version = None
        if is_version(name) and is_name(before) and "://" in above:
            root, name, version = above, before, int(name)
        if not is_name(name) or "://" not in root:
            raise ModelNotFoundError(f"no model at {text}: MODEL is STORE/NAME or STORE/NAME/VERSION")
        return open_store(root), name, version
    folder = Path(path).resolve()
    name, version = folder.name, None
    if is_version(name) and folder.is_dir() and not ModelStore(folder.parent).versions(name):
        folder, version = folder.parent, int(name)
    if not folder.is_dir() or not is_name(folder.name):
        raise ModelNotFoundError(f"no model at {path}: MODEL is STORE/NAME or STORE/NAME/VERSION")
    return ModelStore(folder.parent), folder.name, version
