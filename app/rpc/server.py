"""Serve the interface on a port of its own, with reflection."""

from __future__ import annotations

import logging
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from starlette.types import ASGIApp

from eigenserve.app.engine.memory import MemoryBudget
from eigenserve.app.rpc.arrivals import MAX_CALLS, Arrivals, CallError
from eigenserve.app.rpc.bridge import address_of
from eigenserve.app.rpc.calls import Calls
from eigenserve.app.rpc.interface import PACKAGE, POOL, SERVICE
from eigenserve.app.settings import Settings

#: The largest message, as gRPC has it by default (65,000 rows of 8 numbers). Messages are in memory before the service
#: knows of them: of all calls no more than 256 MB.
MAX_MESSAGE_BYTES = 4 * 2**20
#: So old a connection may become; channels replace it unnoticed.
CONNECTION_AGE_MS = 60_000
#: When the service ends, how long calls may take that have begun.
END_S = 3.0


class RpcServer:
    """Run a gRPC server next to the HTTP server, in the same event loop.

    Args:
        app: the application, with all that stands around it.
        settings: of the service.
        memory: what holds answers that clients have not taken.
    """

    def __init__(self, app: ASGIApp, settings: Settings, memory: MemoryBudget) -> None:
        write_ms = round(1000 * settings.write_timeout_s)
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", min(settings.max_body_bytes, MAX_MESSAGE_BYTES)),
                ("grpc.max_send_message_length", -1),
                # Workers listen on one port each for itself, and the system shares the connections out.
                ("grpc.so_reuseport", int(settings.workers > 1)),
                # A client that reads nothing answers no ping. One that answers them, and takes nothing, is cut off by
                # the age of its connection; others are asked to open another one, and end what they have begun.
                ("grpc.keepalive_time_ms", write_ms),
                ("grpc.keepalive_timeout_ms", write_ms),
                ("grpc.http2.ping_timeout_ms", write_ms),
                ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
                ("grpc.max_connection_age_grace_ms", round(1000 * settings.deadline_s) + write_ms),
            ],
        )
        arrivals = Arrivals(settings.body_timeout_s)
        self._server.add_generic_rpc_handlers((Calls(app, arrivals, memory, settings.max_rows).handlers(),))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection(arrivals), self._server)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_farewell)
        self._settings = settings
        self._address = f"{host}:{settings.grpc_port}"

    async def start(self) -> None:
        """Begin to take calls.

        Raises:
            RuntimeError: the port cannot be had.
            OSError: a file of the certificate cannot be read.
        """
        credentials = _credentials(self._settings)
        if credentials is None:
            self._server.add_insecure_port(self._address)
        else:
            self._server.add_secure_port(self._address, credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Take no more calls, and answer those that have begun."""
        await self._server.stop(END_S)


def _is_no_farewell(record: logging.LogRecord) -> bool:
    """Return whether a line of gRPC's log says more than that a client left before it had its answer."""
    return record.exc_info is None or getattr(record.exc_info[0], "__name__", "") != "ExecuteBatchError"


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """Describe the interface to whoever asks, and end the streams of those who do not ask."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__((f"{PACKAGE}.{SERVICE}", reflection.SERVICE_NAME), pool=POOL)
        self._arrivals = arrivals

    async def ServerReflectionInfo(self, request_iterator: Any, unused_context: Any) -> Any:  # noqa: N802
        """Answer each question of a stream."""
        try:
            give_back = self._arrivals.take(address_of(unused_context.peer()))
            unused_context.add_done_callback(lambda _: give_back())
            async for answer in super().ServerReflectionInfo(self._arrivals.in_time(unused_context), None):
                yield answer
        except CallError as error:
            await unused_context.abort(error.code, str(error))


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Return the certificate of the HTTP server, and whose certificates clients must have; None without TLS."""
    if settings.tls_certificate is None:
        return None
    chain = settings.tls_certificate.read_bytes()
    # The key may stand in the file of the certificate.
    key = chain if settings.tls_key is None else settings.tls_key.read_bytes()
    ca = None if settings.tls_client_ca is None else settings.tls_client_ca.read_bytes()
    return grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=ca is not None)
