"""Speak KServe's V1 protocol, which is TensorFlow Serving's: /v1/models/NAME:predict and :explain."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.engine.calls import ExplainCall, PredictCall
from eigenserve.app.engine.service import Service, service_of
from eigenserve.app.problems import invalid
from eigenserve.app.wire.answers import explanations, json_response, predictions
from eigenserve.app.wire.bodies import JSON, parse_json
from eigenserve.app.wire.requests import Asked, check_rows, read_options
from eigenserve.app.wire.schemas.protocols import V1Explanations, V1Model, V1Models, V1Predictions, V1Request
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray

router = APIRouter(prefix="/v1", tags=["KServe V1"])
_PROBLEMS = problems(404, 408, 413, 415, 422, 503, 504, media_type=JSON)


@router.get("/models", response_model=V1Models, summary="List the models")
async def models(request: Request) -> Response:
    """List the names of all models."""
    return json_response({"models": list(service_of(request).registry.served)})


@router.get("/models/{name}", response_model=V1Model, responses=problems(404, 503, media_type=JSON), summary="Ready?")
async def model(request: Request, name: str) -> Response:
    """Report whether a model can predict."""
    return json_response({"name": service_of(request).registry.find(name).name, "ready": True})


class Predict(PredictCall):
    """Read and answer requests of :predict."""

    def __init__(self, request: Request, name: str) -> None:
        super().__init__(request)
        self.name = name

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body."""
        return _read(self.service, self.name, body)

    def write(self, asked: Asked, scores: FloatArray) -> Response:
        """Return the predictions."""
        return json_response({"predictions": predictions(asked.served, scores)})


class Explain(ExplainCall):
    """Read and answer requests of :explain."""

    def __init__(self, request: Request, name: str) -> None:
        super().__init__(request)
        self.name = name

    def read(self, body: bytes) -> Asked:
        """Return the rows of a body, and how to explain them."""
        return _read(self.service, self.name, body)

    def write(self, asked: Asked, explanation: Explanation, _: object) -> Response:
        """Return the explanations."""
        return json_response({"explanations": explanations(asked.served, explanation)})


def _read(service: Service, name: str, body: bytes) -> Asked:
    """Read ``{"instances": [...]}``; other keys, such as TensorFlow Serving's signature_name, mean nothing."""
    document = parse_json(body)
    if not isinstance(document, dict) or "instances" not in document:
        raise invalid(("instances",), 'must be given: the body must be {"instances": [...]}')
    asked = read_options({**document, "model": name, "version": None, "interval": None}, service.registry)
    return replace(asked, rows=check_rows(document["instances"], service.settings.max_rows, ("instances",)))


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
