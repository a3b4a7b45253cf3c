"""Answer the service's own endpoints: predictions, explanations, models, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from eigenserve.app.api.models import model_card, model_summary
from eigenserve.app.api.openapi import download, json_body, problems
from eigenserve.app.api.schemas import predictions as schemas
from eigenserve.app.api.schemas.explanations import ExplainRequest, ExplainResponse
from eigenserve.app.engine.onnx_files import MEDIA_TYPE as ONNX
from eigenserve.app.engine.onnx_files import Precision
from eigenserve.app.engine.service import Service, service_of
from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ModelRegistry, ServedModel, not_ready
from eigenserve.app.wire.answers import explain_answer, json_response, predict_answer
from eigenserve.app.wire.bodies import parse_json
from eigenserve.app.wire.downloads import Download, download_response
from eigenserve.app.wire.requests import EXPLAIN_KEYS, PREDICT_KEYS, Asked, read_request
from eigenserve.app.wire.tables import (
    ARROW,
    CSV,
    JSON,
    accepted,
    explained_columns,
    interval_columns,
    predicted_columns,
    read_table,
    write_table,
)
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray

router = APIRouter()

HTML = "text/html"
#: A report has its scripts and styles in it and asks no host for anything. In a sandbox it is not a page of this
#: server's, either: what a store's reports do cannot reach the API with the reader's credentials.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)


@router.post(
    "/predict",
    response_model=schemas.PredictResponse,
    responses=problems(404, 406, 408, 413, 415, 422, 503, 504),
    openapi_extra=json_body(schemas.PredictRequest, CSV, ARROW),
    summary="Predict rows",
    tags=["predictions"],
)
async def predict(request: Request) -> Response:
    """Answer every row, or say what is wrong with each bad one."""
    service = service_of(request)
    body, given = await service.read(request, JSON, CSV, ARROW)
    wanted = accepted(request, given)

    def answer(asked: Asked, scores: FloatArray) -> bytes:
        if wanted == JSON:
            return predict_answer(asked, scores)
        columns = {**predicted_columns(asked.served, scores), **interval_columns(asked, scores)}
        return write_table(columns, wanted, asked.served)

    read = _reader(service, request, body, given, PREDICT_KEYS)
    return Response(await service.predict(request, body, read, answer), media_type=wanted)


@router.post(
    "/explain",
    response_model=ExplainResponse,
    responses=problems(404, 406, 408, 413, 415, 422, 503, 504),
    openapi_extra=json_body(ExplainRequest, CSV, ARROW),
    summary="Explain rows",
    tags=["predictions"],
)
async def explain(request: Request) -> Response:
    """Decompose every row's score: baseline + contributions = score."""
    service = service_of(request)
    body, given = await service.read(request, JSON, CSV, ARROW)
    wanted = accepted(request, given)

    def answer(served: ServedModel, explanation: Explanation, scores: FloatArray, more: list[dict[str, Any]]) -> bytes:
        if wanted == JSON:
            return explain_answer(served, explanation, scores, more)
        return write_table(explained_columns(served, explanation, scores), wanted, served)

    reader = _reader(service, request, body, given, EXPLAIN_KEYS)

    def read() -> Asked:
        asked = reader()
        if asked.include.names and wanted != JSON:
            raise ProblemError(406, f'"include" requires JSON; got Accept: {wanted}; accept {JSON}')
        return asked

    return Response(await service.explain(request, body, read, answer), media_type=wanted)


@router.get(
    "/models",
    response_model=schemas.ModelList,
    responses=problems(),
    summary="List the models",
    tags=["models"],
)
async def models(request: Request) -> Response:
    """List every served model, by its default version."""
    registry = service_of(request).registry
    newest = [versions[max(versions)] for versions in registry.served.values()]
    return json_response({"models": [model_summary(served, registry) for served in newest]})


@router.get(
    "/models/{name}",
    response_model=schemas.ModelCard,
    responses=problems(404, 503),
    summary="Show a model",
    tags=["models"],
)
async def model(request: Request, name: str) -> Response:
    """Describe the newest version's features, metrics and structure."""
    registry = service_of(request).registry
    return json_response(model_card(registry.find(name), registry))


@router.get(
    "/models/{name}/versions/{version}",
    response_model=schemas.ModelCard,
    responses=problems(404, 503),
    summary="Show a version of a model",
    tags=["models"],
)
async def model_version(request: Request, name: str, version: str) -> Response:
    """Describe one version's features, metrics and structure."""
    registry = service_of(request).registry
    return json_response(model_card(registry.find(name, version), registry))


@router.get(
    "/models/{name}/versions/{version}/model.onnx",
    response_class=Response,
    responses={**download(ONNX, "The file"), **problems(404, 422, 500, 501, 503, 504)},
    summary="Get a version of a model as an ONNX file",
    tags=["models"],
)
async def model_onnx(
    request: Request,
    name: str,
    version: str,
    explain: Annotated[bool, Query(description="With explanations.")] = False,
    precision: Annotated[Precision, Query(description="Of the matrices and of what comes out.")] = "float64",
) -> Response:
    """Export the model: raw features in, predictions out, in standard operators; checked by onnxruntime."""
    service = service_of(request)
    served = service.registry.find(name, version)
    made = await service.onnx_files.get(served, explain, precision)
    names = {"Content-Disposition": f'attachment; filename="{served.name}-{served.version}.onnx"'}
    return download_response(request, made, names)


@router.get(
    "/models/{name}/versions/{version}/report",
    response_class=Response,
    responses={**download(HTML, "The page"), **problems(404, 503)},
    summary="Read the report of a version of a model",
    tags=["models"],
)
async def model_report(request: Request, name: str, version: str) -> Response:
    """Show what training found: metrics, effects and settings, on one self-contained page."""
    registry = service_of(request).registry
    served = registry.find(name, version)
    # Read each time: the curvature of a model may be added to its report later.
    page = await asyncio.to_thread(_report, registry, served)
    if page is None:
        raise ProblemError(404, f"version {served.version} of model {served.name!r} has no report")
    return download_response(request, page, {"Content-Security-Policy": REPORT_POLICY})


@router.get("/livez", response_model=schemas.Alive, summary="Is the process alive?", tags=["health"])
async def livez() -> Response:
    """Answer 200, always: a process that cannot answer this should be restarted."""
    return json_response({"status": "alive"})


@router.get(
    "/readyz",
    response_model=schemas.Ready,
    responses={503: problems(503)[503]},
    summary="Can it predict?",
    tags=["health"],
)
async def readyz(request: Request) -> Response:
    """Answer 200 when models are loaded and kernels compiled; 503 before, and during shutdown."""
    service = service_of(request)
    if service.failure is not None:
        raise ProblemError(503, f"the models cannot be served: {service.failure}", headers={"Retry-After": "10"})
    if service.draining:
        raise ProblemError(503, "the server is shutting down", headers={"Retry-After": "1"})
    if not service.ready:
        raise not_ready()
    return json_response({"status": "ready", "models": list(service.registry.served)})


@router.get("/metrics", summary="Metrics for Prometheus", tags=["health"], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Write counters and histograms in Prometheus' text format."""
    return Response(service_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _reader(
    service: Service, request: Request, body: bytes, media_type: str, keys: frozenset[str]
) -> Callable[[], Asked]:
    """Return a reader of a body of this media type, to be called once there is a thread for it."""
    registry, max_rows = service.registry, service.settings.max_rows
    if media_type == JSON:
        return lambda: read_request(parse_json(body), keys, registry, max_rows)
    return lambda: read_table(body, media_type, request.query_params, registry, max_rows)


def _report(registry: ModelRegistry, served: ServedModel) -> Download | None:
    content = registry.store.report(served.name, served.version)
    return None if content is None else Download(content, HTML)
