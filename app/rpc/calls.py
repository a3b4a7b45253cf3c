"""Answer each method of the interface, by asking the application under /v2."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
import orjson
from google.protobuf.message import DecodeError
from starlette.types import ASGIApp

from eigenserve.app.engine.small_requests import INLINE_BYTES
from eigenserve.app.rpc.bridge import ask, request
from eigenserve.app.rpc.interface import METHODS, PACKAGE, SERVICE, message_class

#: Datatype -> the field that holds its values, their type there, and how they lie in the binary form.
CONTENTS = {
    "BOOL": ("bool_contents", "?", "?"),
    "INT8": ("int_contents", "i4", "<i1"),
    "INT16": ("int_contents", "i4", "<i2"),
    "INT32": ("int_contents", "i4", "<i4"),
    "INT64": ("int64_contents", "i8", "<i8"),
    "UINT8": ("uint_contents", "u4", "<u1"),
    "UINT16": ("uint_contents", "u4", "<u2"),
    "UINT32": ("uint_contents", "u4", "<u4"),
    "UINT64": ("uint64_contents", "u8", "<u8"),
    "FP32": ("fp32_contents", "f4", "<f4"),
    "FP64": ("fp64_contents", "f8", "<f8"),
}
_JSON_LENGTH = b"inference-header-content-length"
_BINARY = (b"content-type", b"application/octet-stream")


class Calls:
    """Answer calls with what an application answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # A message may take eight times its bytes when it is read: one large one at a time.
        self._reading = asyncio.Semaphore(1)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a gRPC server needs to know of the methods."""
        return grpc.method_handlers_generic_handler(
            f"{PACKAGE}.{SERVICE}",
            {
                name: grpc.unary_unary_rpc_method_handler(
                    getattr(self, name),
                    # Tensors are read where they do not hold up others.
                    request_deserializer=None if name == "ModelInfer" else message_class(f"{name}Request").FromString,
                    response_serializer=message_class(f"{name}Response").SerializeToString,
                )
                for name in METHODS
            },
        )

    async def ServerLive(self, _: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name, as those below)
        """Return whether the process lives: it does."""
        return message_class("ServerLiveResponse")(live=True)

    async def ServerReady(self, _: Any, context: Any) -> Any:  # noqa: N802
        """Return whether the models are served."""
        answer = await request(self._app, context, "GET", ("v2", "health", "ready"))
        return message_class("ServerReadyResponse")(ready=answer.status == 200)

    async def ModelReady(self, call: Any, context: Any) -> Any:  # noqa: N802
        """Return whether a model is served; ends with UNAUTHENTICATED or PERMISSION_DENIED without the right key."""
        answer = await request(self._app, context, "GET", (*_model(call.name, call.version), "ready"))
        if answer.status not in (200, 404, 503):
            await ask(self._app, context, "GET", (*_model(call.name, call.version), "ready"))
        return message_class("ModelReadyResponse")(ready=answer.status == 200)

    async def ServerMetadata(self, _: Any, context: Any) -> Any:  # noqa: N802
        """Describe the server."""
        return await self._described("ServerMetadataResponse", context, ("v2",))

    async def ModelMetadata(self, call: Any, context: Any) -> Any:  # noqa: N802
        """Describe the tensors of a model."""
        return await self._described("ModelMetadataResponse", context, _model(call.name, call.version))

    async def ModelInfer(self, content: bytes, context: Any) -> Any:  # noqa: N802
        """Predict rows."""
        try:
            if len(content) <= INLINE_BYTES:
                asked = _read(content)
            else:
                async with self._reading:
                    asked = await asyncio.to_thread(_read, content)
        except (ValueError, DecodeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        headers = [_BINARY, (_JSON_LENGTH, b"%d" % asked.json_length)]
        answer = await ask(self._app, context, "POST", (*asked.model, "infer"), asked.body, headers)
        return _inferred(answer.body, int(answer.headers[_JSON_LENGTH]))

    async def _described(self, name: str, context: Any, path: Sequence[str]) -> Any:
        answer = await ask(self._app, context, "GET", path)
        return message_class(name)(**orjson.loads(answer.body))


def _model(name: str, version: str) -> tuple[str, ...]:
    return ("v2", "models", name, *(("versions", version) if version else ()))


class _Asked(NamedTuple):
    """Hold a request: the path of its model, its body of JSON and then binary data, and the length of the JSON."""

    model: tuple[str, ...]
    body: bytes
    json_length: int


def _read(content: bytes) -> _Asked:
    """Read a call.

    Raises:
        DecodeError: it is not a message.
        ValueError: its tensors are not whole.
    """
    call = message_class("ModelInferRequest").FromString(content)
    raw = list(call.raw_input_contents)
    if raw and len(raw) != len(call.inputs):
        raise ValueError(f"raw_input_contents must have one entry per input, {len(call.inputs)}; got {len(raw)}")
    if not raw:
        raw = [_raw(tensor) for tensor in call.inputs]
    elif any(tensor.HasField("contents") for tensor in call.inputs):
        raise ValueError("inputs must have their values in raw_input_contents or in contents; got both")
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": {"binary_data_size": len(content)},
        }
        for tensor, content in zip(call.inputs, raw, strict=True)
    ]
    given = {
        name: getattr(value, kind)
        for name, value in call.parameters.items()
        if (kind := value.WhichOneof("parameter_choice")) is not None
    }
    document: dict[str, Any] = {"inputs": inputs, "parameters": {**given, "binary_data_output": True}}
    if call.outputs:
        document["outputs"] = [{"name": output.name} for output in call.outputs]
    if call.id:
        document["id"] = call.id
    text = orjson.dumps(document)
    return _Asked(_model(call.model_name, call.model_version), b"".join([text, *raw]), len(text))


def _raw(tensor: Any) -> bytes:
    """Return the values of a tensor in the binary form."""
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(each)) + each for each in tensor.contents.bytes_contents)
    if tensor.datatype not in CONTENTS:
        known = ", ".join((*CONTENTS, "BYTES"))
        raise ValueError(f"datatype of {tensor.name!r} must be one of {known} for contents; got {tensor.datatype!r}")
    field, kind, layout = CONTENTS[tensor.datatype]
    values = np.array(getattr(tensor.contents, field), kind)
    raw = values.astype(layout)
    if values.dtype.kind in "iu" and not np.array_equal(raw, values):
        raise ValueError(f"{field} of {tensor.name!r} must be numbers of {tensor.datatype}")
    return raw.tobytes()


def _inferred(body: bytes, length: int) -> Any:
    document = orjson.loads(body[:length])
    answer = message_class("ModelInferResponse")(
        model_name=document["model_name"], model_version=document["model_version"], id=document.get("id", "")
    )
    for name, text in document.get("parameters", {}).items():
        answer.parameters[name].string_param = text
    for output in document["outputs"]:
        answer.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        size = output["parameters"]["binary_data_size"]
        answer.raw_output_contents.append(body[length : length + size])
        length += size
    return answer
