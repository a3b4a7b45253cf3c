"""Save and load one checkpoint: a model as model.json and model.safetensors in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from eigenserve.errors import EigenserveError
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.predictor import LINKS
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import PLAIN, reading_of
from eigenserve.model.spectral import SpectralModel

FORMAT_VERSION = 1
DOCUMENT = "model.json"
WEIGHTS = "model.safetensors"
#: Far above real ones (the demo model: 0.4 MB and 2 MB), and small enough to be read into memory by mistake.
MAX_DOCUMENT_BYTES, MAX_WEIGHTS_BYTES = 64 * 2**20, 2**30
#: What is larger is parsed, or read into memory, only once its hash is right. Measured: JSON of so many bytes of empty
#: lists holds the interpreter's lock for 0.1 s.
HASHED_FIRST_BYTES = 2**22
#: The float64 arrays of a pencil, as model.safetensors holds them.
TENSORS = ("constant_diag", "constant_off_diag", "diag", "off_diag")


class CheckpointError(EigenserveError):
    """Report a checkpoint that cannot be loaded; the message says which file of it and why."""


def write_checkpoint(folder: Path, model: SpectralModel) -> None:
    """Write ``model``, its card included, into an existing folder. The same model gives the same bytes."""
    for name, content in to_bytes(model).items():
        (folder / name).write_bytes(content)


def to_bytes(model: SpectralModel) -> dict[str, bytes]:
    """Return a model as the files of its checkpoint, by name; the document comes last."""
    pencil = model.ensemble.pencil
    weights = safetensors.numpy.save({name: getattr(pencil, name) for name in TENSORS})
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
    return {WEIGHTS: weights, DOCUMENT: signed.join(content.rsplit(b'"document_sha256": ""', 1))}


def from_bytes(files: Mapping[str, bytes]) -> SpectralModel:
    """Load what ``to_bytes`` returned.

    Raises:
        CheckpointError: as ``read_checkpoint``.
    """
    for name in (DOCUMENT, WEIGHTS):
        if name not in files:
            raise CheckpointError(f"{name} is missing")
    return CheckpointFiles(files[DOCUMENT], files[WEIGHTS], Path()).model()


@dataclass(frozen=True)
class CheckpointFiles:
    """Hold the content of a checkpoint's files, read once and not checked yet.

    Attributes:
        document: of model.json.
        weights: of model.safetensors.
        place: the folder, for messages.
    """

    document: bytes
    weights: bytes
    place: Path

    @cached_property
    def digest(self) -> str:
        """Return the sha256 of the document, which holds that of the weights: checkpoints differ by it."""
        return hashlib.sha256(self.document).hexdigest()

    def model(self) -> SpectralModel:
        """Build the model, checking all of it.

        Raises:
            CheckpointError: as ``read_checkpoint``.
        """
        path = self.place / DOCUMENT
        if len(self.document) > HASHED_FIRST_BYTES:
            _check_signature(path, self.document, named_hash(self.document, "document_sha256"))
        try:
            document = json.loads(self.document)
            if not isinstance(document, dict):
                raise ValueError("must be a JSON object")
        except (ValueError, RecursionError) as error:  # JSON and text decoding errors are ValueErrors
            raise CheckpointError(f"{path} is damaged: {error}") from error
        version = document.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format_version {version}, this Eigenserve reads {FORMAT_VERSION}: "
                "upgrade Eigenserve, or train the model again"
            )
        try:
            _check_signature(path, self.document, document.pop("document_sha256"))
            return _model(document, self.weights, self.place)
        except CheckpointError:
            raise
        except KeyError as error:
            raise CheckpointError(f"{path} has no {error}") from error
        except Exception as error:
            # A foreign document can break whatever is built from it: an integer overflows, an array does not fit.
            raise CheckpointError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def read_files(folder: Path) -> CheckpointFiles:
    """Read the files of a checkpoint without looking into them.

    Raises:
        CheckpointError: one is missing, cannot be read, is not a regular file, or is absurdly large; large weights are
            not those that the document names.
    """
    document = _read(folder / DOCUMENT, MAX_DOCUMENT_BYTES)
    weights = _read(folder / WEIGHTS, MAX_WEIGHTS_BYTES, named_hash(document, "weights_sha256"))
    return CheckpointFiles(document, weights, folder)


def named_hash(document: bytes, key: str) -> str:
    """Return a hash that the content of a model.json names at its end, without parsing it; "" for none."""
    mark = f'"{key}": "'.encode()
    place = document.rfind(mark) + len(mark)
    return document[place : place + 64].decode("latin-1") if place >= len(mark) else ""


def read_checkpoint(folder: Path) -> SpectralModel:
    """Load what ``write_checkpoint`` wrote, checking all of it.

    Raises:
        CheckpointError: a missing, damaged or foreign file, wrong shapes, NaN or infinity, or a format of
            the future.
    """
    return read_files(folder).model()


def read_regular(path: Path, max_bytes: int, flags: int = 0, sha256: str | None = None) -> bytes:
    """Read a regular file, without waiting for the other end of a pipe or a device.

    Args:
        path: the file.
        max_bytes: the most that is read.
        flags: further flags of ``open(2)``, such as ``os.O_NOFOLLOW``.
        sha256: of a large file, checked before it is read into memory; None for no check.

    Raises:
        OSError: it cannot be opened or read.
        CheckpointError: it is not a regular file, larger than ``max_bytes``, or large and not the one expected.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path} cannot be read: it is not a regular file")
        if status.st_size > max_bytes:
            raise CheckpointError(f"{path} must have at most {max_bytes} bytes; got {status.st_size}")
        with open(descriptor, "rb", closefd=False) as file:
            if sha256 is not None and status.st_size > HASHED_FIRST_BYTES:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise _other_weights(path)
                file.seek(0)
            return file.read(status.st_size)  # the buffer is made as large as what is asked for
    finally:
        os.close(descriptor)


def _read(path: Path, max_bytes: int, sha256: str | None = None) -> bytes:
    try:
        return read_regular(path, max_bytes, sha256=sha256)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _check_signature(path: Path, content: bytes, digest: object) -> None:
    """Check that ``digest`` is the hash of the document's bytes, those of the digest itself left out."""
    text, view = str(digest).encode(), memoryview(content)
    place = content.find(text)
    unsigned = hashlib.sha256(view[: max(0, place)])
    unsigned.update(view[place + len(text) :] if place >= 0 else view)
    if unsigned.hexdigest() != digest:
        raise CheckpointError(f"{path} does not match its document_sha256: it was changed")


def _other_weights(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} does not match the sha256 in {DOCUMENT}: it is damaged or incomplete")


def _model(document: dict[str, Any], weights: bytes, folder: Path) -> SpectralModel:
    if hashlib.sha256(weights).hexdigest() != document.pop("weights_sha256"):
        raise _other_weights(folder / WEIGHTS)
    features = FeatureSpace(tuple(_feature(feature) for feature in document.pop("features")))
    terms = _named_apart(tuple(_make(Term, term) for term in document.pop("terms")), features)
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
        features=features,
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
    """Return the JSON form of a feature, with what older releases did not know only where it says something."""
    document = asdict(feature)
    if feature.reading == PLAIN:
        del document["reading"]
    else:
        for name in ("ranges", "last_year", "sentinels", "lenient"):
            if not document["reading"][name]:
                del document["reading"][name]
    return {name: value for name, value in document.items() if value or name not in ("values", "ordered")}


def _feature(document: dict[str, Any]) -> Feature:
    reading = reading_of(document["reading"]) if "reading" in document else PLAIN
    return replace(_make(Feature, {"values": [], "ordered": False, **document, "reading": PLAIN}), reading=reading)


def _named_apart(terms: tuple[Term, ...], features: FeatureSpace) -> tuple[Term, ...]:
    """Return terms of which none has another's name: before 0.2 a pair could be called like a column."""
    if len({term.name for term in terms}) == len(terms):
        return terms
    return tuple(replace(term, name=features.pair_name(*term.features)) for term in terms)


def _make(kind: type[Any], fields: dict[str, Any]) -> Any:
    """Make a dataclass from its JSON form, in which tuples are lists."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
