"""Speak MLflow's scoring protocol: /ping, /health, /version and /invocations."""

from __future__ import annotations

from itertools import chain
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from eigenserve import __version__
from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.engine.predict_call import PredictCall
from eigenserve.app.engine.service import Service, service_of
from eigenserve.app.problems import invalid
from eigenserve.app.registry import unready
from eigenserve.app.wire.answers import Scored, answer_of, to_json, warnings_and_kept
from eigenserve.app.wire.bodies import CSV, JSON
from eigenserve.app.wire.json_rows import nan_to_null, parse_large
from eigenserve.app.wire.kept import read_keep, split_kept
from eigenserve.app.wire.limits import check_cells, check_columns, check_rows
from eigenserve.app.wire.requests import Asked, read_strict
from eigenserve.app.wire.schemas.protocols import InvocationsRequest, V1Predictions
from eigenserve.app.wire.tables import read_table

router = APIRouter(tags=["MLflow"])

_LAYOUTS = ("dataframe_split", "dataframe_records", "instances", "inputs")


@router.get("/ping", summary="Can it predict?", responses=problems(503), response_class=PlainTextResponse)
@router.get("/health", summary="Can it predict?", responses=problems(503), response_class=PlainTextResponse)
async def ping(request: Request) -> Response:
    """Answer 200 when the models are loaded."""
    if (reason := service_of(request).unready_reason()) is not None:
        raise unready(reason)
    return PlainTextResponse("\n")


@router.get("/version", summary="Version of the server", response_class=PlainTextResponse)
async def version() -> Response:
    """Answer with the version, as plain text."""
    return PlainTextResponse(__version__)


class Invocations(PredictCall):
    """Read and answer requests of /invocations."""

    media_types = (JSON, CSV)

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body, for the default model."""
        if self.media_type == CSV:
            return read_table(body, CSV, {}, self.service.registry, self.service.settings.max_rows, self.check)
        return _read(_parse(body), self.service)

    def write(self, asked: Asked, scored: Scored) -> Response:
        """Return predictions without probabilities, as MLflow's clients expect."""
        model = asked.served.model
        if model.classes:
            chosen = model.probabilities(scored.scores).argmax(axis=1).tolist()
            predicted: Any = [model.classes[c] for c in chosen]
        else:
            predicted = model.values(scored.scores)
        pieces = chain([b'{"predictions":', to_json(predicted)], warnings_and_kept(asked, scored.warnings), [b"}"])
        return answer_of(self.counted(pieces), JSON)


@router.post(
    "/invocations",
    response_model=V1Predictions,
    responses=problems(404, 408, 413, 415, 422, 503, 504),
    openapi_extra=json_body(InvocationsRequest, CSV),
    summary="Predict rows",
)
async def invocations(request: Request) -> Response:
    """Predict by the default model: numbers, or a classifier's labels."""
    return await Invocations(request).answer()


def add_platform_routes(app: FastAPI, health_route: str | None, predict_route: str | None) -> None:
    """Answer on the paths that a platform chose: as /ping does, and as /invocations."""
    if health_route is not None:
        app.add_api_route(health_route, ping, methods=["GET"], include_in_schema=False)
    if predict_route is not None:
        app.add_api_route(predict_route, invocations, methods=["POST"], include_in_schema=False)


def _parse(body: bytes) -> Any:
    """Parse JSON in which NaN stands for a missing value: MLflow's client writes it, though it is not JSON."""
    if b"NaN" in body:
        body = nan_to_null(body)
    rows = next((key for key in ("instances", "dataframe_records", "inputs") if b'"%b"' % key.encode() in body), "data")
    return parse_large(body, rows)


def _read(document: Any, service: Service) -> Asked:
    """Read one of MLflow's JSON layouts.

    Raises:
        ProblemError: 422 naming each fault.
    """
    layouts = [key for key in _LAYOUTS if key in document] if isinstance(document, dict) else []
    if len(layouts) != 1:
        raise invalid(("body",), f"must be an object with one of {', '.join(_LAYOUTS)}")
    layout, served = layouts[0], service.registry.find()
    value, loc = document[layout], (layout,)
    most, params = service.settings.max_rows, document.get("params")
    if params is not None and not isinstance(params, dict):
        raise invalid(("params",), "must be an object")
    if layout == "dataframe_split":
        rows: Any = _split(value, most)
    else:
        rows = check_columns(value, most, loc) if isinstance(value, dict) else check_rows(value, most, loc)
    rows, kept = split_kept(rows, served, read_keep((params or {}).get("keep")), loc)
    return Asked(served, rows, loc=loc, strict=read_strict((params or {}).get("strict")), kept=kept)


def _split(value: Any, max_rows: int) -> dict[str, Any]:
    loc = ("dataframe_split",)
    columns, data = (value.get("columns"), value.get("data")) if isinstance(value, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list):
        raise invalid(loc, "must be an object with the lists columns and data")
    if not all(isinstance(name, str) for name in columns) or len(set(columns)) != len(columns):
        raise invalid((*loc, "columns"), "must be different texts")
    check_rows(data, max_rows, (*loc, "data"))
    check_cells(len(columns) * len(data))
    for i, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise invalid((*loc, "data", i), f"a row must be an array of {len(columns)} values")
    return dict(zip(columns, map(list, zip(*data, strict=True)), strict=True))
