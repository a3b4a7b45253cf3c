"""Save and load one checkpoint: a model as model.json and model.safetensors in a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from eigenserve.errors import EigenserveError
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.model.spectral import LINKS, SpectralModel

FORMAT_VERSION = 1
DOCUMENT = "model.json"
WEIGHTS = "model.safetensors"
#: The float64 arrays of a pencil, as model.safetensors holds them.
TENSORS = ("constant_diag", "constant_off_diag", "diag", "off_diag")


class CheckpointError(EigenserveError):
    """Report a checkpoint that cannot be loaded; the message says which file of it and why."""


def write_checkpoint(folder: Path, model: SpectralModel) -> None:
    """Write ``model``, its card included, into an existing folder. The same model gives the same bytes."""
    pencil = model.ensemble.pencil
    weights = safetensors.numpy.save({name: getattr(pencil, name) for name in TENSORS})
    (folder / WEIGHTS).write_bytes(weights)
    document = {
        "format_version": FORMAT_VERSION,
        **model.card,
        "task": model.task,
        "link": model.link,
        "classes": list(model.classes),
        "target": model.target,
        "features": [_feature_document(feature) for feature in model.features.features],
        "terms": [asdict(term) for term in pencil.terms],
        "curves": [asdict(curve) for curve in pencil.curves.curves],
        "eig_idx": model.ensemble.eig_idx,
        "member_weights": model.ensemble.member_weights.tolist(),
        "offset": model.ensemble.offset.tolist(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "document_sha256": "",
    }
    content = json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"
    signed = b'"document_sha256": "%s"' % hashlib.sha256(content).hexdigest().encode()
    (folder / DOCUMENT).write_bytes(signed.join(content.rsplit(b'"document_sha256": ""', 1)))


def read_checkpoint(folder: Path) -> SpectralModel:
    """Load what ``write_checkpoint`` wrote, checking all of it.

    Raises:
        CheckpointError: a missing, damaged or foreign file, wrong shapes, NaN or infinity, or a format of
            the future.
    """
    content = _read(folder / DOCUMENT)
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError("must be a JSON object")
    except (ValueError, RecursionError) as error:  # JSON and text decoding errors are ValueErrors
        raise CheckpointError(f"{folder / DOCUMENT} is damaged: {error}") from error
    found = document.pop("format_version", None)
    if found != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder / DOCUMENT} has format_version {found}, this Eigenserve reads {FORMAT_VERSION}: "
            "upgrade Eigenserve, or train the model again"
        )
    try:
        if not _is_signed(content, document.pop("document_sha256")):
            raise CheckpointError(f"{folder / DOCUMENT} does not match its document_sha256: it was changed")
        return _model(document, _read(folder / WEIGHTS), folder)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        problem = f"has no {error}" if isinstance(error, KeyError) else f"is damaged: {error}"
        raise CheckpointError(f"{folder / DOCUMENT} {problem}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _is_signed(content: bytes, digest: object) -> bool:
    """Return whether ``digest`` is the hash of the document's bytes, those of the digest itself left out."""
    unsigned = content.replace(str(digest).encode(), b"", 1)
    return hashlib.sha256(unsigned).hexdigest() == digest


def _model(document: dict[str, Any], weights: bytes, folder: Path) -> SpectralModel:
    if hashlib.sha256(weights).hexdigest() != document.pop("weights_sha256"):
        raise CheckpointError(
            f"{folder / WEIGHTS} does not match the sha256 in {DOCUMENT}: it is damaged or incomplete"
        )
    terms = tuple(_make(Term, term) for term in document.pop("terms"))
    curves = CurveSet(tuple(_make(Curve, curve) for curve in document.pop("curves")))
    try:
        tensors = safetensors.numpy.load(weights)
        pencil = TridiagonalPencil(terms, curves, **{name: tensors[name] for name in TENSORS})
    except KeyError as error:
        raise CheckpointError(f"{folder / WEIGHTS} has no tensor {error}") from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} is damaged: {error}") from error
    task, link, target = document.pop("task"), document.pop("link"), document.pop("target")
    log_link = (task, link) == ("regression", "exp")
    if not log_link and LINKS.get(task) != link:
        raise ValueError(f"task {task!r} with link {link!r} is not a known pair")
    if not isinstance(target, str):
        raise ValueError(f"target must be the name of a column; got {target!r}")
    return SpectralModel(
        task=task,
        target=target,
        features=FeatureSpace(tuple(_feature(feature) for feature in document.pop("features"))),
        ensemble=SpectralEnsemble(
            pencil=pencil,
            eig_idx=document.pop("eig_idx"),
            member_weights=np.array(document.pop("member_weights"), np.float64),
            offset=np.array(document.pop("offset"), np.float64),
        ),
        classes=tuple(document.pop("classes")),
        card=document,
        log_link=log_link,
    )


def _feature_document(feature: Feature) -> dict[str, Any]:
    """Return the JSON form of a feature, with its reading where that is not the plain one."""
    document = asdict(feature)
    if feature.reading == PLAIN:
        del document["reading"]
    return document


def _feature(document: dict[str, Any]) -> Feature:
    reading = _make(Reading, document["reading"]) if "reading" in document else PLAIN
    return replace(_make(Feature, {**document, "reading": PLAIN}), reading=reading)


def _make(kind: type[Any], fields: dict[str, Any]) -> Any:
    """Make a dataclass from its JSON form, in which tuples are lists."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
