"""Engine: when a request is computed, and beside which others.

Small requests are computed on the event loop, all that arrived in the same turn of it together: nothing
waits for a window to fill, and rows gather just while the loop is busy. Large requests are computed on
threads, from the parsing of their bytes to the writing of the answer, in the order of their arrival.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from app.instances import Asked
from app.problems import ProblemError
from model.features import FloatArray

#: Bodies up to this size are handled on the event loop. Measured with 8 members of dim 15: 4 KB of rows take 0.3 ms
#: from bytes to answer, five times a hand-over to a thread and back.
INLINE_BYTES = 4096
#: Rows solved together on the event loop, which is busy for that time. Measured: 0.4 ms.
INLINE_ROWS = 64
#: Large requests computed at a time: while one solves, on all cores and without the interpreter's lock, the
#: next one's JSON is read.
LARGE_AT_ONCE = 2


T = TypeVar("T")


class _Small(NamedTuple):
    asked: Asked
    future: asyncio.Future[FloatArray]


@dataclass
class Load:
    """How much is waiting, and how quickly it is worked off."""

    queued_rows: int = 0
    rows_per_s: float = 0.0
    on_change: Callable[[float], None] = lambda rows: None

    def add(self, rows: int) -> None:
        """Take rows into the queue, or out of it."""
        self.queued_rows += rows
        self.on_change(self.queued_rows)

    def wait_s(self) -> float:
        """Seconds that what is queued now will take; 0 before anything was measured."""
        return self.queued_rows / self.rows_per_s if self.rows_per_s else 0.0

    def worked(self, rows: int, seconds: float) -> None:
        """Take a finished piece of work into the running average."""
        if seconds > 0 and rows:
            rate = rows / seconds
            self.rows_per_s += (rate - self.rows_per_s) * (0.1 if self.rows_per_s else 1.0)


@dataclass
class Engine:
    """Computes requests within the limits of the queue and the deadline.

    Attributes:
        max_queue_rows: rows that may wait or be computed; more are refused.
        deadline_s: from a request's arrival until it is given up.
        on_wait: called with the seconds that a large request waited for a thread.
        on_batch: called with (rows, requests, seconds) of everything solved together on the event loop.
    """

    max_queue_rows: int
    deadline_s: float
    on_batch: Callable[[int, int, float], None] = lambda rows, requests, seconds: None
    on_wait: Callable[[float], None] = lambda seconds: None
    load: Load = field(default_factory=Load)
    _small: deque[_Small] = field(default_factory=deque)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(LARGE_AT_ONCE, thread_name_prefix="large")
    )

    async def scores(self, asked: Asked) -> FloatArray:
        """Scores of a small request's rows, computed together with those that came in the same turn.

        Raises:
            ProblemError: 422 naming each bad row.
        """
        if not isinstance(asked.rows, list):
            return asked.served.model.scores(asked.columns())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[FloatArray] = loop.create_future()
        if not self._small:
            # Runs after everything that is ready now, so after every request that is already there.
            loop.call_soon(self._solve_small)
        self._small.append(_Small(asked, future))
        return await future

    async def large(self, work: Callable[[], T], rows: int, gone: Callable[[], Awaitable[None]]) -> T:
        """Run ``work`` on a thread, unless its client is gone or its time is up before a thread is free.

        Args:
            work: what to do.
            rows: an estimate of its size, for the queue's account.
            gone: returns when the client is gone.

        Raises:
            ProblemError: 503 when the queue is full; 504 past the deadline; 499 for a client that is gone.
        """
        self.admit(rows)
        loop = asyncio.get_running_loop()
        arrived = time.monotonic()
        self.load.add(rows)

        def timed() -> T:
            started = time.monotonic()
            self.on_wait(started - arrived)
            if started > arrived + self.deadline_s:
                raise self._expired()
            result = work()
            self.load.worked(rows, (time.monotonic() - started) / LARGE_AT_ONCE)
            return result

        task = self._threads.submit(timed)
        # However it ends, it leaves the account when a thread is done with it, or never began.
        task.add_done_callback(lambda _: loop.call_soon_threadsafe(self.load.add, -rows))
        answer = asyncio.wrap_future(task)
        client = asyncio.ensure_future(gone())
        try:
            either: set[asyncio.Future[Any]] = {answer, client}
            await asyncio.wait(either, timeout=self.deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if client.done():
                raise ProblemError(499, "the client closed the connection before the answer")
            raise self._expired()
        finally:
            # Work that no thread has begun is dropped; what runs, runs to its end.
            answer.cancel()
            client.cancel()

    def _solve_small(self) -> None:
        """Solve what waits, up to ``INLINE_ROWS`` rows of one model, and come back for the rest."""
        served = self._small[0].asked.served
        batch: list[_Small] = []
        rows: list[Any] = []
        while self._small and self._small[0].asked.served is served and len(rows) < INLINE_ROWS:
            small = self._small.popleft()
            # A client that is gone is not computed for.
            if not small.future.done():
                batch.append(small)
                rows.extend(small.asked.rows)
        if self._small:
            asyncio.get_running_loop().call_soon(self._solve_small)
        if not batch:
            return
        started = time.perf_counter()
        try:
            scores = served.model.scores(served.model.features.encode(rows))
        except Exception:
            # One request's failure is its own: each is tried alone.
            for small in batch:
                _settle(small)
        else:
            start = 0
            for small in batch:
                stop = start + len(small.asked.rows)
                small.future.set_result(scores[start:stop])
                start = stop
        self.on_batch(len(rows), len(batch), time.perf_counter() - started)

    def admit(self, rows: int) -> None:
        """Refuse a request that would wait too long.

        Raises:
            ProblemError: 503 with Retry-After: when the queue will have been worked off.
        """
        wait_s = self.load.wait_s()
        if self.load.queued_rows and (self.load.queued_rows + rows > self.max_queue_rows or wait_s > self.deadline_s):
            seconds = max(1, math.ceil(wait_s))
            raise ProblemError(
                503,
                f"overloaded: {self.load.queued_rows} rows are waiting; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def close(self) -> None:
        """Let the threads go when they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _expired(self) -> ProblemError:
        return ProblemError(504, f"no answer within the deadline of {self.deadline_s:g} seconds")


def _settle(small: _Small) -> None:
    try:
        small.future.set_result(small.asked.served.model.scores(small.asked.columns()))
    except Exception as error:
        small.future.set_exception(error)
