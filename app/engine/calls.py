"""Call: one request on its way down, from its body through its contract's ``read`` and ``write`` to its answer."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Any, ClassVar, TypeVar

from fastapi import Request, Response

from eigenserve.app.engine.explanation_parts import included
from eigenserve.app.engine.queue import Job, Patience
from eigenserve.app.engine.service import service_of
from eigenserve.app.engine.small_requests import INLINE_BYTES
from eigenserve.app.registry import not_ready
from eigenserve.app.request_state import state_of
from eigenserve.app.wire.accept import accepted
from eigenserve.app.wire.answers import finite
from eigenserve.app.wire.bodies import JSON, body_headers, check_media_type, read_body
from eigenserve.app.wire.requests import Asked
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import explain

#: A row of JSON is hardly ever longer, and one of 8 numbers in a binary form has 64. Only for the queue's account.
BYTES_PER_ROW = {JSON: 256}
BINARY_BYTES_PER_ROW = 64

T = TypeVar("T")


class Call(ABC):
    """Serve one request by its contract. A subclass says how its body is read and how its answer is written.

    Attributes:
        media_types: of the bodies that the contract reads; the first where the client names none.
        answer_types: of the answers that the contract writes.
        media_type: of this body.
        accepted: of this answer.
    """

    media_types: ClassVar[tuple[str, ...]] = (JSON,)
    answer_types: ClassVar[tuple[str, ...]] = ()

    def __init__(self, request: Request) -> None:
        self.request, self.service, self.state = request, service_of(request), state_of(request.scope)
        self.headers = body_headers(request.scope)
        self.media_type = check_media_type(self.headers, *self.media_types)
        self.accepted = JSON
        if self.answer_types:
            self.accepted = accepted(request.headers.get("accept", ""), self.answer_types, self.media_type)

    @abstractmethod
    def read(self, body: bytes) -> Asked:
        """Return what the body asks for.

        Raises:
            ProblemError: 4xx naming each fault.
        """

    async def body(self) -> bytes:
        """Receive the body, within the limits.

        Raises:
            ProblemError: see ``read_body``; 503 overloaded, or while the models are being loaded.
        """
        service, headers = self.service, self.headers
        limits = service.settings.max_body_bytes, service.settings.body_timeout_s
        if 0 < headers.length <= INLINE_BYTES:
            body = await read_body(self.request, headers, *limits)
        else:
            # Refused before it is read: what a refusal costs is missing to those that are accepted.
            job, queue = self.job(headers.length), service.engine.large
            if not headers.waits:  # what waits for a go-ahead would take the next request for its body
                queue.admit(job)
            with queue.arriving(job):
                body = await read_body(self.request, headers, *limits)
        if not service.registry.ready:
            raise not_ready()
        return body

    async def sized(self, body: bytes, work: Callable[[], T]) -> T:
        """Run what takes about as long as the body is: at once where that is little, else on a thread.

        Raises:
            ProblemError: whatever ``work`` raises; 503 overloaded; 504 past the deadline.
        """
        if len(body) <= INLINE_BYTES:
            return work()
        return await self.service.engine.large.run(lambda _: work(), self.job(len(body)), self.gone)

    async def heavy(self, kind: Hashable, rows: int, work: Callable[[Patience], T]) -> T:
        """Run what takes many times a prediction's time a row: never on the event loop, each kind at its own price.

        Measured with the demo model: shapley takes 64 and path 6,000 times a prediction's time a row.

        Raises:
            ProblemError: whatever ``work`` raises; 503 overloaded; 504 past the deadline.
        """
        job = Job(kind, rows, rows, self.state["arrived"], self.state.get("trace"))
        quota = self.state.get("quota")
        with quota.heavy() if quota is not None else nullcontext():
            return await self.service.engine.heavy.run(work, job, self.gone)

    def count(self, asked: Asked, kind: str) -> None:
        """Count the rows that are computed, for the metrics and for the owner of the key."""
        self.service.metrics.predicted(asked, kind)
        self.state["rows"] = self.state.get("rows", 0) + asked.count
        if (quota := self.state.get("quota")) is not None:
            quota.charge(asked.count)

    def job(self, size: int) -> Job:
        """Describe a body that is not parsed yet. One route and media type have one price per byte."""
        rows = size // BYTES_PER_ROW.get(self.media_type, BINARY_BYTES_PER_ROW)
        key = (self.request.scope["route"].path, self.media_type, self.headers.encoding)
        return Job(key, size, rows, self.state["arrived"], self.state.get("trace"))

    async def gone(self) -> None:
        """Return when the client has closed its connection."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


class PredictCall(Call):
    """Serve a request for predictions."""

    @abstractmethod
    def write(self, asked: Asked, scores: FloatArray) -> Response:
        """Return the answer of scores (N, O), all finite."""

    async def answer(self) -> Response:
        """Receive, read, score, write.

        Raises:
            ProblemError: what ``body`` and ``read`` raise; 422 for a row beyond float64; 503 overloaded; 504 past the
                deadline.
        """
        body = await self.body()
        if len(body) > INLINE_BYTES:
            return await self.sized(body, lambda: self._answer(self.read(body)))
        asked, started = self.read(body), time.monotonic()
        scores = await self.service.engine.scores(asked)
        if (trace := self.state.get("trace")) is not None:
            trace.part("solve", started, time.monotonic())
        return self._write(asked, scores)

    def _answer(self, asked: Asked) -> Response:
        return self._write(asked, asked.served.model.scores(asked.columns()))

    def _write(self, asked: Asked, scores: FloatArray) -> Response:
        self.count(asked, "predict")
        return self.write(asked, finite(asked.served, scores, asked.loc))


class ExplainCall(Call):
    """Serve a request for explanations."""

    @abstractmethod
    def write(self, asked: Asked, explanation: Explanation, more: list[dict[str, Any]]) -> Response:
        """Return the answer of explanations with finite scores, and further keys for every row."""

    async def answer(self) -> Response:
        """Write the answer as ``PredictCall.answer``, with explanations instead of scores."""
        body = await self.body()
        begun = await self.sized(body, lambda: self._begin(self.read(body)))
        if not isinstance(begun, Asked):
            return begun
        kind = (begun.served.name, begun.method, begun.include.names, begun.baselines)
        return await self.heavy(kind, begun.count, lambda patience: self._explain(begun, patience))

    def _begin(self, asked: Asked) -> Response | Asked:
        """Answer directly, where an explanation costs little more than a prediction."""
        return asked if asked.method != "eigenvector" or asked.include.names else self._explain(asked)

    def _explain(self, asked: Asked, patience: Patience | None = None) -> Response:
        self.count(asked, "explain")
        model, columns, more = asked.served.model, asked.columns(), []
        check = patience.check if patience is not None else lambda: None
        explanation = explain(model, columns, asked.method, asked.target, asked.baseline, check=check)
        finite(asked.served, explanation.scores, asked.loc)
        if asked.include.names:
            more = included(asked.served, asked.include, columns, asked.target, asked.baseline, check)
        return self.write(asked, explanation, more)
