"""Check API keys: who may predict, and who may also load and unload models."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from eigenserve.app.problems import ProblemError, problem_response

#: Open without a key: probes and scrapers have none, the documentation says how to send one, and the page asks for it.
_OPEN = frozenset(
    {
        "/",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/ping",
        "/health",
        "/v2/health/live",
        "/v2/health/ready",
    }
)
_OPEN_FOLDERS = ("/docs", "/page/")
_ADMIN_FOLDER = "/v2/repository/models/"


class Keys:
    """Hold the keys, and what each may do.

    A key comes as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``. Only hashes are kept, and all of them
    are compared, so that the time taken reveals nothing.
    """

    def __init__(self, predict: Iterable[str], admin: Iterable[str], health_route: str | None = None) -> None:
        self._open = _OPEN | {health_route}
        self._admin = [_hash(key.encode()) for key in admin]
        self._predict = [_hash(key.encode()) for key in predict] + self._admin

    def refusal(self, scope: Scope) -> ProblemError | None:
        """Say why a request's key may not do what it asks; None if it may, or without keys."""
        path = scope["path"]
        if not self._predict or path in self._open or path.startswith(_OPEN_FOLDERS):
            return None
        key = _key(Request(scope))
        if key is None or not _among(key, self._predict):
            detail = "a key is needed: send Authorization: Bearer KEY" if key is None else "the key is not known"
            return ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})
        if path.startswith(_ADMIN_FOLDER) and not _among(key, self._admin):
            return ProblemError(403, "this key may predict, but not load or unload models")
        return None


class KeyCheck:
    """Let a request through, as ASGI middleware, if its key may do what it asks."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        problem = self.keys.refusal(scope) if scope["type"] == "http" else None
        if problem is not None:
            response = problem_response(problem, scope["path"], scope["state"].get("request_id"))
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _key(request: Request) -> bytes | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    text = key.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")
    return None if not text else text.encode("latin-1", "replace")


def _among(key: bytes, hashes: list[bytes]) -> bool:
    digest = _hash(key)
    return sum(hmac.compare_digest(digest, known) for known in hashes) > 0


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
