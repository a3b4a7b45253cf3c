"""Run several server processes on one listening socket, and replace each when it dies or hangs."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from eigenserve.app.agreement.agreement import Agreement, Arbiter
from eigenserve.app.agreement.board import Board
from eigenserve.app.observability.logs import configure_logging
from eigenserve.app.server.heartbeat import HEARTBEAT_S, Alive, CannotServe, ForArbiter, Line, Ready
from eigenserve.app.server.listener import admit_no_more
from eigenserve.app.server.signals import STOPPING, stop_request
from eigenserve.app.settings import Settings

log = logging.getLogger("eigenserve.workers")

#: A worker that lived longer than this died of something new.
LONG_LIFE_S = 30.0
#: A worker that dies soon after its start is started again after a pause, longer each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
#: Imports take over a second, and many on a busy machine, until the event loop can turn for the first time.
FIRST_TURN_S = 60.0
#: Beyond the drain timeout, how long a worker may take to end before it is killed.
END_GRACE_S = 5.0

# Spawned, never forked: a fork would take over locks that other threads hold.
_context = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    """Hold one place for a worker, and the process that fills it now."""

    number: int = 0
    process: SpawnProcess | None = None
    line: Connection | None = None
    ready: bool = False
    started: float = 0.0
    heard: float = 0.0
    start_at: float = 0.0
    pause_s: float = FIRST_PAUSE_S


@dataclass
class _Supervisor:
    settings: Settings
    listener: socket.socket
    metrics_folder: str
    #: What the workers share: agreements, and copies of what they serve.
    shared: Path
    workers: list[_Worker] = field(default_factory=list)
    stopping: bool = False
    served: bool = False
    failure: str | None = None

    def __post_init__(self) -> None:
        self._board = Board(self.shared)
        self._arbiter = Arbiter(self.settings.keep_versions, self._publish)
        self._numbers = count(1)

    def _publish(self, agreement: Agreement) -> None:
        try:
            self._board.publish(agreement)
            self._board.prune_copies(self._arbiter.digests())
        except OSError as error:
            # The workers keep to what they agreed on before; the next offer is a new attempt.
            log.error("the workers cannot agree on what to serve", extra={"reason": str(error)})

    def run(self) -> str | None:
        self.workers = [_Worker() for _ in range(self.settings.workers)]
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in STOPPING:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        self.stopping = stop_request.received
        while not self.stopping:
            now = time.monotonic()
            for worker in self.workers:
                # The first one takes connections at once, so that probes are answered; the others wait until
                # it is ready, and find the kernels compiled.
                wanted = self.served or worker is self.workers[0]
                if worker.process is None and wanted and worker.start_at <= now:
                    self._start(worker)
            lines = {w.line: w for w in self.workers if w.line is not None}
            for ready in wait([*lines, wake], timeout=HEARTBEAT_S / 2):
                if isinstance(ready, Connection):
                    self._hear(lines[ready])
            for worker in self.workers:
                if worker.process is not None and time.monotonic() - worker.heard > self.settings.hang_timeout_s:
                    log.error("worker hangs, killing it", extra={"worker": worker.process.pid})
                    worker.process.kill()
        self._end()
        signal.set_wakeup_fd(-1)
        wake.close()
        waker.close()
        return self.failure

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _hang_up(self, *_: object) -> None:
        """Let every worker look at the store; one that is starting is about to, and may not take signals yet."""
        for worker in self.workers:
            if worker.ready and worker.process is not None and worker.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGHUP)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = _context.Pipe()
        # While others serve, a replacement takes connections only when it can answer them.
        worker.number = next(self._numbers)
        worker.process = _context.Process(
            target=_work,
            args=(self.settings, self.listener, theirs, self.served, worker.number, self.shared),
            name="eigenserve",
        )
        worker.process.start()
        theirs.close()
        worker.line, worker.started = ours, time.monotonic()
        worker.heard = worker.started + max(0.0, FIRST_TURN_S - self.settings.hang_timeout_s)

    def _hear(self, worker: _Worker) -> None:
        assert worker.line is not None
        try:
            message = worker.line.recv()
        except (EOFError, OSError):
            self._lost(worker)
            return
        worker.heard = time.monotonic()
        match message:
            case Alive():
                pass
            case Ready():
                self.served = worker.ready = True
            case ForArbiter(name, arguments):
                getattr(self._arbiter, name)(*arguments)
            case CannotServe(reason) if not self.served:
                # No worker ever served: the mistake is the user's, and trying again would not help.
                self.failure, self.stopping = reason, True
            case CannotServe(reason):
                log.error("worker cannot serve", extra={"reason": reason})

    def _lost(self, worker: _Worker) -> None:
        assert worker.process is not None
        assert worker.line is not None
        worker.line.close()
        worker.process.join(END_GRACE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        self._arbiter.leave(worker.number)
        mark_process_dead(worker.process.pid, self.metrics_folder)  # type: ignore[no-untyped-call]
        if not self.stopping:
            lived_s = time.monotonic() - worker.started
            worker.pause_s = 0.0 if lived_s > LONG_LIFE_S else max(FIRST_PAUSE_S, 2 * worker.pause_s)
            worker.pause_s = min(worker.pause_s, LONGEST_PAUSE_S)
            worker.start_at = time.monotonic() + (worker.pause_s if lived_s < HEARTBEAT_S * 5 else 0.0)
            log.error(
                "worker died, starting another",
                extra={"worker": worker.process.pid, "exit_code": worker.process.exitcode},
            )
        worker.process, worker.line, worker.ready = None, None, False

    def _end(self) -> None:
        admit_no_more(self.listener)
        # First ours, then theirs: a socket left open would take connections that nobody answers.
        self.listener.close()
        processes = [worker.process for worker in self.workers if worker.process is not None]
        for process in processes:
            process.terminate()
        # What was answered last is recorded when no request is left.
        stages = 2 if self.settings.records else 1
        ends = time.monotonic() + stages * self.settings.drain_timeout_s + END_GRACE_S
        for process in processes:
            process.join(max(0.0, ends - time.monotonic()))
            if process.is_alive():
                log.error("worker does not end, killing it", extra={"worker": process.pid})
                process.kill()
                process.join()


def supervise(settings: Settings, listener: socket.socket) -> str | None:
    """Serve with ``settings.workers`` processes until a signal ends them.

    Returns:
        None after a signal, or why no worker could serve.
    """
    with (
        tempfile.TemporaryDirectory(prefix="eigenserve-metrics-") as folder,
        tempfile.TemporaryDirectory(prefix="eigenserve-shared-") as shared,
    ):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        return _Supervisor(settings, listener, folder, Path(shared)).run()


def _work(
    settings: Settings, listener: socket.socket, connection: Connection, load_first: bool, number: int, shared: Path
) -> None:
    """Run a worker process from its start to its end."""
    stop_request.catch()
    configure_logging(settings)
    from eigenserve.app.registry.peers import Workers
    from eigenserve.app.server.process import serve

    line = Line(connection)
    workers = Workers(number, shared, lambda name, arguments: line.send(ForArbiter(name, arguments)))
    failure = serve(settings, listener, line, load_first, workers)
    if failure is not None:
        line.send(CannotServe(str(failure)))
        sys.exit(2)
