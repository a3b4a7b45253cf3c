"""Speak the Open Inference Protocol (KServe V2): health, metadata, inference, model repository."""

from __future__ import annotations

from itertools import chain
from typing import Any

from fastapi import APIRouter, Request, Response

from eigenserve import __version__
from eigenserve.app.api.openapi import json_body, problems
from eigenserve.app.api.tensors import KeptTensors, label_datatype, output_tensors, read_tensors
from eigenserve.app.engine.predict_call import PredictCall
from eigenserve.app.engine.service import held, service_of
from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.registry import ModelRegistry, ServedModel, unready
from eigenserve.app.request_state import state_of
from eigenserve.app.wire.answers import Scored, answer_of, json_response
from eigenserve.app.wire.bodies import JSON, parse_json
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.infer_answers import JSON_AND_BINARY, InferAnswer, Output, binary_pieces
from eigenserve.app.wire.json_rows import check_parsed_size
from eigenserve.app.wire.kept import check_clash, kept_names, read_keep
from eigenserve.app.wire.requests import Asked, read_strict
from eigenserve.app.wire.schemas import protocols as schemas
from eigenserve.model.checkpoints.local_store import check_name

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

BINARY = "application/octet-stream"
#: An output, and a parameter of answers that have any, as JSON: a list for every row.
WARNINGS = "warnings"
JSON_LENGTH = "inference-header-content-length"
#: By kind of feature. A date or time is an ISO 8601 text.
DATATYPES = {"numeric": "FP64", "boolean": "BOOL", "datetime": "BYTES", "categorical": "BYTES"}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return problems(*statuses, media_type=JSON)


@router.get("/", include_in_schema=False)
@router.get("", response_model=schemas.ServerMetadata, responses=_problems(), summary="Describe the server")
async def server(request: Request) -> Response:
    """Describe the server: name, version and extensions."""
    extensions = ["binary_tensor_data", "model_repository"]
    return json_response({"name": "eigenserve", "version": __version__, "extensions": extensions})


@router.get("/health/live", response_model=schemas.Live, summary="Is the process alive?")
async def live(request: Request) -> Response:
    """Answer 200, always."""
    return json_response({"live": True})


@router.get("/health/ready", response_model=schemas.IsReady, responses=_problems(503), summary="Can it predict?")
async def ready(request: Request) -> Response:
    """Answer 200 when the models are loaded."""
    if (reason := service_of(request).unready_reason()) is not None:
        raise unready(reason)
    return json_response({"ready": True})


@router.get(
    "/models/{name}/versions/{version}",
    response_model=schemas.ModelMetadata,
    responses=_problems(404, 503),
    summary="Describe a version of a model",
)
async def version_metadata(request: Request, name: str, version: str) -> Response:
    """Describe the version's input and output tensors."""
    return held(request, _metadata(service_of(request).registry, name, version))


@router.get(
    "/models/{name}",
    response_model=schemas.ModelMetadata,
    responses=_problems(404, 503),
    summary="Describe a model",
)
async def metadata(request: Request, name: str) -> Response:
    """Describe the model's input and output tensors."""
    return held(request, _metadata(service_of(request).registry, name))


def _metadata(registry: ModelRegistry, name: str, version: str | None = None) -> Response:
    served = registry.find(name, version)
    space = served.model.features
    features = space.features[: len(space.input_names)]
    outputs = [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]
    if served.model.classes:
        outputs = [
            {"name": "label", "datatype": label_datatype(served), "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(served.model.classes)]},
        ]
    return json_response(
        {
            "name": name,
            "versions": [str(number) for number in sorted(registry.served[name])],
            "platform": "eigenserve",
            "inputs": [
                {"name": feature.name, "datatype": DATATYPES[feature.kind], "shape": [-1]} for feature in features
            ],
            "outputs": outputs,
        }
    )


@router.get(
    "/models/{name}/versions/{version}/ready",
    response_model=schemas.ModelReady,
    responses=_problems(404, 503),
    summary="Can a version of a model predict?",
)
async def version_ready(request: Request, name: str, version: str) -> Response:
    """Answer 200 for a loaded version, 404 otherwise."""
    service_of(request).registry.find(name, version)
    return json_response({"name": name, "ready": True})


@router.get(
    "/models/{name}/ready",
    response_model=schemas.ModelReady,
    responses=_problems(404, 503),
    summary="Can a model predict?",
)
async def model_ready(request: Request, name: str) -> Response:
    """Answer 200 for a loaded model, 404 otherwise."""
    service_of(request).registry.find(name)
    return json_response({"name": name, "ready": True})


class Infer(PredictCall):
    """Read and answer requests of infer: tensors as JSON or in the binary form."""

    media_types = (JSON, BINARY)

    def __init__(self, request: Request, name: str, version: str | None = None) -> None:
        super().__init__(request)
        self.name, self.version = name, version
        self.document: dict[str, Any] = {}
        self.wanted: dict[str, bool] = {}
        self.kept: KeptTensors = {}

    def read(self, body: bytes) -> Asked:
        """Return the rows that the input tensors are."""
        served = self.service.registry.find(self.name, self.version)
        self.document, binary = _split(self.request, body)
        parameters = _parameters(self.document, ("parameters",))
        keep, strict = read_keep(parameters.get("keep")), read_strict(parameters.get("strict"))
        most, names = self.service.settings.max_rows, kept_names(served, keep)
        rows, self.kept = read_tensors(self.document.get("inputs"), binary, served, most, names)
        for name in keep:
            if name not in self.kept:
                raise invalid(("parameters", "keep"), f"must name input tensors; there is none called {describe(name)}")
        self.wanted = _wanted(self.document, served, self.kept)
        return Asked(served, rows, loc=("inputs",), strict=strict, kept={n: v for n, (_, v) in self.kept.items()})

    def write(self, asked: Asked, scored: Scored) -> Response:
        """Return the output tensors that are wanted, and what is handed through."""
        answer = _answer(asked.served, scored, self.kept, self.wanted, self.document.get("id"))
        encoding = self.state.get("encoding", JSON_AND_BINARY)
        values = [self.counted(binary_pieces(output)) for output in answer.outputs if output.is_binary]
        sizes = [sum(map(len, pieces)) for pieces in values]
        head = self.counted(encoding.head(answer, sizes))
        binary = chain.from_iterable([encoding.before(n), *pieces] for n, pieces in zip(sizes, values, strict=True))
        if not values:
            return answer_of(head, JSON)
        return answer_of([*head, *binary], BINARY, {JSON_LENGTH: str(sum(map(len, head)))})


@router.post(
    "/models/{name}/versions/{version}/infer",
    response_model=schemas.InferResponse,
    responses=_problems(400, 404, 408, 413, 415, 503, 504),
    openapi_extra=json_body(schemas.InferRequest, BINARY),
    summary="Predict with a version of a model",
)
async def version_infer(request: Request, name: str, version: str) -> Response:
    """Take tensors and return tensors, as JSON or in the binary form."""
    return await Infer(request, name, version).answer()


@router.post(
    "/models/{name}/infer",
    response_model=schemas.InferResponse,
    responses=_problems(400, 404, 408, 413, 415, 503, 504),
    openapi_extra=json_body(schemas.InferRequest, BINARY),
    summary="Predict with a model",
)
async def infer(request: Request, name: str) -> Response:
    """Take tensors and return tensors, as JSON or in the binary form."""
    return await Infer(request, name).answer()


@router.post(
    "/repository/index",
    response_model=list[schemas.RepositoryEntry],
    responses=_problems(400),
    summary="List what the store has",
)
async def index(request: Request) -> Response:
    """List every version that is loaded, and every one that could not be."""
    registry = service_of(request).registry
    served, failures = registry.served, dict(registry.failures)
    entries = [
        # One that was damaged after it was loaded still answers.
        {"name": name, "version": str(version), "state": "READY", "reason": failures.pop((name, version), "")}
        for name, versions in served.items()
        for version in sorted(versions)
    ]
    entries += [
        {"name": name, "version": str(version), "state": "UNAVAILABLE", "reason": reason}
        for (name, version), reason in sorted(failures.items())
    ]
    return held(request, json_response(entries))


@router.post(
    "/repository/models/{name}/load",
    responses=_problems(400, 403, 404, 503),
    summary="Load or reload a model",
)
async def load(request: Request, name: str) -> Response:
    """Load all versions of a model, in all workers. What is served stays if none can be loaded."""
    await service_of(request).store.load(_name(name))
    return json_response({})


@router.post(
    "/repository/models/{name}/unload", responses=_problems(400, 403, 404, 503), summary="Stop serving a model"
)
async def unload(request: Request, name: str) -> Response:
    """Unload a model until it is loaded again. Requests that have begun are answered."""
    await service_of(request).store.unload(name)
    return json_response({})


def _name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise ProblemError(404, str(error)) from None


def _split(request: Request, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Split a body into its JSON part and the binary data after it."""
    if (decode := state_of(request.scope).get("decode")) is not None:
        return decode(body)
    length = request.headers.get(JSON_LENGTH)
    binary = b""
    if length is not None:
        if not (length.isdecimal() and length.isascii() and len(length) < 20) or int(length) > len(body):
            message = f"{JSON_LENGTH} must be at most the body's {len(body)} bytes; got {describe(length)}"
            raise invalid(("body",), message)
        body, binary = body[: int(length)], body[int(length) :]
    check_parsed_size(body)
    document = parse_json(body)
    if not isinstance(document, dict):
        raise invalid(("body",), 'must be an object such as {"inputs": [...]}')
    if not isinstance(document.get("id", ""), str):
        raise invalid(("id",), "must be a text")
    return document, binary


def _wanted(document: dict[str, Any], served: ServedModel, kept: KeptTensors) -> dict[str, bool]:
    """Return the requested outputs, and whether each is to be binary; what is handed through always is one.

    The output "warnings" has to be requested: clients check that outputs are those of the metadata.
    """
    usual = ["label", "probabilities"] if served.model.classes else ["prediction"]
    names = [*usual, WARNINGS]
    check_clash(kept, names)
    by_default = _parameters(document, ("parameters",)).get("binary_data_output", False) is True
    outputs, handed = document.get("outputs"), dict.fromkeys(kept, by_default)
    if outputs is None or outputs == []:
        return {**dict.fromkeys(usual, by_default), **handed}
    names += kept
    if not isinstance(outputs, list) or len(outputs) > len(names):
        raise invalid(("outputs",), f"must be a list of at most {len(names)} outputs: {', '.join(names)}")
    wanted = {}
    for i, output in enumerate(outputs):
        name = output.get("name") if isinstance(output, dict) else None
        if name not in names:
            raise invalid(("outputs", i, "name"), f"must be one of {', '.join(names)}")
        parameters = _parameters(output, ("outputs", i, "parameters"))
        wanted[name] = parameters.get("binary_data", by_default) is True
    return {**handed, **wanted}


def _parameters(owner: dict[str, Any], loc: tuple[int | str, ...]) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise invalid(loc, "must be an object")
    return parameters


def _answer(
    served: ServedModel, scored: Scored, kept: KeptTensors, wanted: dict[str, bool], request_id: str | None
) -> InferAnswer:
    tensors = output_tensors(served, scored.scores)
    count, warnings = len(scored.scores), scored.warnings
    tensors |= {name: (datatype, [count], values) for name, (datatype, values) in kept.items()}
    if WARNINGS in wanted:
        tensors[WARNINGS] = ("BYTES", [count], warnings.texts())
    outputs = [Output(name, *tensors[name], is_binary) for name, is_binary in wanted.items()]
    return InferAnswer(served.name, str(served.version), request_id, outputs, warnings)
