"""ServiceError: an answer of the service that is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eigenserve.errors import EigenserveError


class ServiceError(EigenserveError):
    """Report a request that the service refused, or could not answer in time.

    Attributes:
        status: of HTTP.
        detail: what is wrong and what to do.
        errors: for a bad body, [{"loc": [...], "msg": ...}].
        request_id: under which the service's log has it; empty where there is none.
    """

    def __init__(self, status: int, detail: str, errors: Sequence[dict[str, Any]] = (), request_id: str = "") -> None:
        super().__init__(f"{status}: {detail}" + (f" (request {request_id})" if request_id else ""))
        self.status, self.detail, self.errors, self.request_id = status, detail, list(errors), request_id

    def moved(self, start: int) -> ServiceError:
        """Return the error of a request with some of the caller's rows, with locations among all of them.

        Args:
            start: which of the caller's rows was the request's first.
        """
        errors = [{**error, "loc": _location(error.get("loc", ()), start)} for error in self.errors]
        detail, before = self.detail, _written(self.errors[0].get("loc", ())) if errors else ""
        if before and detail.startswith(before):
            detail = _written(errors[0]["loc"]) + detail.removeprefix(before)
        return ServiceError(self.status, detail, errors, self.request_id)


def _location(loc: Sequence[Any], start: int) -> list[Any]:
    """Count rows from the caller's first, under one name in JSON and in tables."""
    if len(loc) > 1 and loc[0] in ("instances", "body") and isinstance(loc[1], int):
        return ["instances", start + loc[1], *loc[2:]]
    return ["instances"] if list(loc) == ["body"] else list(loc)


def _written(loc: Sequence[Any]) -> str:
    """Write a location as the service's details begin with it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
