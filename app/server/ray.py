"""Build the service as a Ray Serve application: `serve run eigenserve.app.server.ray:build store=models`.

Gateways take HTTP and hand requests to replicas, each of which is the whole FastAPI application with its models. A
replica that dies costs no request: predictions change nothing, so the gateway asks another replica.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from ray import serve
from ray.exceptions import RayActorError

from eigenserve.app.application import create_app
from eigenserve.app.engine.service import Service
from eigenserve.app.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: What an HTTP request is to a replica: the parts of ASGI's scope that can be sent, and the body.
SCOPE = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "headers", "client")
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

#: Replicas that a request is tried on, at most.
ATTEMPTS = 4
#: What ``build`` takes in addition to the fields of ``Settings``.
SCALE: dict[str, Any] = {
    "release": "",
    "min_replicas": 1,
    "max_replicas": 4,
    "target_ongoing_requests": 16,
    "max_ongoing_requests": 256,
    "cpus": 1.0,
    "gateways": 1,
}


class Replica:
    """Run the service in a separate process."""

    def __init__(self, settings: Mapping[str, Any], release: str) -> None:
        self.app = create_app(Settings(**settings))
        self.release = release
        self.service: Service = self.app.state.service
        # No request reaches a replica that has not loaded its models.
        self.service.load_first = True
        self._life = self.app.router.lifespan_context(self.app)
        self._start: asyncio.Task[Any] | None = None

    async def check_health(self) -> None:
        """Start the service at the first call; Ray replaces a replica for which this raises."""
        if self._start is None:
            self._start = asyncio.create_task(self._life.__aenter__())
        await asyncio.shield(self._start)
        if self.service.store.failure is not None:
            raise RuntimeError(str(self.service.store.failure))

    async def answer(self, scope: dict[str, Any], body: bytes) -> Answer:
        """Let the application answer a request."""
        await self.check_health()
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        status, headers, parts = 500, [], []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            # The gateway waits for the answer, whatever its client does.
            return await asyncio.Future()

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            else:
                parts.append(message.get("body", b""))

        await self.app({**scope, "extensions": {}, "root_path": ""}, receive, send)
        return status, headers, b"".join(parts)


class Gateway:
    """Hand each request to a replica, and to another one if that dies, as an ASGI application."""

    def __init__(self, replicas: Any, max_body_bytes: int) -> None:
        self.replicas = replicas
        self.max_body_bytes = max_body_bytes

    def __serve_build_asgi_app__(self) -> Callable[..., Awaitable[None]]:
        # A plain function: uvicorn takes a bound method for an application of ASGI 2.
        async def application(scope: Message, receive: Receive, send: Send) -> None:
            await self._answer(scope, receive, send)

        return application

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the application's lifespan."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = await self._body(receive)
        # One byte too many is enough for the replica to refuse the body as it would any that is too large.
        forwarded = {key: scope[key] for key in SCOPE if key in scope}
        status, headers, content = await self._ask(forwarded, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Answer:
        for attempt in range(ATTEMPTS):
            try:
                answer: Answer = await self.replicas.answer.remote(scope, body)
            except RayActorError:
                if attempt == ATTEMPTS - 1:
                    break
            else:
                return answer
        text = b'{"title": "Service Unavailable", "status": 503, "detail": "no replica could answer"}'
        return 503, [(b"content-type", b"application/problem+json"), (b"retry-after", b"1")], text

    async def _body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more and size <= self.max_body_bytes:
            message = await receive()
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
        return b"".join(parts)


def build(arguments: Mapping[str, Any]) -> Any:
    """Build the application, for `serve run`, `serve deploy` or ``serve.run``.

    Args:
        arguments: fields of ``Settings``, and those of ``SCALE``. Another ``release`` makes Ray replace the replicas,
            a few at a time, so that they take up new versions of the models. There are ``min_replicas`` to
            ``max_replicas``, so that each has ``target_ongoing_requests`` under way, and at most
            ``max_ongoing_requests``. ``cpus`` are those of a replica, ``gateways`` how many there are.

    Raises:
        ValueError: an unknown argument, or a value that is none.
    """
    unknown = sorted(set(arguments) - set(SCALE) - set(Settings.model_fields))
    if unknown:
        raise ValueError(f"unknown arguments: {', '.join(unknown)}; there are {', '.join(SCALE)} and the settings'")
    scale = {key: type(default)(arguments.get(key, default)) for key, default in SCALE.items()}
    settings: dict[str, Any] = {
        "threads": max(1, int(scale["cpus"])),
        # Versions come with a release: so all replicas change within it, and not before.
        "watch_interval_s": 0,
        "access_log": False,
        **{key: value for key, value in arguments.items() if key not in SCALE},
    }
    checked = Settings(**settings)
    replicas = serve.deployment(Replica).options(
        name="Replica",
        autoscaling_config={key: scale[key] for key in ("min_replicas", "max_replicas", "target_ongoing_requests")},
        max_ongoing_requests=scale["max_ongoing_requests"],
        graceful_shutdown_timeout_s=checked.drain_timeout_s,
        ray_actor_options={"num_cpus": scale["cpus"]},
    )
    gateway = serve.deployment(serve.ingress()(Gateway)).options(
        name="Gateway",
        num_replicas=scale["gateways"],
        max_ongoing_requests=scale["max_ongoing_requests"] * scale["max_replicas"],
        ray_actor_options={"num_cpus": 0},
    )
    return gateway.bind(replicas.bind(settings, scale["release"]), checked.max_body_bytes)
