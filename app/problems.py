"""Turn every error into the answer that one table gives for it (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from eigenserve.app.request_state import state_of
from eigenserve.model.checkpoints.local_store import ModelNotFoundError
from eigenserve.model.rows.errors import InvalidRowsError

#: Faults that an answer names, and characters of each: an answer must not grow with what was sent.
MAX_FAULTS = 20
MAX_CHARACTERS = 400
#: Statuses that no RFC names. 499 is nginx's; only the log and the metrics see it.
_TITLES = {499: "Client Closed Request"}
MEDIA_TYPE = "application/problem+json"
#: pydantic's type of a fault -> what the value must be.
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
Location = tuple[int | str, ...]
T = TypeVar("T")


@dataclass
class ProblemError(Exception):
    """Answer a request with an error.

    Attributes:
        status: the HTTP status.
        detail: what is wrong and what to do, for a person.
        errors: (loc, msg) of each fault in a body.
        headers: further headers of the answer.
    """

    status: int
    detail: str
    errors: Sequence[tuple[Location, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail


def invalid(loc: Location, msg: str) -> ProblemError:
    """Reject a body with one fault: 422."""
    return invalid_all([(loc, msg)])


def invalid_all(errors: Sequence[tuple[Location, str]], total: int | None = None) -> ProblemError:
    """Reject a body with faults: 422, the first of them as the detail."""
    count = len(errors) if total is None else total
    errors = [(tuple(map(_short, loc[:MAX_FAULTS])), _short(msg)) for loc, msg in errors[:MAX_FAULTS]]
    loc, msg = errors[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    more = f" (and {count - 1} more)" if count > 1 else ""
    return ProblemError(422, f"{where}: {msg}{more}" if where else f"{msg}{more}", errors)


def _short(part: T) -> T | str:
    """Shorten a text to what an answer may have, in characters that UTF-8 has."""
    if not isinstance(part, str):
        return part
    text = part if len(part) <= MAX_CHARACTERS else part[: MAX_CHARACTERS - 3] + "..."
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def fault_words(fault: Mapping[str, Any]) -> str:
    """Say what a value must be, beginning with "must", from one of ``ValidationError.errors()``."""
    if fault["type"] in _KINDS:
        return f"must be {_KINDS[fault['type']]}"
    if fault["type"] == "missing":
        return "must be given"
    return re.sub(r"^\w+ should ", "must ", str(fault["msg"])).removeprefix("Value error, ")


def alternatives(words: list[str]) -> str:
    """Join what a value may be: "must be a text" and "must be a number" to "must be a text or a number"."""
    first, *others = dict.fromkeys(words)
    return " or ".join([first, *(each.removeprefix("must be ") for each in others)])


def problem_body(problem: ProblemError, request_id: str | None) -> bytes:
    """Write the JSON of a problem. ``error`` repeats the detail: inference clients look for a text of that name."""
    detail = _short(problem.detail)
    document: dict[str, Any] = {
        "title": _TITLES.get(problem.status) or HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail,
        "request_id": request_id,
        "error": detail,
    }
    if problem.errors:
        document["errors"] = [{"loc": loc, "msg": msg} for loc, msg in problem.errors]
    return orjson.dumps(document)


def problem_response(problem: ProblemError, path: str, request_id: str | None) -> Response:
    """Write a problem as a response, with the media type and status that the path's protocol has for it."""
    plain = path.startswith(("/v1/", "/v2/")) or path in ("/v1", "/v2")
    # KServe's clients read errors only from application/json.
    media_type = "application/json" if plain else MEDIA_TYPE
    if problem.status == 422 and path.startswith("/v2"):
        # The Open Inference Protocol knows only 400 for a bad request.
        problem = ProblemError(400, problem.detail, problem.errors, problem.headers)
    return Response(
        problem_body(problem, request_id),
        problem.status,
        headers=dict(problem.headers),
        media_type=media_type,
    )


def _of_http(error: HTTPException, request: Request) -> ProblemError:
    headers = error.headers or {}
    path = request.scope["path"]
    if error.status_code == 404:
        return ProblemError(404, f"path {path} does not exist; the paths are listed at /docs", headers=headers)
    if error.status_code == 405:
        # A route keeps its methods in a set, whose order is another in every process.
        methods = {*headers.get("Allow", "").split(", ")}
        allowed = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
        detail = f"{path} answers to {allowed}; got {request.method}"
        return ProblemError(405, detail, headers={**headers, "Allow": allowed})
    return ProblemError(error.status_code, str(error.detail), headers=headers)


#: Every kind of error that a request can end in, and the problem it becomes. What is not here is a 500.
PROBLEMS: dict[type[Exception], Any] = {
    ProblemError: lambda error, request: error,
    InvalidRowsError: lambda error, request: invalid_all(error.errors, error.total),
    RequestValidationError: lambda error, request: invalid_all([(e["loc"], e["msg"]) for e in error.errors()]),
    ModelNotFoundError: lambda error, request: ProblemError(404, str(error)),
    HTTPException: _of_http,
}


async def problem_of(request: Request, error: Exception) -> Response:
    """Map an error of the table to the answer of its request."""
    kind = next(kind for kind in type(error).__mro__ if kind in PROBLEMS)
    problem = PROBLEMS[kind](error, request)
    return problem_response(problem, request.scope["path"], state_of(request.scope).get("request_id"))


def add_handlers(app: FastAPI) -> None:
    """Let ``app`` answer every error of the table with its problem."""
    for kind in PROBLEMS:
        app.add_exception_handler(kind, problem_of)
