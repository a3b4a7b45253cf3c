"""Run uvicorn for one process, with a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from functools import partial
from types import FrameType

import uvicorn

from eigenserve.app.application import create_app
from eigenserve.app.engine.service import Service
from eigenserve.app.registry.peers import Workers
from eigenserve.app.server.connection import BoundedConfig, BoundedProtocol
from eigenserve.app.server.handshakes import TlsServer
from eigenserve.app.server.heartbeat import Line, Ready, beat
from eigenserve.app.server.listener import ARRIVE_S, admit_no_more, has_waiting
from eigenserve.app.server.signals import STOPPING, stop_request
from eigenserve.app.settings import Settings

log = logging.getLogger("eigenserve.server")

#: After SIGTERM, how long an idle connection may still bring the request that its client was just sending.
#: Every answer in this time closes its connection.
LINGER_S = 0.5
LINGER_TURNS = 25
SWITCH_INTERVAL_S = 0.0005
#: Ticks of uvicorn, of a tenth of a second, between looks for clients that do not take their answers.
SWEEP_TICKS = 10


class Server(uvicorn.Server):
    """Drain on SIGTERM or SIGINT, then let the process end by itself.

    Attributes:
        service: what it serves.
        line: to the supervisor, if there is one.
    """

    def __init__(self, config: uvicorn.Config, service: Service, line: Line | None) -> None:
        super().__init__(config)
        self.service = service
        self.line = line
        self._reported_ready = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the heartbeat to the supervisor, then load and listen."""
        self._loop = asyncio.get_running_loop()
        if self.line is not None:
            self._heart = asyncio.create_task(beat(self.line, self._stop))
        await super().startup([])
        # What uvicorn does with sockets, but for TLS, whose handshakes it does not bound.
        protocol = partial(
            BoundedProtocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        for listener in sockets or ():
            if self.config.ssl is None:
                self.servers.append(
                    await self._loop.create_server(protocol, sock=listener, backlog=self.config.backlog)
                )
                continue
            listener.listen(self.config.backlog)
            self.servers.append(TlsServer(listener, self.config.ssl, protocol))  # type: ignore[arg-type]

    def _stop(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Stop when asked to, when there is nothing to serve, and when the supervisor is gone."""
        if self.line is not None and self.service.ready and not self._reported_ready:
            self._reported_ready = True
            with contextlib.suppress(OSError):  # the heartbeat notices it, too
                self.line.send(Ready())
        if counter % SWEEP_TICKS == 0:
            for connection in list(self.server_state.connections):
                connection.check_writing(self.service.settings.write_timeout_s)  # type: ignore[union-attr]
        return await super().on_tick(counter) or self.service.store.failure is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal, also while the models are being loaded."""
        super().handle_exit(sig, frame)
        with contextlib.suppress(AttributeError, RuntimeError):  # before and after there is a loop
            self._loop.call_soon_threadsafe(self.service.store.end)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, answer what is under way, then close."""
        self.service.draining = True
        listeners = [listener for server in self.servers for listener in server.sockets]
        filtered = [admit_no_more(listener) for listener in listeners]
        kept_out = all(filtered)
        if kept_out:
            await asyncio.sleep(ARRIVE_S)
        # Where they cannot be kept out, the sockets are closed in a moment when none waits, if there soon is one.
        ends = time.monotonic() + LINGER_S
        while any(has_waiting(listener) for listener in listeners) and not self.force_exit:
            if not kept_out and time.monotonic() > ends:
                break
            await asyncio.sleep(0.0)
        for server in self.servers:
            server.close()
        # Counted in turns of the event loop, each of which reads what has come: on a busy machine they last longer.
        for _ in range(LINGER_TURNS):
            if not self.server_state.connections or self.force_exit:
                break
            await asyncio.sleep(LINGER_S / LINGER_TURNS)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals while serving. uvicorn would raise them again afterwards: exit code 143."""
        before = {number: signal.signal(number, self.handle_exit) for number in STOPPING}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: self.service.store.look_soon())
        if stop_request.received:
            self.should_exit = True
            self.service.store.end()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    settings: Settings,
    listener: socket.socket,
    line: Line | None = None,
    load_first: bool = False,
    workers: Workers | None = None,
) -> Exception | None:
    """Serve in this process until a signal ends it.

    Args:
        settings: of the service.
        listener: the bound socket.
        line: to the supervisor, if there is one.
        load_first: load the models before taking connections, which others take meanwhile.
        workers: the other workers, if there are any.

    Returns:
        None after a signal, or why the models could not be served.
    """
    # So often does a thread that computes let the event loop have the interpreter. Measured with four requests of
    # 100,000 rows that all have warnings: /livez takes 24 ms at worst; 330 at Python's 5 ms, a wait of each turn.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    app = create_app(settings)
    service: Service = app.state.service
    service.store.log_failure = False
    service.load_first = load_first
    if workers is not None:
        service.registry.peers = workers
        app.state.keys.share(workers.folder)
        service.drift.share(workers.folder, workers.worker)
        service.shadow.share(workers.folder, workers.worker)
    config = BoundedConfig(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        # Who trusts no proxy believes no header of one.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or "",
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=None if settings.tls_client_ca is None else str(settings.tls_client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if settings.tls_client_ca is None else ssl.CERT_REQUIRED,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
        lifespan="on",
        ws="none",
        http=BoundedProtocol,
    )
    config.max_connections = settings.max_connections
    _allow_connections(settings.max_connections)
    Server(config, service, line).run(sockets=[listener])
    if service.store.failure is None and service.store.busy:
        # Nothing is left to do but to wait for a store that may never answer, and for the machine code it is loaded by.
        log.warning("the store does not answer; ending all the same")
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return service.store.failure


def _allow_connections(count: int) -> None:
    """Let the process have that many open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
