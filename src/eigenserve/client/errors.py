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
