"""Bodies: a request's bytes, read within limits, and the JSON in them."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import orjson
from fastapi import Request

from app.problems import ProblemError, invalid

#: What a refused body may still send before its connection is closed. A client that may finish sending reads
#: the refusal; one that is cut off sees only a broken connection.
DRAINED_BYTES = 64 * 2**20
#: Decompressed in pieces of this size, so that a bomb is noticed after one piece too many.
PIECE_BYTES = 2**20

_GZIP = 16 + zlib.MAX_WBITS


def check_media_type(request: Request, *allowed: str) -> str:
    """The media type of a request, if it is one of ``allowed``; the first of them where it names none.

    Raises:
        ProblemError: 415.
    """
    header = request.headers.get("content-type", "")
    found, *parameters = (part.strip().lower() for part in header.split(";"))
    if not found:
        return allowed[0]
    if found not in allowed:
        raise ProblemError(415, f"the content type must be {' or '.join(allowed)}; got {found}")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise ProblemError(415, f"the charset must be utf-8; got {value}")
    return found


async def read_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """The body of a request, decompressed.

    Raises:
        ProblemError: 413 too large, before or after decompression; 408 too slow; 415 unknown encoding;
            422 not what its encoding says, or ended early.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise ProblemError(415, f"the content encoding must be gzip or identity; got {encoding}")
    length = int(request.headers.get("content-length", 0))
    if length > max_bytes and "expect" in request.headers:
        # The client waits for a go-ahead; without one it sends nothing, so the connection ends.
        raise _too_large(max_bytes, {"Connection": "close"})
    chunks: list[bytes] = []
    total, more = 0, True
    try:
        async with asyncio.timeout(timeout_s):
            while more and total <= max_bytes + DRAINED_BYTES:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ProblemError(422, "the connection was closed before the body was complete")
                more = message.get("more_body", False)
                piece = message.get("body", b"")
                total += len(piece)
                if total <= max_bytes:
                    chunks.append(piece)
                else:
                    chunks.clear()
    except TimeoutError:
        closing = {"Connection": "close"}
        if total > max_bytes:
            raise _too_large(max_bytes, closing) from None
        raise ProblemError(
            408, f"the body must arrive within {timeout_s:g} seconds; got {total} bytes", headers=closing
        ) from None
    if total > max_bytes:
        raise _too_large(max_bytes, {"Connection": "close"} if more else {})
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return _inflate(body, max_bytes) if encoding == "gzip" else body


def parse_json(body: bytes) -> Any:
    """The value of a JSON text (RFC 8259: neither NaN nor Infinity). Of two equal keys the last one counts.

    Raises:
        ProblemError: 422 naming line and column.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(("body",), f"must be valid JSON; {error}") from None


def _too_large(max_bytes: int, headers: dict[str, str]) -> ProblemError:
    return ProblemError(413, f"the body must be at most {max_bytes} bytes", headers=headers)


def _inflate(body: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    pieces, total, rest = [], 0, body
    try:
        while not stream.eof and (piece := stream.decompress(rest, PIECE_BYTES)):
            total += len(piece)
            if total > max_bytes:
                raise ProblemError(413, f"the body must be at most {max_bytes} bytes when decompressed")
            pieces.append(piece)
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise invalid(("body",), f"must be valid gzip; {error}") from None
    if not stream.eof:
        raise invalid(("body",), "must be complete gzip; it ends too early")
    return b"".join(pieces)
