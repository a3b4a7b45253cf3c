"""Fetch checkpoints that MLflow keeps: the model of ``models:/NAME/VERSION``."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from eigenserve.model.checkpoints.files import DOCUMENT, CheckpointError
from eigenserve.model.checkpoints.local_store import ModelNotFoundError, ModelStore

SCHEME = "models:/"
_PLACE = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>[1-9][0-9]*)|@(?P<alias>[^/@]+))?")


def registered_model(uri: str, cache: Path) -> tuple[ModelStore, str, int]:
    """Copy the model of ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``models:/NAME`` (the newest) to a store.

    Args:
        uri: the model's.
        cache: the folder of copies; a version that is there already is not fetched again.

    Returns:
        The store that has the copy, its name and its version.

    Raises:
        ModelNotFoundError: no such model or version, or not such a URI.
        CheckpointError: it is not a model of Eigenserve.
        ModuleNotFoundError: MLflow is not installed.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    place = _PLACE.fullmatch(uri)
    if place is None:
        raise ModelNotFoundError(f"no model at {uri}: it must be models:/NAME[/VERSION] or models:/NAME@ALIAS")
    client = MlflowClient()
    name = place["name"]
    try:
        if place["alias"]:
            version = int(client.get_model_version_by_alias(name, place["alias"]).version)
        elif place["version"]:
            version = int(client.get_model_version(name, place["version"]).version)
        else:
            versions = client.search_model_versions(f"name = '{name}'")
            version = max((int(found.version) for found in versions), default=0)
        if not version:
            raise ModelNotFoundError(f"no model at {uri}: MLflow has no version of {name!r}")
        # Registries have versions of the same names: copies of each lie apart.
        store = ModelStore(cache / "mlflow" / re.sub(r"[^A-Za-z0-9._-]+", "_", client._registry_uri))
        if version not in store.versions(name):
            _fetch(f"{SCHEME}{name}/{version}", store.root / name / str(version))
    except MlflowException as error:
        raise ModelNotFoundError(f"no model at {uri}: {error.message}") from error
    return store, name, version


def downloaded(uri: str, folder: Path) -> Path:
    """Download an MLflow model into a folder, and return the folder of its checkpoint.

    Raises:
        CheckpointError: it is not a model of Eigenserve.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    place = Path(download_artifacts(uri, dst_path=str(folder)))
    flavour = Model.load(place).flavors.get("python_function", {})
    checkpoint = place / str(flavour.get("data", ""))
    if flavour.get("loader_module") != "eigenserve.mlflow" or not (checkpoint / DOCUMENT).is_file():
        raise CheckpointError(f"{uri} is not a model of Eigenserve: log it with eigenserve.mlflow.log_model")
    return checkpoint


def _fetch(uri: str, place: Path) -> None:
    """Copy a checkpoint to a place; it appears whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".draft-") as draft:
        checkpoint = downloaded(uri, Path(draft))
        whole = shutil.copytree(checkpoint, Path(draft) / "whole")
        try:
            os.rename(whole, place)
        except OSError:
            # Another process has fetched it meanwhile: a folder with files is not replaced.
            if not (place / DOCUMENT).is_file():
                raise
