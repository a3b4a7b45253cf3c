"""Observe every request: its id, its time, its line in the log, and its place in the metrics."""

from __future__ import annotations

import logging
import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eigenserve.app.engine.service import Service
from eigenserve.app.observability.logs import AccessLog
from eigenserve.app.observability.tracing import Trace, Tracing
from eigenserve.app.problems import ProblemError, problem_response

log = logging.getLogger("eigenserve.requests")

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
#: Ids need not be secret, only different. A system call for each would let go of the interpreter's lock, and wait for
#: it again behind the threads that compute.
_random = random.Random()
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


class Observation:
    """Hold the places where requests are noted: the metrics, the log and the traces, each where it is wanted."""

    def __init__(self, service: Service, access_log: AccessLog | None, tracing: Tracing | None) -> None:
        self.service = service
        self.access_log = access_log
        self.tracing = tracing

    def begin(self, scope: Scope) -> Observed:
        """Give a request its id, and its trace if there are any."""
        return Observed(self, scope)


class Observed:
    """Follow a request from its beginning to its end.

    Attributes:
        request_id: the client's own, or one of ours.
    """

    def __init__(self, observation: Observation, scope: Scope) -> None:
        self._observation, self._scope, self._started = observation, scope, time.perf_counter()
        self.request_id, self._trace_id = _ids(scope)
        self._trace: Trace | None = None
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id.decode()
        arrived = state.setdefault("arrived", time.monotonic())
        if observation.tracing is not None:
            self._trace = state["trace"] = observation.tracing.begin(scope, arrived)
            self._trace_id = self._trace.id

    def add_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Add what every answer has."""
        headers.append((b"x-request-id", self.request_id))
        headers.append(_NO_SNIFF)
        # Only files that a client may keep say otherwise.
        if not any(name == b"cache-control" for name, _ in headers):
            headers.append(_NO_STORE)
        if self._observation.service.draining:
            headers.append((b"connection", b"close"))

    def end(self, route: str, status: int) -> None:
        """Note how the request ended; 0 for a client that left before."""
        seconds, observation = time.perf_counter() - self._started, self._observation
        observation.service.metrics.request(route, self._scope["method"], status, seconds)
        if self._trace is not None:
            self._trace.end(route, status)
        if observation.access_log is not None:
            request_id = self._scope["state"]["request_id"]
            observation.access_log.write(self._scope, status, seconds, request_id, self._trace_id)


class Observer:
    """Observe requests as the outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, observation: Observation) -> None:
        self.app = app
        self.observation = observation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens in it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        observed, status = self.observation.begin(scope), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                observed.add_headers(message["headers"])
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            # A defect of ours: the cause goes to the log under the id that the client gets.
            log.exception("request failed", extra={"request_id": scope["state"]["request_id"]})
            if status:
                raise
            problem = ProblemError(500, "an internal error; the server's log has it under this request id")
            response = problem_response(problem, scope["path"], scope["state"]["request_id"])
            await response(scope, receive, send_with_headers)
        finally:
            observed.end(getattr(scope.get("route"), "path", "none"), status)


def _ids(scope: Scope) -> tuple[bytes, str | None]:
    """Return the id that the client gave, or one of ours, and the request's trace (W3C traceparent)."""
    request_id, trace_id = b"", None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value
        elif name == b"traceparent" and (match := _TRACE.fullmatch(value)):
            trace_id = match[1].decode()
    return request_id or b"%032x" % _random.getrandbits(128), trace_id
