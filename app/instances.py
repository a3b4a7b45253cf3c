"""The contract's requests: {"instances": [...]} and its companions, checked and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.problems import ProblemError, invalid, invalid_all
from app.registry import ModelRegistry, ServedModel
from model.explain import METHODS
from model.features import FloatArray, InvalidRowsError, Location
from model.spectral import ClassLabel

PREDICT_KEYS = frozenset({"instances", "model", "version"})
EXPLAIN_KEYS = PREDICT_KEYS | {"method", "target", "include"}


class Asked(NamedTuple):
    """What a request asks for: rows of which model, and for an explanation how.

    Attributes:
        served: the model.
        columns: its encoded rows.
        method, target: as for ``SpectralModel.explain``.
    """

    served: ServedModel
    columns: FloatArray
    method: str = "eigenvector"
    target: ClassLabel | None = None


def read_request(document: Any, keys: frozenset[str], registry: ModelRegistry, max_rows: int) -> Asked:
    """The parsed body of /predict or /explain.

    Raises:
        ProblemError: 422 naming each fault; 404 unknown model or version; 413 too many rows.
    """
    if not isinstance(document, dict):
        raise invalid(("body",), f'must be an object such as {{"instances": [...]}}; got {_kind(document)}')
    errors: list[tuple[Location, str]] = [
        ((key,), f"unknown key; the keys are {', '.join(sorted(keys))}")
        for key in document
        if key not in keys
    ]
    if "instances" not in document:
        errors.append((("instances",), "must be given: a list of rows"))
    for key, kinds, rule in (
        ("model", (str,), "must be a model's name, as text"),
        ("version", (str, int), 'must be a version, as "1" or 1'),
        ("method", (str,), f"must be one of {', '.join(METHODS)}"),
        ("include", (list,), "must be a list"),
    ):
        value = document.get(key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            errors.append(((key,), f"{rule}; got {_kind(value)}"))
    if errors:
        raise invalid_all(errors)
    served = registry.find(document.get("model"), document.get("version"))
    method = document.get("method") or "eigenvector"
    if method not in METHODS:
        raise invalid(("method",), f"must be one of {', '.join(METHODS)}; got {method!r}")
    if document.get("include"):
        raise invalid(("include", 0), f"nothing can be included yet; got {_kind(document['include'][0])}")
    target = read_target(served, document.get("target"))
    columns = encode(served, document["instances"], max_rows)
    return Asked(served, columns, method, target)


def encode(
    served: ServedModel, rows: Any, max_rows: int, loc: tuple[int | str, ...] = ("instances",)
) -> FloatArray:
    """A request's rows as columns; ``loc`` is where in the body they are.

    Raises:
        ProblemError: 422 naming each fault; 413 too many rows.
    """
    if not isinstance(rows, list):
        raise invalid(loc, f"must be a list of rows; got {_kind(rows)}")
    if not rows:
        raise invalid(loc, "must have at least one row; got an empty list")
    check_rows(len(rows), max_rows)
    try:
        return served.model.features.encode(rows)
    except InvalidRowsError as error:
        raise _located(error, loc) from None


def check_rows(count: int, max_rows: int) -> None:
    """Refuse a request of more rows than one may have.

    Raises:
        ProblemError: 413.
    """
    if count > max_rows:
        raise ProblemError(
            413, f"a request must have at most {max_rows} rows; got {count}: send several requests"
        )


def read_target(served: ServedModel, target: Any) -> ClassLabel | None:
    """The class whose score to explain, given as itself or as its text.

    Raises:
        ProblemError: 422.
    """
    if target is None:
        return None
    classes = served.model.classes
    if not classes:
        raise invalid(("target",), f"must be left out: {served.name} is a {served.model.task} model")
    for label, key in zip(classes, served.class_keys, strict=True):
        # 1 == True in Python, but not in JSON.
        if target == key or (target == label and isinstance(target, bool) == isinstance(label, bool)):
            return label
    raise invalid(("target",), f"must be one of {', '.join(map(repr, classes))}; got {_kind(target)}")


def _located(error: InvalidRowsError, loc: Sequence[int | str]) -> ProblemError:
    return invalid_all([((*loc, *inner), msg) for inner, msg in error.errors], error.total)


def _kind(value: object) -> str:
    """A received value in the words of JSON."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
