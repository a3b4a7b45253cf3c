"""Service: the parts that answer requests in one process, and the life of its models."""

from __future__ import annotations

import asyncio
import gc
from functools import partial

from fastapi import Request

from eigenserve.app.engine.memory import MemoryBudget, Trimmer
from eigenserve.app.engine.onnx_files import OnnxFiles
from eigenserve.app.engine.queue import Lane
from eigenserve.app.engine.small_requests import HEAVY_AT_ONCE, LARGE_AT_ONCE, Engine
from eigenserve.app.observability.metrics import Metrics
from eigenserve.app.observability.records import open_recorder
from eigenserve.app.observability.records.recorder import Recorder
from eigenserve.app.registry import ModelRegistry, StoreWatch
from eigenserve.app.settings import Settings
from eigenserve.model.checkpoints.locations import open_store
from eigenserve.model.kernels.threads import num_threads, set_num_threads

#: The rows of one large JSON body are 1,000 objects and more that are in no cycle. With Python's own thresholds a ninth
#: of the event loop's time went into looking for cycles among them (measured under overload).
GC_THRESHOLDS = (25_000, 20, 20)

#: Between looks whether freed memory should be given back to the system.
TRIM_INTERVAL_S = 2.0


class Service:
    """Hold everything behind the endpoints of one process.

    Attributes:
        settings: what it was built with.
        registry: the models.
        engine: where predictions are computed.
        memory: what bodies and answers may occupy.
        metrics: what Prometheus reads.
        onnx_files: models as ONNX files.
        store: what loads and watches the models.
        recorder: what records decisions, once the service has started; None for nobody.
        load_first: whether the server waits for the models before it takes connections.
        draining: no new work is wanted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.registry = ModelRegistry(
            open_store(settings.store, settings.store_cache),
            settings.default_model,
            settings.keep_versions,
            on_load=self.metrics.model_loaded,
        )
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
        self.recorder = open_recorder(self.settings, self.metrics.records_dropped.inc)
        await self.store.start(wait=self.load_first)
        self._trimming = asyncio.create_task(self._trim())

    async def stop(self) -> None:
        """Let go of threads and tasks."""
        self._trimming.cancel()
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
