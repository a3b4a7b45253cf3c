"""Answer /models/NAME/drift: what came in lately, compared with training."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from eigenserve.app.api.openapi import problems
from eigenserve.app.engine.service import service_of
from eigenserve.app.problems import ProblemError
from eigenserve.app.wire.answers import json_response
from eigenserve.app.wire.schemas.drift import DriftResponse

router = APIRouter()


@router.get(
    "/models/{name}/drift",
    response_model=DriftResponse,
    responses=problems(404, 503),
    summary="Compare what was predicted lately with training",
    tags=["models"],
)
async def drift(
    request: Request, name: str, version: Annotated[str | None, Query(description="By default the newest.")] = None
) -> Response:
    """Compare features, scores and contributions, over all workers: the recent rows, and those of the day."""
    service = service_of(request)
    served = service.registry.find(name, version)
    if not service.drift.enabled:
        raise ProblemError(404, "drift is not watched: EIGENSERVE_DRIFT is false")
    reports = await asyncio.to_thread(service.drift.reports, served)
    if reports is None:
        raise ProblemError(
            404, f"version {served.version} of model {name!r} keeps no sketch of its training rows: fit it again"
        )
    return json_response(
        {
            "model": served.name,
            "version": str(served.version),
            "level": service.drift.level,
            "windows": {report.window: report.document() for report in reports},
        }
    )
