"""PathPrefix: the service under a path of a proxy, whether or not the proxy takes the path away."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """ASGI middleware that takes a prefix from the paths that have it, before anything else looks at them."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == self.prefix or path.startswith(self.prefix + "/"):
                scope["path"] = path[len(self.prefix) :] or "/"
                raw, prefix = scope.get("raw_path") or b"", self.prefix.encode()
                if raw.startswith(prefix):
                    scope["raw_path"] = raw[len(prefix) :] or b"/"
        await self.app(scope, receive, send)
