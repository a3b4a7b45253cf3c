"""RequestState: what is noted of a request while it is answered, in its scope."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from ipaddress import ip_address, ip_network
from typing import Any, Protocol, TypedDict, cast

from starlette.types import Scope

#: A body -> the document of a request and the binary data that follows it.
Decode = Callable[[bytes], tuple[dict[str, Any], bytes]]


class Spans(Protocol):
    """Records the parts of a request's time."""

    def part(self, name: str, started: float, ended: float) -> None:
        """Add a part from ``started`` to ``ended`` (``time.monotonic``)."""


class Quota(Protocol):
    """Accounts for what is computed for the owner of a key."""

    def charge(self, rows: int) -> None:
        """Account for rows."""

    def heavy(self) -> AbstractContextManager[None]:
        """Hold a place for heavy work."""
        ...


class RequestState(TypedDict, total=False):
    """Type the dictionary ``scope["state"]``.

    Attributes:
        arrived: when the first byte arrived (``time.monotonic``); set by the connection, or by the observer under
            another server.
        request_id: the client's own, or a random one; set by the observer.
        key_name, key_label: whose key it has, for logs and for metrics; set by the check of keys if there are any.
        rows: how many it has; set when they are computed.
        quota: what is accounted to that owner; set with the name.
        whole: all of its body has arrived; set by the connection.
        trace: where its parts are recorded; set by the observer if tracing is on.
        decode, encoding: how its body is read and its answer is written (``wire.infer_answers.Encoding``); set where
            they are gRPC messages.
    """

    arrived: float
    request_id: str
    key_name: str
    key_label: str
    rows: int
    quota: Quota
    whole: bool
    trace: Spans
    decode: Decode
    encoding: Any


def client_of(scope: Scope) -> str:
    """Return whose request it is: the name of its key, else its address."""
    name: str | None = scope.get("state", {}).get("key_name")
    if name is not None:
        return f"key {name}"
    client = scope.get("client")
    return network_of(str(client[0])) if client else "unknown"


def network_of(address: str) -> str:
    """Return what one client has: an IPv4 address, or the first half of an IPv6 address, which is a network's."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped) if mapped is not None else str(ip_network((parsed, 64), strict=False))


def state_of(scope: Scope) -> RequestState:
    """Return the state of a request, an empty one where its server has none."""
    return cast(RequestState, scope.setdefault("state", {}))
