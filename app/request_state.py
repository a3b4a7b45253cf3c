"""RequestState: what is noted of a request while it is answered, in its scope."""

from __future__ import annotations

from typing import Protocol, TypedDict, cast

from starlette.types import Scope


class Spans(Protocol):
    """Records the parts of a request's time."""

    def part(self, name: str, started: float, ended: float) -> None:
        """Add a part from ``started`` to ``ended`` (``time.monotonic``)."""


class RequestState(TypedDict, total=False):
    """The dictionary ``scope["state"]``.

    Attributes:
        arrived: when the first byte arrived (``time.monotonic``); set by the connection, or by the observer under
            another server.
        request_id: the client's own, or a random one; set by the observer.
        trace: where its parts are recorded; set by the observer if tracing is on.
    """

    arrived: float
    request_id: str
    trace: Spans


def state_of(scope: Scope) -> RequestState:
    """Return the state of a request, an empty one where its server has none."""
    return cast(RequestState, scope.setdefault("state", {}))
