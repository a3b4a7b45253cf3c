"""Hand out whole files, each with an ETag by which a client need not fetch it twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request, Response

from eigenserve.app.wire.answers import Answer, answer_of


@dataclass(frozen=True)
class Download:
    """Hold a file's content and media type."""

    content: bytes
    media_type: str
    #: The quoted sha256 of the content, a strong validator (RFC 9110). Made with the file, off the event loop.
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.content).hexdigest()}"')


def download_response(
    request: Request, download: Download, headers: Mapping[str, str] | None = None, source: object = None
) -> Response:
    """Return the file, or 304 where ``If-None-Match`` shows that the client has it.

    Its content is there once for all clients; ``source`` is kept until this one has taken it.
    """
    # The client may keep it, but must ask each time: another model may have come under the same name.
    known = {"ETag": download.etag, "Cache-Control": "private, no-cache"}
    if _matches(",".join(request.headers.getlist("if-none-match")), download.etag):
        return Response(status_code=304, headers=known)
    response = answer_of([download.content], download.media_type, {**known, **(headers or {})})
    if isinstance(response, Answer):
        response.source = source
    return response


def _matches(header: str, etag: str) -> bool:
    """Return whether a list of entity tags has this one; weak ones are compared as strong ones (RFC 9110, 13.1.2)."""
    return any(part.strip().removeprefix("W/") in (etag, "*") for part in header.split(","))
