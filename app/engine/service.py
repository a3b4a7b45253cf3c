"""Hold the parts that answer requests, and the two ways a request is answered."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Scope

from eigenserve.app.engine.explanation_parts import included
from eigenserve.app.engine.onnx_files import OnnxFiles
from eigenserve.app.engine.queue import Job, Lane, Patience
from eigenserve.app.engine.small_requests import INLINE_BYTES, LARGE_AT_ONCE, Engine
from eigenserve.app.observability.metrics import Metrics
from eigenserve.app.observability.tracing import Trace
from eigenserve.app.registry import ModelRegistry, ServedModel, not_ready
from eigenserve.app.settings import Settings
from eigenserve.app.wire.answers import finite
from eigenserve.app.wire.bodies import BodyHeaders, body_headers, check_media_type, read_body
from eigenserve.app.wire.requests import Asked
from eigenserve.app.wire.tables import JSON
from eigenserve.model import CheckpointError, Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.checkpoints.local_store import ModelNotFoundError
from eigenserve.model.checkpoints.locations import open_store
from eigenserve.model.kernels.threads import num_threads, set_num_threads

log = logging.getLogger("eigenserve.service")

#: A row of JSON is hardly ever longer, and one of 8 numbers in a binary form has 64. Only for the queue's account.
BYTES_PER_ROW = {JSON: 256}
BINARY_BYTES_PER_ROW = 64

#: The rows of one large JSON body are 1,000 objects and more that are in no cycle. With Python's own thresholds a ninth
#: of the event loop's time went into looking for cycles among them (measured under overload).
GC_THRESHOLDS = (25_000, 20, 20)

T = TypeVar("T")
PredictAnswer = Callable[[Asked, FloatArray], T]
#: The model, its explanations of the rows, their scores, and further keys for every row.
ExplainAnswer = Callable[[ServedModel, Explanation, FloatArray, list[dict[str, Any]]], T]


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

    async def read(self, request: Request, *media_types: str) -> tuple[bytes, str]:
        """Read a request's body within the limits, and find which of the ``media_types`` it has.

        Raises:
            ProblemError: see ``check_media_type`` and ``read_body``; 503 while the models are being loaded.
        """
        headers = body_headers(request.scope)
        found = check_media_type(headers, *media_types)
        limits = self.settings.max_body_bytes, self.settings.body_timeout_s
        if 0 < headers.length <= INLINE_BYTES:
            body = await read_body(request, headers, *limits)
        else:
            # Refused before it is read: what a refusal costs is missing to those that are accepted.
            job = job_of(request.scope, request.scope["route"].path, headers, headers.length)
            if not headers.waits:  # what waits for a go-ahead would take the next request for its body
                self.engine.large.admit(job)
            with self.engine.large.arriving(job):
                body = await read_body(request, headers, *limits)
        if not self.registry.ready:
            raise not_ready()
        return body, found

    async def predict(self, request: Request, body: bytes, read: Callable[[], Asked], answer: PredictAnswer[T]) -> T:
        """Read what is asked for out of ``body``, score it and write the answer.

        Raises:
            ProblemError: whatever ``read`` finds wrong; 422 for a row beyond float64; 503 overloaded; 504 past the
                deadline.
        """

        def work() -> T:
            asked = read()
            self.metrics.predicted(asked, "predict")
            return answer(asked, finite(asked.served, asked.served.model.scores(asked.columns()), asked.loc))

        if len(body) <= INLINE_BYTES:
            asked, trace, started = read(), _trace(request.scope), time.monotonic()
            scores = await self.engine.scores(asked)
            if trace is not None:
                trace.part("solve", started, time.monotonic())
            self.metrics.predicted(asked, "predict")
            return answer(asked, finite(asked.served, scores, asked.loc))
        return await self.engine.large.run(lambda _: work(), _large(request, body), lambda: _gone(request))

    async def explain(self, request: Request, body: bytes, read: Callable[[], Asked], answer: ExplainAnswer[T]) -> T:
        """Explain, as ``predict`` predicts."""

        def work(asked: Asked, patience: Patience | None = None) -> T:
            self.metrics.predicted(asked, "explain")
            model, columns, more = asked.served.model, asked.columns(), []
            check = patience.check if patience is not None else lambda: None
            explanation = model.explain_columns(columns, asked.method, asked.target, asked.baseline, check=check)
            scores = finite(asked.served, _scores(asked, explanation, columns), asked.loc)
            if patience is not None and asked.include.names:
                more = included(asked.served, asked.include, columns, asked.target, asked.baseline, patience.check)
            return answer(asked.served, explanation, scores, more)

        def begin() -> T | Asked:
            asked = read()
            return asked if asked.method != "eigenvector" or asked.include.names else work(asked)

        begun = await self.reading(request, body, begin)
        if not isinstance(begun, Asked):
            return begun
        asked = begun
        kind = (asked.served.name, asked.method, asked.include.names, asked.baselines)
        return await self.slow(request, kind, asked.count, lambda patience: work(asked, patience))

    async def reading(self, request: Request, body: bytes, read: Callable[[], T]) -> T:
        """Run what takes about as long as ``body`` is: at once where that is little, else on a thread.

        Raises:
            ProblemError: whatever ``read`` finds wrong; 503 overloaded; 504 past the deadline.
        """
        if len(body) <= INLINE_BYTES:
            return read()
        return await self.engine.large.run(lambda _: read(), _large(request, body), lambda: _gone(request))

    async def slow(self, request: Request, kind: Hashable, rows: int, work: Callable[[Patience], T]) -> T:
        """Run what takes many times a prediction's time a row: never on the event loop, each kind at its own price.

        Measured with the demo model: shapley takes 64 and path 6,000 times a prediction's time a row.

        Raises:
            ProblemError: whatever ``work`` finds wrong; 503 overloaded; 504 past the deadline.
        """
        job = Job(kind, rows, rows, _arrived(request.scope), _trace(request.scope))
        return await self.engine.heavy.run(work, job, lambda: _gone(request))

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


def _scores(asked: Asked, explanation: Explanation, columns: FloatArray) -> FloatArray:
    """Return the scores that the prediction of explained rows is made from, (N, O)."""
    model = asked.served.model
    if model.task == "multiclass":
        return model.scores(columns)
    # One output: the explained score is its score, or for the first of two classes its negative.
    first = asked.target is not None and asked.target == model.classes[0]
    return (-explanation.score if first else explanation.score)[:, None]


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def job_of(scope: Scope, path: str, headers: BodyHeaders, size: int) -> Job:
    """Describe a request whose body is not parsed. One route and media type have one price per byte."""
    rows = size // BYTES_PER_ROW.get(headers.media_type or JSON, BINARY_BYTES_PER_ROW)
    return Job((path, headers.media_type, headers.encoding), size, rows, _arrived(scope), _trace(scope))


def _large(request: Request, body: bytes) -> Job:
    return job_of(request.scope, request.scope["route"].path, body_headers(request.scope), len(body))


def _arrived(scope: Scope) -> float:
    """Return when the first byte of a request arrived."""
    arrived: float = scope["state"]["arrived"]
    return arrived


def _trace(scope: Scope) -> Trace | None:
    trace: Trace | None = scope["state"].get("trace")
    return trace
