"""Recorder: hand over what is answered, without ever waiting for where it is written.

A sink takes batches on a thread. What waits for it is bounded in rows and in bytes; where that is reached, rows are
dropped and counted, or requests are refused, as the setting says.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from eigenserve.app.observability.metrics import Metrics
from eigenserve.app.observability.records.answered import Answered
from eigenserve.app.problems import ProblemError

log = logging.getLogger("eigenserve.records")

WhenFull = Literal["drop", "refuse"]
#: Takes the number of rows that can never be written, and why.
Lose = Callable[[int, Exception], None]
#: Between attempts to write what could not be written, in seconds: the first and the longest.
RETRY_S, MAX_RETRY_S = 0.5, 15.0
#: Seconds after which a sink hears that nobody asks: its place may have to hear that the server lives, and what it
#: holds for the next rows may be given back.
IDLE_S = 2.0


class Sink(Protocol):
    """Describe where records go: its URL, and "parts" or "events"."""

    name: str
    kind: str

    def open(self) -> None:
        """Begin; may fail, to be tried again."""

    def take(self, batches: list[Answered], lose: Lose) -> None:
        """Write batches; if it fails it is called with the same ones again, and goes on where it failed.

        A batch that cannot be written, whenever it is tried, must not keep others waiting: ``lose`` is called instead.
        """

    def waiting(self, rows: int) -> None:
        """Note, now and then, how many rows wait to be taken."""

    def close(self, dropped: int) -> None:
        """End: all that was handed over is written."""


class Buffer:
    """Hold what waits for one sink, and the thread that hands it over.

    Attributes:
        dropped: rows that had no room, or could not be written.
        failing: whether the last attempt to write failed.
    """

    def __init__(self, sink: Sink, most: int, most_bytes: int, full_rows: int, wait_s: float, metrics: Metrics) -> None:
        """Create a buffer.

        Args:
            sink: where it goes.
            most, most_bytes: rows that may wait, and what they may hold.
            full_rows: rows that are taken as soon as they are there.
            wait_s: seconds after which fewer are.
            metrics: counts rows.
        """
        self.sink, self.dropped, self.failing = sink, 0, False
        self._most, self._full_rows, self._wait_s = most, full_rows, wait_s
        self._most_bytes = most_bytes
        self._count_dropped = metrics.records_dropped.inc
        self._written = metrics.records_written.labels(sink.kind)
        self._waiting = metrics.records_waiting.labels(sink.kind)
        self._batches: deque[Answered] = deque()
        self._rows = self._bytes = self._lost = 0
        self._changed = threading.Condition()
        self._ends: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"records {sink.name}", daemon=True)
        self._thread.start()

    def has_room(self, rows: int, size: int) -> bool:
        """Return whether so many rows of so many bytes may be put."""
        # What is larger than the buffer is let in where nothing waits.
        return not self._rows or (self._rows + rows <= self._most and self._bytes + size <= self._most_bytes)

    @property
    def _is_enough(self) -> bool:
        """Whether what waits is enough for a part: by its bytes, it is taken well before there is no more room."""
        return self._rows >= self._full_rows or 4 * self._bytes >= self._most_bytes

    def put(self, batch: Answered, size: int) -> bool:
        """Hand a batch of so many bytes over; False where it has no room."""
        with self._changed:
            if not self.has_room(len(batch), size):
                return False
            self._batches.append(batch)
            first = not self._rows
            self._rows += len(batch)
            self._bytes += size
            self._waiting.inc(len(batch))
            if first or self._is_enough:
                self._changed.notify()
        return True

    def drop(self, rows: int) -> None:
        """Count rows that are not recorded."""
        with self._changed:
            self.dropped += rows
        self._count_dropped(rows)

    def close(self, timeout_s: float) -> None:
        """Write what waits, but not for longer than so many seconds."""
        with self._changed:
            self._ends = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s + 1.0)
        if self._rows or self._thread.is_alive():
            log.error("records were lost at the end", extra={"sink": self.sink.name, "rows": self._rows})

    def _run(self) -> None:
        if not self._insist(self.sink.open):
            return
        while True:
            with self._changed:
                changed = self._changed.wait_for(lambda: self._rows or self._ends is not None, IDLE_S)
                closing = self._ends is not None
            if not changed:
                self._insist(lambda: self.sink.waiting(0))
                continue
            if not closing:
                self._gather()
            with self._changed:
                batches, rows, size = list(self._batches), self._rows, self._bytes
                self._batches.clear()
                closing = self._ends is not None
            # Not taken off the account before they are written: what is written slowly fills the buffer.
            if batches:
                self._lost = 0
                if not self._insist(lambda: self.sink.take(batches, self._lose)):  # noqa: B023 (called at once)
                    return
                taken = sum(map(len, batches))
                batches.clear()  # nothing is held while the next rows are waited for
                with self._changed:
                    self._rows -= taken
                    self._bytes -= size
                    self._waiting.dec(taken)
                self._written.inc(taken - self._lost)
                continue
            if closing and not rows:
                self._insist(lambda: self.sink.close(self.dropped))
                return

    def _gather(self) -> None:
        """Wait until there is enough for a part, or the oldest row has waited for long enough."""
        ends, step = time.monotonic() + self._wait_s, max(0.5, self._wait_s / 10)
        while (left := ends - time.monotonic()) > 0:
            self._insist(lambda: self.sink.waiting(self._rows))
            with self._changed:
                if self._changed.wait_for(lambda: self._is_enough or self._ends is not None, min(left, step)):
                    return

    def _lose(self, rows: int, error: Exception) -> None:
        log.error("records are lost", extra={"sink": self.sink.name, "rows": rows, "reason": repr(error)})
        self._lost += rows
        self.drop(rows)

    def _insist(self, work: Callable[[], None]) -> bool:
        """Do it again until it works; False where the time is up first."""
        pause = RETRY_S
        while True:
            try:
                work()
                self.failing = False
                return True
            except Exception as error:
                self.failing = True
                log.error("records cannot be written", extra={"sink": self.sink.name, "reason": repr(error)})
            with self._changed:
                self._changed.wait_for(lambda: self._ends is not None, pause)
                if self._ends is not None and time.monotonic() + RETRY_S > self._ends:
                    return False
            time.sleep(RETRY_S)
            pause = min(2 * pause, MAX_RETRY_S)


class Recorder:
    """Record answered rows in every sink, or in none.

    Attributes:
        shares: route -> the share of its requests that are recorded; 1 for others.
    """

    def __init__(self, buffers: list[Buffer], when_full: WhenFull, shares: Mapping[str, float]) -> None:
        self.shares = shares
        self._buffers, self._when_full = buffers, when_full
        self._random = random.Random()

    def samples(self, route: str) -> bool:
        """Draw whether a request is recorded."""
        share = self.shares.get(route, 1.0)
        return share >= 1.0 or self._random.random() < share

    def admit(self) -> None:
        """Refuse a request that could not be recorded, before anything is computed for it.

        Raises:
            ProblemError: 503.
        """
        self._check_room(1, 0)

    def record(self, batch: Answered) -> None:
        """Hand over rows.

        Raises:
            ProblemError: 503 where they have no room, and what is not recorded is to be refused.
        """
        size = batch.size
        self._check_room(len(batch), size)
        for buffer in self._buffers:
            if not buffer.put(batch, size):
                buffer.drop(len(batch))
                if self._when_full == "refuse":
                    raise _full(buffer)

    def _check_room(self, rows: int, size: int) -> None:
        if self._when_full == "refuse":
            for buffer in self._buffers:
                if not buffer.has_room(rows, size):
                    raise _full(buffer)

    def close(self, timeout_s: float) -> None:
        """Write what waits, but not for longer than so many seconds."""
        for buffer in self._buffers:
            buffer.close(timeout_s)


def _full(buffer: Buffer) -> ProblemError:
    if buffer.failing:
        # Where it lies is the operator's business, and in the log.
        wait_s, why = (
            MAX_RETRY_S,
            "decisions cannot be recorded, since what records them fails, and none is made without",
        )
    else:
        wait_s, why = 1.0, "overloaded: decisions cannot be recorded as fast as they are made"
    return ProblemError(503, f"{why}; try again in {wait_s:.0f} s", headers={"Retry-After": f"{wait_s:.0f}"})
