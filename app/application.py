"""Build the whole service as one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

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

    app = FastAPI(
        title="Eigenserve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
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
    app.add_middleware(ShortWay, routes=[route for router in routers for route in router.routes])
    app.add_middleware(KeyCheck, keys=keys, health_route=settings.health_route)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After", "Inference-Header-Content-Length"],
        )
    app.add_middleware(Observer, service=service, access_log=access_log, tracing=tracing)
    if settings.path_prefix:
        app.add_middleware(PathPrefix, prefix=settings.path_prefix)
    return app


async def _start_grpc(app: FastAPI, settings: Settings) -> RpcServer | None:
    if settings.grpc_port is None:
        return None
    # Imported late: it is an extra, `grpc`.
    from eigenserve.app.rpc.server import RpcServer

    server = RpcServer(app, settings)
    await server.start()
    return server
