"""Check what a body has apart from its rows against the schema that documents it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from eigenserve.app.problems import ProblemError, invalid, invalid_all
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
    faults: dict[Location, list[str]] = {}
    for fault in error.errors(include_url=False, include_context=False)[:MAX_OPTIONS]:
        msg = re.sub(r"^\w+ should ", "must ", fault["msg"]).replace("valid string", "text")
        msg += f"; got {describe(fault['input'])}"
        if fault["type"] == "missing":
            msg = "must be given"
        elif fault["type"] == "extra_forbidden":
            msg = f"unknown key; the keys are {', '.join(sorted(schema.model_fields))}"
        place = fault["loc"] if fault["type"] == "missing" else _place(document, fault["loc"])
        faults.setdefault(place, []).append(msg)
    return invalid_all([(place, " or ".join(msgs)) for place, msgs in faults.items()])


def _place(document: Any, loc: Sequence[int | str]) -> Location:
    """Return the part of pydantic's location that is in the document: behind it come the names of a union's types."""
    place: list[int | str] = []
    for part in loc:
        known = isinstance(document, dict) and part in document
        if not known and not (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            break
        document = document[part]
        place.append(part)
    return tuple(place)
