"""Decide when a request is computed, and with which others.

Small requests are computed on the event loop, all that arrived in the same turn of it together: nothing
waits for a window to fill, and rows gather just while the loop is busy. Large and heavy requests are computed on
threads, in the order of their arrival (``app.engine.queue``).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eigenserve.app.engine.queue import Lane
from eigenserve.app.wire.answers import Scored, finite
from eigenserve.app.wire.requests import Asked

#: Bodies up to this size are handled on the event loop. Measured with 8 members of dim 15: 4 KB of rows take 0.3 ms
#: from bytes to answer, five times a hand-over to a thread and back.
INLINE_BYTES = 4096
#: Rows solved together on the event loop, which is busy for that time. Measured: 0.4 ms.
INLINE_ROWS = 64
#: Large requests computed at a time: while one solves, on all cores and without the interpreter's lock, the
#: next one's JSON is read.
LARGE_AT_ONCE = 2
#: Costly requests begun at a time; one of them computes, and they take turns, so that a short one need not wait for the
#: end of a long one.
HEAVY_AT_ONCE = 4


class _Small(NamedTuple):
    asked: Asked
    future: asyncio.Future[Scored]


@dataclass
class Engine:
    """Compute requests: small ones on the event loop, others in its lanes.

    Attributes:
        large: requests that are computed on threads, from their bytes to their answer.
        heavy: requests that take a multiple of a prediction's time per row; they have a separate thread, so
            that predictions never wait behind them.
        on_batch: called with (rows, requests, seconds) of everything solved together on the event loop.
    """

    large: Lane
    heavy: Lane
    on_batch: Callable[[int, int, float], None] = lambda rows, requests, seconds: None
    _small: deque[_Small] = field(default_factory=deque)

    async def scored(self, asked: Asked) -> Scored:
        """Return what is computed of a small request's rows, with those that came in the same turn.

        Raises:
            ProblemError: 422 naming each bad row, or the first one beyond float64.
        """
        if not isinstance(asked.rows, list):
            return _scored_alone(asked)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scored] = loop.create_future()
        if not self._small:
            # Runs after everything that is ready now, so after every request that is already there.
            loop.call_soon(self._solve_small)
        self._small.append(_Small(asked, future))
        return await future

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
            columns = served.model.features.encode(rows)
            scores = finite(served, served.model.scores(columns))
            warnings = served.model.checks.warnings(columns)
        except Exception:
            # One request's failure is its own: each is tried alone.
            for small in batch:
                _settle(small)
        else:
            start = 0
            for small in batch:
                part = slice(start, start + len(small.asked.rows))
                few = warnings[part] if len(warnings) else served.model.checks.none(part.stop - start)
                small.future.set_result(Scored(columns[part], scores[part], few))
                start = part.stop
        self.on_batch(len(rows), len(batch), time.perf_counter() - started)

    def close(self) -> None:
        """Let the threads go when they are done."""
        self.large.close()
        self.heavy.close()


def _settle(small: _Small) -> None:
    try:
        small.future.set_result(_scored_alone(small.asked))
    except Exception as error:
        small.future.set_exception(error)


def _scored_alone(asked: Asked) -> Scored:
    columns, model = asked.columns(), asked.served.model
    scores = finite(asked.served, model.scores(columns), asked.loc)
    return Scored(columns, scores, model.checks.warnings(columns))
