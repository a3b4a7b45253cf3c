"""Build the whole service as one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from eigenserve import __version__
from eigenserve.app.api import counterfactuals, drift, kserve_v1, mlflow, open_inference, predictions, reasons
from eigenserve.app.api.mlflow import add_platform_routes
from eigenserve.app.api.openapi import add_documentation
from eigenserve.app.engine.service import Service
from eigenserve.app.keys.sources import Keys
from eigenserve.app.middleware.api_keys import KeyCheck
from eigenserve.app.middleware.direct_routes import ShortWay
from eigenserve.app.middleware.observer import Observer
from eigenserve.app.middleware.path_prefix import PathPrefix
from eigenserve.app.observability.logs import AccessLog
from eigenserve.app.observability.tracing import Tracing, tracing_from_environment
from eigenserve.app.page import add_page
from eigenserve.app.problems import add_handlers
from eigenserve.app.settings import Settings

if TYPE_CHECKING:
    from eigenserve.app.rpc.server import RpcServer

DESCRIPTION = """Predictions that are eigenvalues, each explained exactly by its eigenvector.

Every error is `application/problem+json` (RFC 9457). Every answer has an `X-Request-ID`, the client's own if
it sent one.
"""


class Application(FastAPI):
    """Stand the service's own middleware around FastAPI's layers, through which requests for fixed paths need not go.

    Attributes:
        outer: all of it.
    """

    outer: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the lifespan."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        scope["app"] = self
        await self.outer(scope, receive, send)

    async def inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what FastAPI does."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None, tracing: Tracing | None = None) -> FastAPI:
    """Build the service; its models are loaded when it starts.

    Args:
        settings: by default those of the environment.
        tracing: where traces go; by default what the variables ``OTEL_*`` say.
    """
    settings = settings or Settings()
    tracing = tracing or tracing_from_environment()
    service = Service(settings)
    keys = Keys(settings)
    access_log = AccessLog(as_json=settings.log_format == "json") if settings.access_log else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        keys.start()
        await service.start()
        calls = await _start_grpc(app, settings)
        yield
        if calls is not None:
            await calls.stop()
        keys.stop()
        await service.stop()
        if access_log is not None:
            access_log.flush()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = Application(
        title="Eigenserve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.keys = keys
    modules = (predictions, drift, counterfactuals, reasons, kserve_v1, open_inference, mlflow)
    routers = [module.router for module in modules]
    for router in routers:
        app.include_router(router)
    add_platform_routes(app, settings.health_route, settings.predict_route)
    add_documentation(app, service.registry, settings.path_prefix)
    add_page(app, settings.page)
    add_handlers(app)
    outer: ASGIApp = ShortWay(app.inner, [route for router in routers for route in router.routes])
    outer = KeyCheck(outer, keys, settings.health_route)
    if settings.cors_origins:
        outer = CORSMiddleware(
            outer,
            allow_origins=sorted(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After", "Inference-Header-Content-Length"],
        )
    outer = Observer(outer, service, access_log, tracing)
    app.outer = PathPrefix(outer, settings.path_prefix) if settings.path_prefix else outer
    return app


async def _start_grpc(app: FastAPI, settings: Settings) -> RpcServer | None:
    if settings.grpc_port is None:
        return None
    # Imported late: it is an extra, `grpc`.
    from eigenserve.app.rpc.server import RpcServer

    server = RpcServer(app, settings, app.state.service.memory)
    await server.start()
    return server
