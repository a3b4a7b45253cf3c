"""Service: the parts that answer requests in one process, and the life of its models."""

from __future__ import annotations

import asyncio
import gc
import logging
from functools import partial

from fastapi import Request, Response

from eigenserve.app.engine.memory import MemoryBudget, Trimmer
from eigenserve.app.engine.onnx_files import OnnxFiles
from eigenserve.app.engine.queue import Lane
from eigenserve.app.engine.reports import Reports
from eigenserve.app.engine.small_requests import HEAVY_AT_ONCE, LARGE_AT_ONCE, Engine
from eigenserve.app.observability.drift import DriftMonitor
from eigenserve.app.observability.drift.exposition import DriftCollector
from eigenserve.app.observability.drift.shadow import Shadow
from eigenserve.app.observability.metrics import Metrics
from eigenserve.app.observability.records import open_recorder
from eigenserve.app.observability.records.recorder import Recorder
from eigenserve.app.registry import ModelRegistry, ServedModel, StoreWatch
from eigenserve.app.registry.routing import read_routing
from eigenserve.app.request_state import client_of
from eigenserve.app.settings import Settings
from eigenserve.app.wire.answers import Answer
from eigenserve.model.checkpoints.locations import open_store
from eigenserve.model.kernels.threads import num_threads, set_num_threads

#: The rows of one large JSON body are 1,000 objects and more that are in no cycle. With Python's own thresholds a ninth
#: of the event loop's time went into looking for cycles among them (measured under overload).
GC_THRESHOLDS = (25_000, 20, 20)

#: Between looks whether freed memory should be given back to the system.
TRIM_INTERVAL_S = 2.0
#: Between counts of the rows that were answered.
DRIFT_INTERVAL_S = 1.0

log = logging.getLogger("eigenserve.drift")


class Service:
    """Hold everything behind the endpoints of one process.

    Attributes:
        settings: what it was built with.
        registry: the models.
        engine: where predictions are computed.
        memory: what bodies and answers may occupy.
        metrics: what Prometheus reads.
        drift: what watches whether rows are still like training.
        shadow: what compares a version that runs along.
        onnx_files: models as ONNX files.
        reports: what training found, as pages.
        store: what loads and watches the models.
        recorder: what records decisions, once the service has started; None for nobody.
        load_first: whether the server waits for the models before it takes connections.
        draining: no new work is wanted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.drift = DriftMonitor(settings.drift, settings.drift_rows, settings.drift_level, settings.outcome_rows)
        self.metrics = Metrics(DriftCollector(self.drift, self._watched))
        self.drift.outcomes.on_settled = self.metrics.settled
        self.registry = ModelRegistry(
            open_store(settings.store, settings.store_cache),
            settings.default_model,
            settings.keep_versions,
            on_load=self.metrics.model_loaded,
            routing=read_routing(settings.shadow, settings.canary),
        )
        self.shadow = Shadow(dict(self.registry.routing.shadows), self.registry.find)
        lane = partial(
            Lane,
            max_rows=settings.max_queue_rows,
            deadline_s=settings.deadline_s,
            on_rows=self.metrics.queued_rows.inc,
            on_wait=self.metrics.queue_wait.observe,
        )
        heavy = lane(HEAVY_AT_ONCE, name="heavy", shares_turn=True)
        self.engine = Engine(lane(LARGE_AT_ONCE), heavy, on_batch=self.metrics.batch)
        self.memory = MemoryBudget(settings.max_memory_bytes)
        self.onnx_files = OnnxFiles(settings.deadline_s)
        self.reports = Reports(self.registry, self.memory)
        self.store = StoreWatch(self.registry, settings.watch_interval_s, collect_less_garbage)
        self.recorder: Recorder | None = None
        self.load_first = False
        self.draining = False

    @property
    def ready(self) -> bool:
        """Return whether requests are wanted and can be answered."""
        return self.registry.ready and not self.draining

    def unready_reason(self) -> str | None:
        """Say why the service cannot answer what it should; None if it can."""
        if self.store.failure is not None:
            return f"the models cannot be served: {self.store.failure}"
        return "the server is shutting down" if self.draining else self.registry.unready_reason()

    async def start(self) -> None:
        """Begin to load the models, and then to watch the store."""
        set_num_threads(self.settings.threads or max(1, num_threads() // self.settings.workers))
        self.recorder = open_recorder(self.settings, self.metrics)
        await self.store.start(wait=self.load_first)
        self._tasks = [asyncio.create_task(self._trim()), asyncio.create_task(self._watch_drift())]

    async def stop(self) -> None:
        """Let go of threads and tasks."""
        for task in self._tasks:
            task.cancel()
        await self.store.stop()
        self.engine.close()
        self.onnx_files.close()
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.close, self.settings.drain_timeout_s)

    async def _trim(self) -> None:
        trimmer = Trimmer()
        while True:
            await asyncio.sleep(TRIM_INTERVAL_S)
            # Not while models are loaded, when the least that the process needs is not known, nor under load: others
            # would wait for it, and fetch at once what was given back.
            if self.registry.ready and not self.engine.large.rows and not self.engine.heavy.rows:
                await asyncio.to_thread(trimmer.trim)

    async def _watch_drift(self) -> None:
        while self.drift.enabled or self.shadow.shadows:
            await asyncio.sleep(DRIFT_INTERVAL_S)
            try:
                await asyncio.to_thread(self._tick)
            except Exception:
                # A defect of ours, which must not end the watch of other models.
                log.exception("drift was not measured")

    def _tick(self) -> None:
        current = {served for versions in self.registry.served.values() for served in versions.values()}
        self.drift.tick(current)
        self.shadow.tick(current)

    def _watched(self) -> list[ServedModel]:
        """Return the versions whose drift is exported: those that answer requests that name none."""
        watched = dict.fromkeys(self.registry.defaults().values())
        for name in self.registry.routing.canaries:
            if (served := self.registry.canary(name)) is not None:
                watched[served] = None
        return list(watched)


def collect_less_garbage() -> None:
    """Keep what was made so far out of the garbage collector's way, which need not go through it at every request.

    Measured: explaining 10,000 rows as JSON took 150 ms with it, 80 ms without.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def service_of(request: Request) -> Service:
    """Return the service behind a request."""
    service: Service = request.app.state.service
    return service


def held(request: Request, response: Response) -> Response:
    """Return an answer that is accounted for, where it is long, until its client has taken it.

    Raises:
        ProblemError: 413 and 503 no room for it.
    """
    if isinstance(response, Answer):
        reservation = service_of(request).memory.reservation(client_of(request.scope))
        reservation.resize(response.size)
        response.release = reservation.release
    return response
