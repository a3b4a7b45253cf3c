"""Check keys: let a request through if the owner of its key may send it, and note who that is."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from eigenserve.app.keys.sources import Keys, Quota, key_of
from eigenserve.app.problems import ProblemError, problem_response
from eigenserve.app.request_state import state_of

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


class KeyCheck:
    """Check the key of a request, as ASGI middleware."""

    def __init__(self, app: ASGIApp, keys: Keys, health_route: str | None = None) -> None:
        self.app = app
        self.keys = keys
        self._open = _OPEN | {health_route}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not self._is_locked(path):
            await self.app(scope, receive, send)
            return
        state = state_of(scope)
        try:
            grant = await self.keys.grant(key_of(scope))
            state["key_name"], state["key_label"] = grant.name, grant.label
            self.keys.check(grant, path)
        except ProblemError as problem:
            await problem_response(problem, path, state.get("request_id"))(scope, receive, send)
            return
        state["quota"] = Quota(grant, self.keys.limits)
        await self.app(scope, receive, send)

    def _is_locked(self, path: str) -> bool:
        return self.keys.needed and path not in self._open and not path.startswith(_OPEN_FOLDERS)
