"""Check what a body has apart from its rows against the schema that documents it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from eigenserve.app.problems import ProblemError, alternatives, fault_words, invalid, invalid_all
from eigenserve.app.wire.describe import describe
from eigenserve.model.rows.errors import Location

#: Values under one key of an envelope, rows aside: a fault in each is a fault to report.
MAX_OPTIONS = 10_000

S = TypeVar("S", bound=BaseModel)


def check_envelope(document: Any, schema: type[S]) -> S:
    """Check a parsed body against the schema that documents it; its rows are checked when they are encoded.

    Raises:
        ProblemError: 422 naming each fault.
    """
    if not isinstance(document, dict):
        raise invalid(("body",), f'must be an object such as {{"instances": [...]}}; got {describe(document)}')
    for key, value in document.items():
        if key != "instances" and isinstance(value, list | dict | str) and len(value) > MAX_OPTIONS:
            raise invalid((key,), f"must have at most {MAX_OPTIONS} values; got {len(value)}")
    if len(document) > MAX_OPTIONS:
        raise invalid(("body",), f"must have at most {MAX_OPTIONS} keys; got {len(document)}")
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise _invalid_envelope(document, schema, error) from None


def _invalid_envelope(document: Mapping[str, Any], schema: type[BaseModel], error: ValidationError) -> ProblemError:
    """Return the faults that pydantic names, in the words of the other errors."""
    found: dict[Location, tuple[list[str], str]] = {}
    for fault in error.errors(include_url=False, include_context=False)[:MAX_OPTIONS]:
        words, got, place = fault_words(fault), f"; got {describe(fault['input'])}", _place(document, fault["loc"])
        if fault["type"] == "missing":
            got, place = "", (*_place(document, fault["loc"][:-1]), fault["loc"][-1])
        elif fault["type"] == "extra_forbidden":
            keys = _model_of(schema, fault["loc"]).model_fields
            words, got = f"unknown key; the keys are {', '.join(sorted(keys))}", ""
        found.setdefault(place, ([], got))[0].append(words)
    # Of a value that may be one of several types, what is wrong within it says more than that it is not another.
    outer = {place[:i] for place in found for i in range(len(place))}
    inner = [(place, alternatives(words) + got) for place, (words, got) in found.items() if place not in outer]
    return invalid_all(inner)


def _model_of(schema: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    """Return the model that a location of pydantic's names last: it has the names of a union's types in it."""
    waiting: list[Any] = [field.annotation for field in schema.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ in loc:
            return kind
        waiting += get_args(kind)
    return schema


def _place(document: Any, loc: Sequence[int | str]) -> Location:
    """Return the part of pydantic's location that is in the document, without the names of a union's types."""
    place: list[int | str] = []
    for part in loc:
        known = isinstance(document, dict) and part in document
        if known or (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            document = document[part]
            place.append(part)
    return tuple(place)
