"""Bound what a client may send or leave unsent on a connection, around uvicorn's HTTP protocol."""

from __future__ import annotations

import asyncio
import time

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from eigenserve.app.problems import MEDIA_TYPE, ProblemError, problem_body

#: Request line and headers together; the usual bound of HTTP servers is 8 to 64 KB.
MAX_HEADER_BYTES = 65536
#: Bytes of a body taken before the endpoint has read them. uvicorn stops the client after 64 KB, which
#: for a body of megabytes means a pause and a turn of the event loop for every 64 KB.
BODY_BUFFER_BYTES = 2**20
#: From the opening of a connection, or the first byte of a further request, to the end of its headers.
HEADER_TIMEOUT_S = 20.0


class BoundedConfig(uvicorn.Config):
    """Extend uvicorn's configuration by this service's bounds.

    Attributes:
        max_connections: how many may be open.
    """

    max_connections = 16384


class BoundedProtocol(HttpToolsProtocol):
    """Refuse headers that are too large, too slow or not HTTP, and connections beyond the most."""

    config: BoundedConfig
    _header_bytes = 0
    _late: asyncio.TimerHandle | None = None
    _refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room for it."""
        super().connection_made(transport)
        if len(self.connections) > self.config.max_connections:
            transport.abort()
            return
        self._limit_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        self._in_time()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a request's headers."""
        super().on_message_begin()
        self.scope["state"]["arrived"] = time.monotonic()
        self._header_bytes = 0
        self._limit_time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer."""
        super().on_headers_complete()
        self._in_time()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > BODY_BUFFER_BYTES:
            self.flow.pause_reading()
        # Waking the endpoint for every packet of a large body would cost more than reading it.
        if len(cycle.body) > BODY_BUFFER_BYTES // 2:
            cycle.message_event.set()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not an HTTP request, and close."""
        details = {
            400: "this is not a valid HTTP request",
            431: f"the request line and headers must be at most {MAX_HEADER_BYTES} bytes",
        }
        body = problem_body(ProblemError(self._refusal, details[self._refusal]), None)
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[self._refusal] + head.encode() + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refusal = 431
            # The parser turns this into the error that is answered by send_400_response.
            raise ValueError("headers too large")

    def _limit_time(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEADER_TIMEOUT_S, self._close_late)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        self.transport.close()
