"""Answer the service's own endpoints: predictions, explanations, models, health, metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from eigenserve.app.api.models import model_card, model_summary
from eigenserve.app.api.openapi import download, json_body, problems
from eigenserve.app.engine.explain_call import ExplainCall
from eigenserve.app.engine.onnx_files import MEDIA_TYPE as ONNX
from eigenserve.app.engine.onnx_files import Precision
from eigenserve.app.engine.predict_call import PredictCall
from eigenserve.app.engine.reports import HTML
from eigenserve.app.engine.service import held, service_of
from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import unready
from eigenserve.app.request_state import client_of
from eigenserve.app.wire.answers import (
    PIECE_ROWS,
    Part,
    Scored,
    answer_of,
    explain_answer,
    json_response,
    predict_answer,
    to_json,
)
from eigenserve.app.wire.bodies import ARROW, CSV, JSON
from eigenserve.app.wire.downloads import download_response
from eigenserve.app.wire.json_rows import parse_large
from eigenserve.app.wire.kept import kept_slices
from eigenserve.app.wire.kept_values import arrow_kept
from eigenserve.app.wire.query import check_query, query_options
from eigenserve.app.wire.requests import Asked, read_explain, read_predict
from eigenserve.app.wire.schemas import predictions as schemas
from eigenserve.app.wire.schemas.explanations import ExplainRequest, ExplainResponse
from eigenserve.app.wire.schemas.model_schema import model_schema
from eigenserve.app.wire.tables import (
    answer_columns,
    explained_columns,
    interval_columns,
    predicted_columns,
    read_table,
    table_pieces,
)
from eigenserve.model import CheckpointError

log = logging.getLogger("eigenserve.reports")

router = APIRouter()

SCHEMA = "application/schema+json"
#: A report has its scripts and styles in it and asks no host for anything. In a sandbox it is not a page of this
#: server's, either: what a store's reports do cannot reach the API with the reader's credentials.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)


class Predict(PredictCall):
    """Read and answer requests of /predict."""

    media_types = answer_types = (JSON, CSV, ARROW)

    def read(self, body: bytes) -> Asked:
        """Return the rows that a body has."""
        registry, max_rows = self.service.registry, self.service.settings.max_rows
        if self.media_type == JSON:
            return read_predict(parse_large(body), registry, max_rows)
        query = query_options(self.request.query_params.multi_items())
        return read_table(body, self.media_type, query, registry, max_rows, self.check)

    def write(self, asked: Asked, scored: Scored) -> Response:
        """Return the predictions in the media type that the client accepts."""
        if self.accepted == JSON:
            return answer_of(self.counted(predict_answer(asked, scored)), JSON)
        predicted = predicted_columns(asked.served, scored.scores, self.accepted)
        answers = {**predicted, **interval_columns(asked, scored.scores)}
        count, kept = len(scored.scores), _kept(asked, self.accepted)
        # Arrow infers a column's type from all of it.
        slices = [slice(0, count)] if self.accepted == ARROW else kept_slices(kept, count, PIECE_ROWS)
        columns = (answer_columns(_some(kept, rows), _some(answers, rows), scored.warnings[rows]) for rows in slices)
        return answer_of(self.counted(table_pieces(columns, self.accepted, asked.served)), self.accepted)


class Explain(ExplainCall):
    """Read and answer requests of /explain."""

    media_types = answer_types = (JSON, CSV, ARROW)

    def read(self, body: bytes) -> Asked:
        """Return the rows that a body has, and how to explain them."""
        registry, max_rows = self.service.registry, self.service.settings.max_rows
        if self.media_type != JSON:
            query = query_options(self.request.query_params.multi_items())
            return read_table(body, self.media_type, query, registry, max_rows, self.check)
        asked = read_explain(parse_large(body), registry, max_rows, self.most_work)
        if asked.include.names and self.accepted != JSON:
            raise ProblemError(406, f'"include" requires JSON; got Accept: {self.accepted}; accept {JSON}')
        return asked

    def write(self, asked: Asked, parts: Iterator[Part]) -> Response:
        """Return the explanations in the media type that the client accepts."""
        if self.accepted == JSON:
            return answer_of(self.counted(explain_answer(asked, parts)), JSON)
        kept = _kept(asked, self.accepted)
        columns = (
            answer_columns(
                _some(kept, part.rows),
                explained_columns(asked.served, part.explanation, self.accepted),
                part.warnings,
            )
            for part in parts
        )
        return answer_of(self.counted(table_pieces(columns, self.accepted, asked.served)), self.accepted)


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
    return await Predict(request).answer()


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
    return await Explain(request).answer()


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
    summaries = [model_summary(served, registry) for served in registry.defaults().values()]
    return held(request, json_response({"models": summaries}))


@router.get(
    "/models/{name}",
    response_model=schemas.ModelCard,
    responses=problems(404, 503),
    summary="Show a model",
    tags=["models"],
)
async def model(request: Request, name: str) -> Response:
    """Describe the newest version's features, metrics and structure."""
    return await _described(request, name)


@router.get(
    "/models/{name}/schema",
    response_class=Response,
    responses={200: {"description": "The schema", "content": {SCHEMA: {}}}, **problems(404, 422, 503)},
    summary="Get the JSON Schema of a model's rows",
    dependencies=[Depends(check_query)],
    tags=["models"],
)
async def schema_of_model(
    request: Request, name: str, version: Annotated[str | None, Query(description="By default the newest.")] = None
) -> Response:
    """Describe a row as an object by feature name, and under `$defs` its prediction."""
    document = await asyncio.to_thread(model_schema, service_of(request).registry.find(name, version))
    return held(request, answer_of([to_json(document)], SCHEMA))


@router.get(
    "/models/{name}/versions/{version}",
    response_model=schemas.ModelCard,
    responses=problems(404, 503),
    summary="Show a version of a model",
    tags=["models"],
)
async def model_version(request: Request, name: str, version: str) -> Response:
    """Describe one version's features, metrics and structure."""
    return await _described(request, name, version)


@router.get(
    "/models/{name}/versions/{version}/model.onnx",
    response_class=Response,
    responses={**download(ONNX, "The file"), **problems(404, 422, 500, 501, 503, 504)},
    summary="Get a version of a model as an ONNX file",
    dependencies=[Depends(check_query)],
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
    service = service_of(request)
    served = service.registry.find(name, version)
    # Held for a second at most: the curvature of a model may be added to its report later.
    try:
        report = await service.reports.get(served, client_of(request.scope))
    except (CheckpointError, OSError) as error:
        log.error("report not handed out", extra={"model": name, "version": version, "reason": str(error)})
        report = None
    if report is None:
        raise ProblemError(404, f"version {served.version} of model {served.name!r} has no report")
    return download_response(request, report.page, {"Content-Security-Policy": REPORT_POLICY}, report)


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
    """Answer 200 when models are loaded and kernels compiled; 503 before, and during shutdown.

    Also 503 when the default model is not served, or none is although none was unloaded.
    """
    service = service_of(request)
    if (reason := service.unready_reason()) is not None:
        raise unready(reason)
    return json_response({"status": "ready", "models": list(service.registry.served)})


@router.get("/metrics", summary="Metrics for Prometheus", tags=["health"], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Write counters and histograms in Prometheus' text format."""
    # On a thread: drift is measured now, some milliseconds for each model.
    text = await asyncio.to_thread(service_of(request).metrics.text)
    return held(request, answer_of([text], CONTENT_TYPE_LATEST))


async def _described(request: Request, name: str, version: str | None = None) -> Response:
    service = service_of(request)
    served = service.registry.find(name, version)
    # On a thread: of a thousand features it takes 22 ms.
    card = await asyncio.to_thread(model_card, served, service.registry, service.drift.enabled)
    return held(request, json_response(card))


def _kept(asked: Asked, media_type: str) -> dict[str, Any]:
    """Return what is handed through, for an answer in a media type: Arrow's columns are of one type each."""
    return arrow_kept(asked.kept) if media_type == ARROW else asked.kept


def _some(columns: Mapping[str, Any], rows: slice) -> dict[str, Any]:
    return {name: values[rows] for name, values in columns.items()}
