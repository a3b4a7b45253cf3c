"""Service: the parts that answer requests in one process, and the life of its models."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fastapi import Request

from eigenserve.app.engine.onnx_files import OnnxFiles
from eigenserve.app.engine.queue import Lane
from eigenserve.app.engine.small_requests import LARGE_AT_ONCE, Engine
from eigenserve.app.observability.metrics import Metrics
from eigenserve.app.registry import ModelRegistry
from eigenserve.app.settings import Settings
from eigenserve.model import CheckpointError
from eigenserve.model.checkpoints.local_store import ModelNotFoundError
from eigenserve.model.checkpoints.locations import open_store
from eigenserve.model.kernels.threads import num_threads, set_num_threads

log = logging.getLogger("eigenserve.service")

#: The rows of one large JSON body are 1,000 objects and more that are in no cycle. With Python's own thresholds a ninth
#: of the event loop's time went into looking for cycles among them (measured under overload).
GC_THRESHOLDS = (25_000, 20, 20)


class Service:
    """Hold everything behind the endpoints of one process.

    Attributes:
        settings: what it was built with.
        registry: the models.
        engine: where predictions are computed.
        metrics: what Prometheus reads.
        onnx_files: models as ONNX files.
        failure: why the models could not be loaded, if so.
        log_failure: whether ``failure`` goes to the log; not where the command line reports it.
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
        self.engine = Engine(lane(LARGE_AT_ONCE), lane(1, name="heavy"), on_batch=self.metrics.batch)
        self.onnx_files = OnnxFiles(settings.deadline_s)
        self.failure: Exception | None = None
        self.log_failure = True
        self.load_first = False
        self.draining = False
        # Loading never waits behind predictions, and is never done twice at a time.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Return whether requests are wanted and can be answered."""
        return self.registry.ready and not self.draining

    async def start(self) -> None:
        """Begin to load the models, and then to watch the store."""
        set_num_threads(self.settings.threads or max(1, num_threads() // self.settings.workers))
        loading = asyncio.create_task(self._load())
        self._tasks = [loading, asyncio.create_task(self._watch(loading))]
        if self.load_first:
            await loading

    async def stop(self) -> None:
        """Let go of threads and tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.engine.close()
        self.onnx_files.close()
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def on_loader(self, work: Callable[[], object]) -> None:
        """Run something that reads the store."""
        await asyncio.get_running_loop().run_in_executor(self._loader, work)

    async def _load(self) -> None:
        try:
            await self.on_loader(self.registry.load_all)
        except (ModelNotFoundError, CheckpointError, OSError) as error:
            self.failure = error
            if self.log_failure:
                log.error("the models cannot be served", extra={"reason": str(error)})
        except Exception as error:
            self.failure = error
            log.exception("the models cannot be served")
        else:
            # What was made so far stays: the garbage collector need not go through it at every large request
            # (measured: explaining 10,000 rows as JSON took 150 ms with it, 80 ms without).
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            log.info("ready", extra={"models": list(self.registry.served)})

    async def _watch(self, loading: asyncio.Task[None]) -> None:
        await asyncio.wait([loading])
        while self.settings.watch_interval_s and self.failure is None:
            await asyncio.sleep(self.settings.watch_interval_s)
            try:
                await self.on_loader(self.registry.look)
            except OSError as error:
                log.error("the store cannot be read", extra={"reason": str(error)})
            except Exception:
                # Whatever it is, the next look may find it mended; what is served is not touched.
                log.exception("looking at the store failed")


def service_of(request: Request) -> Service:
    """Return the service behind a request."""
    service: Service = request.app.state.service
    return service
