"""Ask the service's own HTTP application, in the same process, what a gRPC call asks.

So a call goes through the same keys, limits, queue, metrics and log as a request, and gets the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import grpc
import orjson
from starlette.types import ASGIApp, Message, Scope

from eigenserve.app.request_state import RequestState, client_of, network_of
from eigenserve.app.rpc.arrivals import CallError

#: The status of an answer -> the code of a call. Others are UNKNOWN.
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
#: Metadata of a call that are headers of the request.
PASSED = frozenset({"authorization", "x-api-key", "x-request-id", "traceparent"})
#: Headers of the answer that are metadata of the call's.
RETURNED = frozenset({b"x-request-id", b"retry-after"})
#: Characters of a reason, at most: clients refuse calls whose metadata have more than 8 KB.
MAX_REASON = 1000

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Answer:
    """Hold the application's answer, and whose it is."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    client: str


async def ask(
    app: ASGIApp,
    context: Any,
    method: str,
    parts: Iterable[str],
    body: bytes = b"",
    headers: Headers | None = None,
    state: RequestState | None = None,
) -> Answer:
    """Send a request to the application, and return its answer unless that is an error.

    Args:
        app: the application.
        context: of the call.
        method: GET or POST.
        parts: of the path.
        body: of the request.
        headers: that belong to the body.
        state: of the request: how its body is read, and its answer written.

    Raises:
        CallError: the answer is an error.
    """
    answer = await request(app, context, method, parts, body, headers, state)
    if answer.status != 200:
        reason = str(orjson.loads(answer.body)["error"])
        if len(reason) > MAX_REASON:
            reason = f"{reason[:MAX_REASON]} ..."
        raise CallError(CODES.get(answer.status, grpc.StatusCode.UNKNOWN), reason)
    return answer


async def request(
    app: ASGIApp,
    context: Any,
    method: str,
    parts: Iterable[str],
    body: bytes = b"",
    headers: Headers | None = None,
    state: RequestState | None = None,
) -> Answer:
    """Send a request to the application; the arguments are those of ``ask``."""
    path = "".join(f"/{quote(part, safe='')}" for part in parts)
    length = [(b"content-length", b"%d" % len(body))] if method == "POST" else []
    given = [(key.encode(), _bytes(value)) for key, value in context.invocation_metadata() or () if key in PASSED]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*length, *(headers or []), *given],
        "client": _client(context.peer()),
        "server": None,
        "state": {**(state or {})},
        "extensions": {},
    }
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status, returned, content = 500, [], []

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        # A client that leaves cancels the call, and with it the application's work.
        return await asyncio.Future()

    async def send(message: Message) -> None:
        nonlocal status, returned
        if message["type"] == "http.response.start":
            status, returned = message["status"], list(message["headers"])
        else:
            content.append(message.get("body", b""))

    await app(scope, receive, send)
    context.set_trailing_metadata([(k.decode(), v.decode("latin-1")) for k, v in returned if k in RETURNED])
    return Answer(status, dict(returned), b"".join(content), client_of(scope))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _client(peer: str) -> tuple[str, int] | None:
    """Return address and port of a peer such as ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") and port.isdecimal() else None


def address_of(peer: str) -> str:
    """Return the address of a peer; all that have none count as one client."""
    client = _client(peer)
    return "unknown" if client is None else network_of(client[0])
