"""Speak KServe's V1 protocol, which is TensorFlow Serving's: /v1/models/NAME:predict and :explain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from fastapi import APIRouter, Request, Response

from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.engine.calls import Call
from eigenserve.app.engine.explain_call import ExplainCall
from eigenserve.app.engine.predict_call import PredictCall
from eigenserve.app.engine.service import Service, service_of
from eigenserve.app.problems import invalid
from eigenserve.app.wire.answers import (
    Part,
    Scored,
    answer_of,
    explanation_pieces,
    json_response,
    listed,
    prediction_pieces,
    warnings_and_kept,
)
from eigenserve.app.wire.bodies import JSON
from eigenserve.app.wire.json_rows import parse_large
from eigenserve.app.wire.kept import read_keep, split_kept
from eigenserve.app.wire.limits import check_columns, check_rows
from eigenserve.app.wire.requests import Asked, read_options
from eigenserve.app.wire.schemas.protocols import V1Explanations, V1Model, V1Models, V1Predictions, V1Request

router = APIRouter(prefix="/v1", tags=["KServe V1"])
_PROBLEMS = problems(404, 408, 413, 415, 422, 503, 504, media_type=JSON)


@router.get("/models", response_model=V1Models, summary="List the models")
async def models(request: Request) -> Response:
    """List the names of all models."""
    return json_response({"models": list(service_of(request).registry.served)})


@router.get("/models/{name}", response_model=V1Model, responses=problems(404, 503, media_type=JSON), summary="Ready?")
async def model(request: Request, name: str) -> Response:
    """Report whether a model can predict."""
    return json_response(_status(service_of(request), name))


class Predict(PredictCall):
    """Read and answer requests of :predict."""

    def __init__(self, request: Request, name: str, version: str | None = None) -> None:
        super().__init__(request)
        self.name, self.version, self.key = name, version, "instances"

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body."""
        asked, self.key = _read(self, self.name, self.version, body)
        return asked

    def write(self, asked: Asked, scored: Scored) -> Response:
        """Return the predictions, by the name that TensorFlow Serving has for them."""
        key = "predictions" if self.key == "instances" else "outputs"
        predicted = listed(key, prediction_pieces(asked.served, scored.scores))
        pieces = chain([b"{"], predicted, warnings_and_kept(asked, scored.warnings), [b"}"])
        return answer_of(self.counted(pieces), JSON)


class Explain(ExplainCall):
    """Read and answer requests of :explain."""

    def __init__(self, request: Request, name: str, version: str | None = None) -> None:
        super().__init__(request)
        self.name, self.version = name, version

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body, and how to explain them."""
        return _read(self, self.name, self.version, body)[0]

    def write(self, asked: Asked, parts: Iterator[Part]) -> Response:
        """Return the explanations."""
        pieces = chain([b"{"], listed("explanations", explanation_pieces(asked, parts)), [b"}"])
        return answer_of(self.counted(pieces), JSON)


def _read(call: Call, name: str, version: str | None, body: bytes) -> tuple[Asked, str]:
    """Read ``{"instances": [...]}``, or TensorFlow Serving's ``{"inputs": {...}}``, and which of the two it is.

    ``method``, ``target``, ``reference``, ``strict`` and ``keep`` mean what they mean elsewhere; other keys, such as
    TensorFlow Serving's signature_name, mean nothing.
    """
    document = parse_large(body)
    keys = [key for key in ("instances", "inputs") if isinstance(document, dict) and key in document]
    if len(keys) != 1:
        raise invalid(("instances",), 'must be given: the body must be {"instances": [...]} or {"inputs": {...}}')
    options = {key: document.get(key) for key in ("method", "target", "reference", "strict")}
    options |= {"model": name, "version": version}
    asked, value, loc = read_options(options, call.service.registry, call.most_work), document[keys[0]], (keys[0],)
    most = call.service.settings.max_rows
    keep = read_keep(document.get("keep"))
    if not isinstance(value, dict):
        rows, kept = split_kept(check_rows(value, most, loc), asked.served, keep, loc)
        return replace(asked, rows=rows, loc=loc, kept=kept), keys[0]
    if keys[0] == "instances":
        raise invalid(loc, "must be a list of rows; got an object")
    # A tensor of one value per row has the shape [N] or [N, 1].
    columns = {
        column: [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in cells]
        if isinstance(cells, list)
        else cells
        for column, cells in value.items()
    }
    rows, kept = split_kept(check_columns(columns, most, loc), asked.served, keep, loc)
    return replace(asked, rows=rows, loc=loc, kept=kept), keys[0]


@router.post(
    "/models/{name}:predict",
    response_model=V1Predictions,
    responses=_PROBLEMS,
    openapi_extra=json_body(V1Request),
    summary="Predict rows",
)
async def predict(request: Request, name: str) -> Response:
    """Predict as /predict does."""
    return await Predict(request, name).answer()


@router.post(
    "/models/{name}:explain",
    response_model=V1Explanations,
    responses=_PROBLEMS,
    openapi_extra=json_body(V1Request),
    summary="Explain rows",
)
async def explain(request: Request, name: str) -> Response:
    """Explain as /explain does."""
    return await Explain(request, name).answer()


@router.post(
    "/models/{name}/versions/{version}:predict",
    response_model=V1Predictions,
    responses=_PROBLEMS,
    openapi_extra=json_body(V1Request),
    summary="Predict rows by a version",
)
async def version_predict(request: Request, name: str, version: str) -> Response:
    """Predict as TensorFlow Serving does."""
    return await Predict(request, name, version).answer()


@router.post(
    "/models/{name}/versions/{version}:explain",
    response_model=V1Explanations,
    responses=_PROBLEMS,
    openapi_extra=json_body(V1Request),
    summary="Explain rows by a version",
)
async def version_explain(request: Request, name: str, version: str) -> Response:
    """Explain as :explain does."""
    return await Explain(request, name, version).answer()


@router.get(
    "/models/{name}/versions/{version}",
    response_model=V1Model,
    responses=problems(404, 503, media_type=JSON),
    summary="Is a version ready?",
)
async def version_status(request: Request, name: str, version: str) -> Response:
    """Report whether a version can predict."""
    return json_response(_status(service_of(request), name, version))


def _status(service: Service, name: str, version: str | None = None) -> dict[str, Any]:
    """KServe's answer and TensorFlow Serving's in one."""
    served = service.registry.find(name, version)
    numbers = [served.version] if version is not None else sorted(service.registry.served[name], reverse=True)
    fine = {"error_code": "OK", "error_message": ""}
    states = [{"version": str(number), "state": "AVAILABLE", "status": fine} for number in numbers]
    return {"name": served.name, "ready": True, "model_version_status": states}
