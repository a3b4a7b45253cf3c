"""Observe every request: its id, its time, its line in the log, and its place in the metrics."""

from __future__ import annotations

import logging
import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eigenserve.app.engine.service import Service
from eigenserve.app.observability.logs import AccessLog
from eigenserve.app.observability.tracing import Tracing
from eigenserve.app.problems import ProblemError, problem_response
from eigenserve.app.request_state import state_of

log = logging.getLogger("eigenserve.requests")

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
#: Ids need not be secret, only different. A system call for each would let go of the interpreter's lock, and wait for
#: it again behind the threads that compute.
_random = random.Random()
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


class Observer:
    """ASGI middleware around everything else: notes each request in the metrics, the log and the traces.

    Attributes:
        access_log, tracing: None for none.
    """

    def __init__(self, app: ASGIApp, service: Service, access_log: AccessLog | None, tracing: Tracing | None) -> None:
        self.app = app
        self.service = service
        self.access_log = access_log
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens in it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, trace = time.perf_counter(), 0, None
        request_id, trace_id = _ids(scope)
        state = state_of(scope)
        state["request_id"] = request_id.decode()
        arrived = state.setdefault("arrived", time.monotonic())
        if self.tracing is not None:
            trace = state["trace"] = self.tracing.begin(scope, arrived)
            trace_id = trace.id

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                headers.append((b"x-request-id", request_id))
                headers.append(_NO_SNIFF)
                # Only files that a client may keep say otherwise.
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                if self.service.draining:
                    headers.append((b"connection", b"close"))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            # A defect of ours: the cause goes to the log under the id that the client gets.
            log.exception("request failed", extra={"request_id": state["request_id"]})
            if status:
                raise
            problem = ProblemError(500, "an internal error; the server's log has it under this request id")
            await problem_response(problem, scope["path"], state["request_id"])(scope, receive, send_with_headers)
        finally:
            route, seconds = getattr(scope.get("route"), "path", "none"), time.perf_counter() - started
            # 0 for a client that left before.
            self.service.metrics.request(route, scope["method"], status, seconds)
            if (label := state.get("key_label")) is not None:
                self.service.metrics.of_key(label, status, state.get("rows", 0))
            if trace is not None:
                trace.end(route, status)
            if self.access_log is not None:
                self.access_log.write(scope, status, seconds, state["request_id"], trace_id)


def _ids(scope: Scope) -> tuple[bytes, str | None]:
    """Return the id that the client gave, or one of ours, and the request's trace (W3C traceparent)."""
    request_id, trace_id = b"", None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value
        elif name == b"traceparent" and (match := _TRACE.fullmatch(value)):
            trace_id = match[1].decode()
    return request_id or b"%032x" % _random.getrandbits(128), trace_id
