"""Speak KServe's V1 protocol, which is TensorFlow Serving's: /v1/models/NAME:predict and :explain."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.api.schemas.protocols import V1Explanations, V1Model, V1Models, V1Predictions, V1Request
from eigenserve.app.engine.service import Service, service_of
from eigenserve.app.problems import invalid
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.answers import explanations, json_response, predictions, to_json
from eigenserve.app.wire.bodies import parse_json
from eigenserve.app.wire.requests import Asked, check_rows, read_options
from eigenserve.app.wire.tables import JSON
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


@router.post(
    "/models/{name}:predict",
    response_model=V1Predictions,
    responses=_PROBLEMS,
    openapi_extra=json_body(V1Request),
    summary="Predict rows",
)
async def predict(request: Request, name: str) -> Response:
    """Predict as /predict does."""
    service = service_of(request)
    body, _ = await service.read(request, JSON)

    def answer(asked: Asked, scores: FloatArray) -> bytes:
        return to_json({"predictions": predictions(asked.served, scores)})

    return Response(await service.predict(request, body, lambda: _read(service, name, body), answer), media_type=JSON)


@router.post(
    "/models/{name}:explain",
    response_model=V1Explanations,
    responses=_PROBLEMS,
    openapi_extra=json_body(V1Request),
    summary="Explain rows",
)
async def explain(request: Request, name: str) -> Response:
    """Explain as /explain does."""
    service = service_of(request)
    body, _ = await service.read(request, JSON)

    def answer(served: ServedModel, explanation: Explanation, scores: FloatArray, _: object) -> bytes:
        return to_json({"explanations": explanations(explanation, predictions(served, scores))})

    return Response(await service.explain(request, body, lambda: _read(service, name, body), answer), media_type=JSON)


def _read(service: Service, name: str, body: bytes) -> Asked:
    """Read ``{"instances": [...]}``; other keys, such as TensorFlow Serving's signature_name, mean nothing."""
    document = parse_json(body)
    if not isinstance(document, dict) or "instances" not in document:
        raise invalid(("instances",), 'must be given: the body must be {"instances": [...]}')
    options = {**document, "model": name, "version": None, "interval": None}
    served, method, target, _ = read_options(options, service.registry)
    return Asked(served, check_rows(document["instances"], service.settings.max_rows, ("instances",)), method, target)
