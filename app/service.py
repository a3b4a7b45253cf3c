"""Service: the parts that answer requests, and the two ways a request is answered."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import Request

from app.bodies import body_headers, check_media_type, read_body
from app.engine import INLINE_BYTES, Engine
from app.instances import Asked
from app.metrics import Metrics
from app.onnx_files import OnnxFiles
from app.registry import ModelRegistry, ServedModel, not_ready
from app.settings import Settings
from model import CheckpointError, Explanation, ModelStore
from model.features import FloatArray
from model.store import ModelNotFoundError
from model.threads import num_threads, set_num_threads

log = logging.getLogger("eigenserve.service")

#: A row of JSON is hardly ever longer.
BYTES_PER_ROW = 256

T = TypeVar("T")
PredictAnswer = Callable[[Asked, FloatArray], T]
ExplainAnswer = Callable[[ServedModel, Explanation, FloatArray], T]


class Service:
    """Everything behind the endpoints of one process.

    Attributes:
        settings: what it was built with.
        registry: the models.
        engine: where predictions are computed.
        metrics: what Prometheus reads.
        onnx_files: models as ONNX files.
        failure: why the models could not be loaded, if so.
        log_failure: whether ``failure`` goes to the log; not where the command line tells it.
        load_first: whether the server waits for the models before it takes connections.
        draining: no new work is wanted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.registry = ModelRegistry(
            ModelStore(settings.store),
            settings.default_model,
            settings.keep_versions,
            on_load=self.metrics.model_loaded,
        )
        self.engine = Engine(
            settings.max_queue_rows,
            settings.deadline_s,
            on_batch=self.metrics.batch,
            on_wait=self.metrics.queue_wait.observe,
        )
        self.onnx_files = OnnxFiles(settings.deadline_s)
        self.metrics.queue(self.engine.load)
        self.failure: Exception | None = None
        self.log_failure = True
        self.load_first = False
        self.draining = False
        # Loading never waits behind predictions, and is never done twice at a time.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether requests are wanted and can be answered."""
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
        """A request's body within the limits, and which of the ``media_types`` it has.

        Raises:
            ProblemError: see ``check_media_type`` and ``read_body``; 503 while the models are being loaded.
        """
        headers = body_headers(request)
        found = check_media_type(headers, *media_types)
        if headers.length > INLINE_BYTES and not headers.waits:
            # Refused before it is read: what a refusal costs is missing to those that are accepted.
            self.engine.admit(headers.length // BYTES_PER_ROW)
        body = await read_body(request, headers, self.settings.max_body_bytes, self.settings.body_timeout_s)
        if not self.registry.ready:
            raise not_ready()
        return body, found

    async def predict(self, request: Request, body: bytes, read: Callable[[], Asked], answer: PredictAnswer[T]) -> T:
        """Read what is asked for out of ``body``, score it and write the answer.

        Raises:
            ProblemError: whatever ``read`` finds wrong; 503 overloaded; 504 past the deadline.
        """

        def work() -> T:
            asked = read()
            self.metrics.predicted(asked, "predict")
            return answer(asked, asked.served.model.scores(asked.columns()))

        if len(body) <= INLINE_BYTES:
            asked = read()
            scores = await self.engine.scores(asked)
            self.metrics.predicted(asked, "predict")
            return answer(asked, scores)
        return await self.engine.large(work, estimate_rows(body), lambda: _gone(request))

    async def explain(self, request: Request, body: bytes, read: Callable[[], Asked], answer: ExplainAnswer[T]) -> T:
        """As ``predict``, for explanations."""

        def work(asked: Asked) -> T:
            self.metrics.predicted(asked, "explain")
            model, columns = asked.served.model, asked.columns()
            explanation = model.explain_columns(columns, asked.method, asked.target, asked.baseline)
            return answer(asked.served, explanation, _scores(asked, explanation, columns))

        if len(body) > INLINE_BYTES:
            return await self.engine.large(lambda: work(read()), estimate_rows(body), lambda: _gone(request))
        asked = read()
        if asked.method == "eigenvector":
            return work(asked)
        # The other methods cost up to a thousand times as much a row: never on the event loop.
        return await self.engine.large(lambda: work(asked), asked.count, lambda: _gone(request))

    async def _load(self) -> None:
        try:
            await self.on_loader(self.registry.load_all)
        except (ModelNotFoundError, CheckpointError) as error:
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
            log.info("ready", extra={"models": list(self.registry.served)})

    async def _watch(self, loading: asyncio.Task[None]) -> None:
        await asyncio.wait([loading])
        while self.settings.watch_interval_s and self.failure is None:
            await asyncio.sleep(self.settings.watch_interval_s)
            try:
                await self.on_loader(self.registry.look)
            except Exception:
                # Whatever it is, the next look may find it mended; what is served is not touched.
                log.exception("the store cannot be read")


def service_of(request: Request) -> Service:
    """The service behind a request."""
    service: Service = request.app.state.service
    return service


def _scores(asked: Asked, explanation: Explanation, columns: FloatArray) -> FloatArray:
    """The scores that the prediction of explained rows is made from, (N, O)."""
    model = asked.served.model
    if model.task == "multiclass":
        return model.scores(columns)
    # One output: the explained score is its score, or for the first of two classes its negative.
    first = asked.target is not None and asked.target == model.classes[0]
    return (-explanation.score if first else explanation.score)[:, None]


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def estimate_rows(body: bytes) -> int:
    """About how many rows a body has, without parsing it: for the queue's account only."""
    if not body.startswith(b"{"):
        return len(body) // 64
    return max(body.count(b"{"), body.count(b"["), len(body) // BYTES_PER_ROW)
