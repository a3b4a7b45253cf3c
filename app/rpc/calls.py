"""Answer each method of the interface, by asking the application under /v2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import grpc
import orjson
from starlette.types import ASGIApp

from eigenserve.app.engine.memory import MemoryBudget
from eigenserve.app.problems import ProblemError
from eigenserve.app.request_state import RequestState
from eigenserve.app.rpc.arrivals import Arrivals, CallError
from eigenserve.app.rpc.bridge import CODES, address_of, ask, request
from eigenserve.app.rpc.interface import METHODS, PACKAGE, SERVICE, message_class
from eigenserve.app.rpc.messages import MESSAGE, read_infer, read_model

#: gRPC holds an answer as it is and as it is sent, until its client has taken it.
COPIES = 2
_BINARY = (b"content-type", b"application/octet-stream")


class Calls:
    """Answer calls with what an application answers."""

    def __init__(self, app: ASGIApp, arrivals: Arrivals, memory: MemoryBudget, max_rows: int) -> None:
        self._app, self._arrivals, self._memory = app, arrivals, memory
        self._forms: RequestState = {"decode": partial(read_infer, max_rows=max_rows), "encoding": MESSAGE}

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a gRPC server needs to know of the methods."""
        return grpc.method_handlers_generic_handler(
            f"{PACKAGE}.{SERVICE}",
            {
                # To a client it is a call of one message; here that is awaited no longer than it may take.
                name: grpc.stream_unary_rpc_method_handler(
                    partial(self._answer, getattr(self, name)),
                    # Tensors are read, and written, where they do not hold up others, and once the key is known.
                    request_deserializer=None if name == "ModelInfer" else message_class(f"{name}Request").FromString,
                    response_serializer=None
                    if name == "ModelInfer"
                    else message_class(f"{name}Response").SerializeToString,
                )
                for name in METHODS
            },
        )

    async def _answer(self, method: Callable[[Any, Any], Awaitable[Any]], _: Any, context: Any) -> Any:
        try:
            give_back = self._arrivals.take(address_of(context.peer()))
            # Its place is free when its client has taken the answer, or is gone.
            context.add_done_callback(lambda _: give_back())
            return await method(await self._arrivals.message(context), context)
        except CallError as error:
            code, reason = error.code, str(error)
        await context.abort(code, reason)

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
            name, version = read_model(content)
        except ValueError as error:
            raise CallError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        path = (*_model(name, version), "infer")
        answer = await ask(self._app, context, "POST", path, content, [_BINARY], self._forms)
        held = self._memory.reservation(answer.client)
        try:
            held.resize(COPIES * len(answer.body))
        except ProblemError as error:
            raise CallError(CODES[error.status], str(error)) from None
        context.add_done_callback(lambda _: held.release())
        return answer.body

    async def _described(self, name: str, context: Any, path: Sequence[str]) -> Any:
        answer = await ask(self._app, context, "GET", path)
        return message_class(name)(**orjson.loads(answer.body))


def _model(name: str, version: str) -> tuple[str, ...]:
    return ("v2", "models", name, *(("versions", version) if version else ()))
