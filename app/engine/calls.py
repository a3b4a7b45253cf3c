"""Call: one request on its way down, from its body through its contract's ``read`` and ``write`` to its answer."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import ClassVar, TypeVar

from fastapi import Request, Response

from eigenserve.app.engine.memory import Reservation
from eigenserve.app.engine.queue import Job, Lane, Patience
from eigenserve.app.engine.service import service_of
from eigenserve.app.engine.small_requests import INLINE_BYTES
from eigenserve.app.observability.records.answered import Answered
from eigenserve.app.problems import MAX_FAULTS, ProblemError, invalid_all
from eigenserve.app.registry import not_ready
from eigenserve.app.request_state import client_of, state_of
from eigenserve.app.wire.accept import accepted
from eigenserve.app.wire.answers import SENT_BYTES, Answer
from eigenserve.app.wire.bodies import JSON, body_headers, check_media_type, inflate, read_body
from eigenserve.app.wire.kept import ID
from eigenserve.app.wire.requests import Asked, ComparisonError
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.warnings import RowWarnings

#: A row of JSON is hardly ever longer, and one of 8 numbers in a binary form has 64. Only for the queue's account.
BYTES_PER_ROW = {JSON: 256}
BINARY_BYTES_PER_ROW = 64
#: Work of the rows that one request may have on the event loop: 64 of the demo model's, which has 8 members of dim 15.
#: Measured: 0.4 ms.
INLINE_WORK = 64 * 8 * 15
#: Bytes of a number of a row.
COLUMN_BYTES = 8
#: Less than this is not worth counting.
COUNTED_BYTES = 2**20
#: Bytes of a sample of a body.
SAMPLE_BYTES = 4096

T = TypeVar("T")


class Call(ABC):
    """Serve one request by its contract. A subclass says how its body is read and how its answer is written.

    Attributes:
        media_types: of the bodies that the contract reads; the first where the client names none.
        answer_types: of the answers that the contract writes.
        media_type: of this body.
        accepted: of this answer.
        check: to be called now and then by what may take long; raises when nobody waits for it any more.
        most_work: what may be read of rows to compare with, in the unit of ``ServedModel.work``.
    """

    media_types: ClassVar[tuple[str, ...]] = (JSON,)
    answer_types: ClassVar[tuple[str, ...]] = ()

    def __init__(self, request: Request) -> None:
        self.request, self.service, self.state = request, service_of(request), state_of(request.scope)
        self.headers = body_headers(request.scope)
        self.media_type = check_media_type(self.headers, *self.media_types)
        self.check: Callable[[], None] = _go_on
        self.most_work = math.inf
        self._memory: Reservation | None = None
        self._recorded: bool | None = None
        self.accepted = JSON
        if self.answer_types:
            accept = self.headers.accept
            self.accepted = accepted(accept, self.answer_types, self.media_type) if accept else self.media_type

    async def answer(self) -> Response:
        """Receive, read, compute, write.

        Raises:
            ProblemError: what ``body`` and ``respond`` raise; 422 for a row beyond float64; 503 overloaded; 504 past
                the deadline.
        """
        try:
            response = await self.respond(await self.body())
            if isinstance(response, Answer):
                # The rest is gone: what the client does not take is its answer.
                self.memory.resize(response.size)
                response.release = self.memory.release
                return response
        except BaseException:
            if self._memory is not None:
                self._memory.release()
            raise
        if self._memory is not None:
            self._memory.release()
        return response

    def counted(self, pieces: Iterable[bytes]) -> list[bytes]:
        """Make pieces of the answer, as many as there is room and time for.

        Raises:
            ProblemError: what making them raises; 413 and 503 no room; 504 past the deadline.
        """
        made, size = [], 0
        before = 0 if self._memory is None else self._memory.size
        for piece in pieces:
            self.check()
            made.append(piece)
            size += len(piece)
            if size > SENT_BYTES:
                self.memory.hold(before + size)
        return made

    @property
    def memory(self) -> Reservation:
        """What the request holds of the budget; small ones never ask."""
        if self._memory is None:
            self._memory = self.service.memory.reservation(client_of(self.request.scope))
        return self._memory

    @abstractmethod
    async def respond(self, body: bytes) -> Response:
        """Read, compute, write; raises as ``answer``."""

    async def body(self) -> bytes:
        """Receive the body, within the limits, and decompress it.

        Raises:
            ProblemError: see ``read_body`` and ``inflate``; 503 overloaded, or while the models are being loaded.
        """
        service, headers = self.service, self.headers
        most, timeout_s = service.settings.max_body_bytes, service.settings.body_timeout_s
        if 0 < headers.length <= INLINE_BYTES:
            body = await read_body(self.request, headers, most, timeout_s, _ignore, self.state.get("whole", False))
        else:
            # Refused before it is read: what a refusal costs is missing to those that are accepted. What is declared
            # may never come: it counts as it comes.
            queue = service.engine.large
            if not headers.waits:  # what waits for a go-ahead would take the next request for its body
                queue.admit(self.job(min(headers.length, most)))
            with queue.arriving() as arriving:

                def grow(size: int) -> None:
                    if size > INLINE_BYTES:
                        self.memory.resize(size)
                        arriving(self.job(size))

                body = await read_body(self.request, headers, most, timeout_s, grow)
        if not service.registry.ready:
            raise not_ready()
        if service.recorder is not None:
            service.recorder.admit()
        return await self._inflated(body) if headers.encoding == "gzip" else body

    async def _inflated(self, body: bytes) -> bytes:
        most, sent = self.service.settings.max_body_bytes, len(body)
        if sent <= INLINE_BYTES:
            try:
                return inflate(body, INLINE_BYTES)
            except ProblemError as error:
                if error.status != 413:
                    raise
        # Twice: its pieces, and what they are joined to.
        inflated = await asyncio.to_thread(inflate, body, most, lambda size: self.memory.resize(max(sent, 2 * size)))
        self.memory.resize(len(inflated))
        return inflated

    def _reserve(self, body: bytes) -> None:
        """Reserve what reading a large body takes: with its slices and columns about as much again."""
        self.memory.resize(2 * len(body))

    async def sized(self, body: bytes, work: Callable[[], T]) -> T:
        """Run what takes about as long as the body is: at once where that is little, else on a thread.

        Raises:
            ProblemError: whatever ``work`` raises; 503 overloaded; 504 past the deadline.
        """
        if len(body) <= INLINE_BYTES:
            self.most_work = INLINE_WORK
            # A reference of a thousand {} is a small body and much work.
            with suppress(ComparisonError):
                return work()
            self.most_work = math.inf
        self._reserve(body)
        return await self.large(self.job(self.work_size(body)), work)

    async def large(self, job: Job, work: Callable[[], T]) -> T:
        """Run work on a thread, in the order of arrival; raises as ``sized``."""
        return await self._run(self.service.engine.large, job, work)

    def is_small(self, asked: Asked, weight: int = 1) -> bool:
        """Return whether rows are few enough for the event loop, ``weight`` times a prediction's work each."""
        return weight * asked.count * asked.served.work <= INLINE_WORK

    def work_size(self, body: bytes) -> int:
        """Return the bytes that a body's rows would have as usual: {} is a row, too, and takes as long."""
        if self.media_type != JSON:
            return len(body)
        # Of samples: to count all of it would take longer than to receive it.
        starts = (0, len(body) // 2, max(0, len(body) - SAMPLE_BYTES))
        samples = [body[start : start + SAMPLE_BYTES] for start in starts]
        density = max(max(part.count(b"{"), part.count(b"[")) / len(part) for part in samples)
        rows = min(int(density * len(body)), self.service.settings.max_rows)
        return max(len(body), BYTES_PER_ROW[JSON] // 4 * rows)

    async def heavy(self, kind: Hashable, rows: int, work: Callable[[], T]) -> T:
        """Run what takes many times a prediction's time a row: never on the event loop, each kind at its own price.

        Measured with the demo model: shapley takes 64 and path 6,000 times a prediction's time a row.

        Raises:
            ProblemError: whatever ``work`` raises; 503 overloaded; 504 past the deadline.
        """
        client = client_of(self.request.scope)
        job = Job(kind, rows, rows, self.state["arrived"], self.state.get("trace"), client)
        quota = self.state.get("quota")
        with quota.heavy() if quota is not None else nullcontext():
            return await self._run(self.service.engine.heavy, job, work)

    def columns(self, asked: Asked) -> FloatArray:
        """Encode rows, once there is room for them: of a wide model {} is a row of thousands of numbers.

        Raises:
            ProblemError: 422 naming each fault; 413 and 503 no room.
        """
        size = COLUMN_BYTES * asked.count * len(asked.served.model.features)
        if size > COUNTED_BYTES:
            self.memory.resize(self.memory.size + size)
        return asked.columns(self.check)

    def count(self, asked: Asked, kind: str) -> None:
        """Count the rows that are computed, for the metrics and for the owner of the key."""
        self.service.metrics.predicted(asked, kind)
        self.charge(asked.count)

    def charge(self, rows: int) -> None:
        """Count rows for the log and for the owner of the key."""
        self.state["rows"] = self.state.get("rows", 0) + rows
        if (quota := self.state.get("quota")) is not None:
            quota.charge(rows)

    def checked(self, asked: Asked, warnings: RowWarnings, start: int = 0) -> RowWarnings:
        """Count warnings, of the rows from ``start`` on, and refuse rows where somebody is strict about their kinds.

        Raises:
            ProblemError: 422 naming rows and features.
        """
        if not len(warnings):
            return warnings
        strict = asked.strict | asked.served.model.strict | self.service.settings.strict
        if strict and len(refused := warnings.of_kinds(strict)):
            faults = [
                ((*asked.loc, start + row, *((feature,) if feature else ())), f"{message} (strict)")
                for row, feature, message in refused.faults(MAX_FAULTS)
            ]
            raise invalid_all(faults, len(refused))
        self.service.metrics.warned(asked.served.name, warnings)
        return warnings

    def record(
        self,
        asked: Asked,
        columns: FloatArray,
        scores: FloatArray,
        warnings: RowWarnings,
        start: int = 0,
        explanation: Explanation | None = None,
        options: str = "",
        reasons: Sequence[str] | None = None,
    ) -> None:
        """Record rows from ``start`` on, if the service records and this request is drawn.

        Raises:
            ProblemError: 503 where they have no room, and what is not recorded is to be refused.
        """
        recorder = self.service.recorder
        if recorder is None:
            return
        route = self.request.scope["route"].path
        if self._recorded is None:
            self._recorded = recorder.samples(route)
        if not self._recorded:
            return
        ids = asked.kept.get(ID)
        recorder.record(
            Answered(
                at=time.time(),
                request_id=self.state.get("request_id", ""),
                route=route,
                key=self.state.get("key_name", ""),
                served=asked.served,
                first=start,
                columns=columns,
                scores=scores,
                warnings=warnings,
                ids=None if ids is None else ids[start : start + len(columns)],
                interval=asked.interval,
                explanation=explanation,
                options=options,
                reasons=reasons,
            )
        )

    async def _run(self, lane: Lane, job: Job, work: Callable[[], T]) -> T:
        def within_time(patience: Patience) -> T:
            self.check = patience.check
            return work()

        return await lane.run(within_time, job, self.gone)

    def job(self, size: int) -> Job:
        """Describe a body that is not parsed yet. One route and media type have one price per byte."""
        rows = size // BYTES_PER_ROW.get(self.media_type, BINARY_BYTES_PER_ROW)
        key = (self.request.scope["route"].path, self.media_type)
        client = client_of(self.request.scope)
        return Job(key, size, rows, self.state["arrived"], self.state.get("trace"), client)

    async def gone(self) -> None:
        """Return when the client has closed its connection."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


def _go_on() -> None:
    """Never stop: what runs on the event loop is short."""


def _ignore(size: int) -> None:
    """Count nothing: a small body is not worth it."""
