"""Bound what a client may send or leave unsent on a connection, around uvicorn's HTTP protocol."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from eigenserve.app.problems import MEDIA_TYPE, ProblemError, problem_body

#: Request line and headers together; the usual bound of HTTP servers is 8 to 64 KB.
MAX_HEADER_BYTES = 65536
#: Each becomes several Python objects, whatever its length. Browsers behind a chain of proxies send some forty.
MAX_HEADERS = 200
#: Parsed at a time, and requests sent ahead that are kept parsed: each takes kilobytes, and may be sent as 18 bytes.
PIECE_BYTES, MAX_AHEAD = 4096, 8
#: Bytes of a body taken before the endpoint has read them. uvicorn stops the client after 64 KB, which
#: for a body of megabytes means a pause and a turn of the event loop for every 64 KB.
BODY_BUFFER_BYTES = 2**20
#: From the opening of a connection, or the first byte of a further request, to the end of its headers.
HEADER_TIMEOUT_S = 20.0
#: SO_LINGER: on, zero seconds.
_AT_ONCE = struct.pack("ii", 1, 0)


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
    _header_count = 0
    _has_headers = False
    #: Of what was received, what is not parsed yet, since requests that came before are not answered.
    _held = memoryview(b"")
    _is_resuming = False
    _stalled_since: float | None = None
    _stalled_bytes = 0
    _answered: RequestResponseCycle | None = None
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
        """Forget the timer, and the requests that were sent ahead, with the connection."""
        self._in_time()
        self.pipeline.clear()
        self._held = memoryview(b"")
        if self._answered is not None:
            # uvicorn marks only the newest one.
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, in pieces; no further while requests wait that were sent ahead."""
        # What is held is the end of what came before reading was paused; a socket may bring a last piece after it.
        self._held = memoryview(bytes(self._held) + data if self._held else data)
        self._parse_held()

    def _parse_held(self) -> None:
        while self._held and len(self.pipeline) < MAX_AHEAD and not self.transport.is_closing():
            piece, self._held = self._held[:PIECE_BYTES], self._held[PIECE_BYTES:]
            if not self._parse(piece):
                self._held = memoryview(b"")
        if self._held:
            self.flow.pause_reading()

    def _parse(self, data: memoryview) -> bool:
        """Parse a piece; False for what is not HTTP. An offer of another protocol is ignored (RFC 9110, 7.8)."""
        while True:
            try:
                self.parser.feed_data(data)
                return True
            except httptools.HttpParserUpgrade as upgrade:
                if self.scope["method"] == "CONNECT":
                    self._refuse()
                    return False
                # The parser takes what follows for the other protocol; it is the request's body.
                data = data[upgrade.args[0] :]
                self._parse_body()
            except httptools.HttpParserError:
                self._refuse()
                return False

    def _refuse(self) -> None:
        """Answer what is not HTTP, and close; not before what was asked in front of it is answered."""
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._answered
        if last is None or last.response_complete or last.more_body:
            self.send_400_response("")
        else:
            last.keep_alive = False
            self.flow.pause_reading()

    def _parse_body(self) -> None:
        """Go on with a parser that has seen the headers which say where the body ends, and no offer."""
        self.parser = httptools.HttpRequestParser(self)
        framing = (b"content-length", b"transfer-encoding")
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] in framing]
        if not self.cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        self._is_resuming = True
        try:
            self.parser.feed_data(b"%b / HTTP/1.1\r\n%b\r\n" % (self.scope["method"].encode(), b"".join(lines)))
        finally:
            self._is_resuming = False

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a request's headers."""
        if self._is_resuming:
            return
        # Only a request ends the wait for one: not an empty line, nor a body whose request is answered already.
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._has_headers = False
        self.scope["state"]["arrived"] = time.monotonic()
        self._header_bytes = self._header_count = 0
        self._limit_time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        if self._is_resuming:
            return
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come behind a body, are counted and dropped (RFC 9110, 6.5.1)."""
        self._count(len(name) + len(value), 1)
        if not self._has_headers and not self._is_resuming:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer."""
        self._has_headers = True
        if self._is_resuming:
            return
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle
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

    def on_message_complete(self) -> None:
        """Take the end of a body, unless the parser just leaves it to another protocol."""
        if not self.parser.should_upgrade():
            self.cycle.scope["state"]["whole"] = True
            super().on_message_complete()

    def resume_writing(self) -> None:
        """Note that the client takes its answer."""
        self._stalled_since = None
        super().resume_writing()

    def check_writing(self, timeout_s: float) -> None:
        """End the connection of a client that has taken nothing of its answer for too long.

        Closing would wait for it; what it has not taken is dropped.
        """
        size, now = self.transport.get_write_buffer_size(), time.monotonic()
        if not size:
            self._stalled_since = None
        elif self._stalled_since is None or (size < self._stalled_bytes and not self.flow.write_paused):
            self._stalled_since, self._stalled_bytes = now, size
        elif now - self._stalled_since > timeout_s:
            # Else the system would go on to send what it has, for minutes.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Go on with the next request. While some wait that were sent ahead, no more are read."""
        if self.pipeline:
            self._answered = self.pipeline[-1][0]
        super().on_response_complete()
        if self._late is not None:
            # A further request has begun to come, for which there is another limit of time.
            self._unset_keepalive_if_required()
        if self._held:
            self.loop.call_soon(self._parse_held)
        if self.pipeline or self._held:
            self.flow.pause_reading()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not an HTTP request, and close."""
        details = {
            400: "this is not a valid HTTP request",
            431: f"the request line and at most {MAX_HEADERS} headers must have at most {MAX_HEADER_BYTES} bytes",
        }
        body = problem_body(ProblemError(self._refusal, details[self._refusal]), None)
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[self._refusal] + head.encode() + body)
        self.transport.close()

    def _count(self, size: int, headers: int = 0) -> None:
        self._header_bytes += size
        self._header_count += headers
        if self._header_bytes > MAX_HEADER_BYTES or self._header_count > MAX_HEADERS:
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
        if self._answered is not None and not self._answered.response_complete:
            # The answer to an earlier request is awaited, and nothing is read meanwhile.
            self._limit_time()
            return
        self.transport.close()
