"""Read a request's bytes within limits, and parse the JSON in them."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from fastapi import Request
from starlette.types import Scope

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.wire.describe import describe

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"

#: What a refused body may still send before its connection is closed. A client that may finish sending reads
#: the refusal; one that is cut off sees only a broken connection.
DRAINED_BYTES = 64 * 2**20
#: Decompressed in pieces of this size, so that a bomb is noticed after one piece too many.
PIECE_BYTES = 2**20
#: Members of a gzip body; programs that join files or flush by members make some hundreds.
MAX_MEMBERS = 10_000

_GZIP = 16 + zlib.MAX_WBITS


class BodyHeaders(NamedTuple):
    """Hold what a request's headers say of its body.

    Attributes:
        media_type: in lower case; "" where the client names none.
        charset: in lower case.
        encoding: the content encoding.
        length: the content length; 0 where it is not given.
        waits: the client sends the body only when the server answers 100 Continue.
        accept: of the answer; "" for anything.
    """

    media_type: str = ""
    charset: str = "utf-8"
    encoding: str = "identity"
    length: int = 0
    waits: bool = False
    accept: str = ""


def body_headers(scope: Scope) -> BodyHeaders:
    """Read the headers that concern the body, in one pass: this is done for every request."""
    media_type, charset, encoding, length, waits, accept = BodyHeaders()
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type, _, parameters = value.decode("latin-1").lower().partition(";")
            if "charset" in parameters:
                pairs = (part.partition("=") for part in parameters.split(";"))
                charset = {key.strip(): text.strip(' "') for key, _, text in pairs}.get("charset", charset)
        elif name == b"content-length":
            # The connection has checked that it is a number, of any number of zeros.
            length = int(value) if len(value) < 20 else sys.maxsize
        elif name == b"content-encoding":
            encoding = value.decode("latin-1").strip().lower()
        elif name == b"expect":
            waits = True
        elif name == b"accept" and not accept:
            accept = value.decode("latin-1")
    return BodyHeaders(media_type.strip(), charset, encoding, length, waits, accept)


def check_media_type(headers: BodyHeaders, *allowed: str) -> str:
    """Return the media type of a body, if it is one of ``allowed``; the first of them where the client names none.

    Raises:
        ProblemError: 415.
    """
    if not headers.media_type:
        return allowed[0]
    if headers.media_type not in allowed:
        raise ProblemError(415, f"the content type must be {' or '.join(allowed)}; got {describe(headers.media_type)}")
    if headers.charset not in ("utf-8", "utf8", "us-ascii"):
        raise ProblemError(415, f"the charset must be utf-8; got {describe(headers.charset)}")
    return headers.media_type


async def read_body(
    request: Request,
    headers: BodyHeaders,
    max_bytes: int,
    timeout_s: float,
    grow: Callable[[int], None],
    whole: bool = False,
) -> bytes:
    """Receive the body of a request as it was sent.

    Args:
        request: whose.
        headers: its.
        max_bytes, timeout_s: the limits.
        grow: called with the bytes that have arrived, before more are taken; it may raise.
        whole: all of it has arrived, and its length is as declared.

    Raises:
        ProblemError: 413 too large; 408 too slow; 415 unknown encoding; 422 ended early.
    """
    if headers.encoding not in ("identity", "gzip"):
        raise ProblemError(415, f"the content encoding must be gzip or identity; got {describe(headers.encoding)}")
    if headers.length > max_bytes and headers.waits:
        # The client waits for a go-ahead; without one it sends nothing, so the connection ends.
        raise _too_large(max_bytes, {"Connection": "close"})
    if whole and headers.length <= max_bytes:
        # It is there: nothing to wait for, and no timer to set.
        message = await request.receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            grow(len(message["body"]))
            return bytes(message["body"])
        raise ProblemError(422, "the connection was closed before the body was complete")
    chunks: list[bytes] = []
    total, more = 0, True
    # What is declared to be too large is dropped as it comes.
    is_large = headers.length > max_bytes
    try:
        async with asyncio.timeout(timeout_s):
            while more and total <= max_bytes + DRAINED_BYTES:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ProblemError(422, "the connection was closed before the body was complete")
                more = message.get("more_body", False)
                piece = message.get("body", b"")
                total += len(piece)
                is_large = is_large or total > max_bytes
                if is_large:
                    chunks.clear()
                else:
                    grow(total)
                    chunks.append(piece)
    except TimeoutError:
        closing = {"Connection": "close"}
        if is_large:
            raise _too_large(max_bytes, closing) from None
        raise ProblemError(
            408, f"the body must arrive within {timeout_s:g} seconds; got {total} bytes", headers=closing
        ) from None
    if is_large:
        raise _too_large(max_bytes, {"Connection": "close"} if more else {})
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


#: Compressed bytes that are given to zlib at once.
_STEP_BYTES = 16_384


def inflate(body: bytes, max_bytes: int, grow: Callable[[int], None] = lambda size: None) -> bytes:
    """Decompress gzip of one or several members (RFC 1952, 2.2).

    Args:
        body: the compressed bytes.
        max_bytes: most bytes of the result.
        grow: called with the bytes so far; it may raise.

    Raises:
        ProblemError: 413 too large; 422 not gzip, or ended early.
    """
    pieces: list[bytes] = []
    total, place, members = 0, 0, 0
    try:
        while True:
            stream = zlib.decompressobj(_GZIP)
            members += 1
            if members > MAX_MEMBERS:
                raise invalid(("body",), f"must be gzip of at most {MAX_MEMBERS} members")
            while not stream.eof:
                # A step at a time: what follows a member is copied once for each.
                step = stream.unconsumed_tail
                if not step:
                    step = body[place : place + _STEP_BYTES]
                    place += len(step)
                if not step:
                    raise invalid(("body",), "must be complete gzip; it ends too early")
                if piece := stream.decompress(step, PIECE_BYTES):
                    total += len(piece)
                    if total > max_bytes:
                        raise ProblemError(413, f"the body must be at most {max_bytes} bytes when decompressed")
                    grow(total)
                    pieces.append(piece)
            place -= len(stream.unused_data)
            # Zeros after the last member are padding, as of a tape.
            while (step := body[place : place + _STEP_BYTES]) and not step.strip(b"\0"):
                place += len(step)
            place += len(step) - len(step.lstrip(b"\0"))
            if place >= len(body):
                break
    except zlib.error as error:
        raise invalid(("body",), f"must be valid gzip; {error}") from None
    return b"".join(pieces)


def parse_json(text: bytes, body: bytes | None = None, start: int = 0) -> Any:
    """Parse a JSON text (RFC 8259: neither NaN nor Infinity). Of two equal keys the last one counts.

    Args:
        text: the text.
        body: what it is a part of, and ``start``, where; for the place of a fault.

    Raises:
        ProblemError: 422 naming line and column.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if body is None or (fault := not_utf8(body)):
            fault = not_utf8(text) if body is None else fault
            raise invalid(("body",), fault or f"must be valid JSON; {error}") from None
        place = max(0, start + error.pos)
        line, column = body.count(b"\n", 0, place) + 1, place - body.rfind(b"\n", 0, place)
        raise invalid(("body",), f"must be valid JSON; {error.msg}: line {line} column {column}") from None


def not_utf8(body: bytes) -> str | None:
    """Find where a text stops being UTF-8, if it does; the parser names its first byte."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        place = error.start - body.rfind(b"\n", 0, error.start)
        return f"must be UTF-8; byte {error.start} is not: line {line} byte {place}"
    return None


def _too_large(max_bytes: int, headers: dict[str, str]) -> ProblemError:
    return ProblemError(413, f"the body must be at most {max_bytes} bytes", headers=headers)
