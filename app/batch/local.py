"""Score the parts of a table on this machine, with answers in the order of the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from eigenserve.app.batch.scorer import ScoredPart, Scorer
from eigenserve.app.batch.table import Table

#: Parts scored at a time: while one is solved, on all cores and without the interpreter's lock, the next one is read
#: and the last one written out.
AT_ONCE = 2


class Engine(Protocol):
    """Score a table."""

    def __call__(self, scorer: Scorer, table: Table, first: int) -> Iterator[ScoredPart]:
        """Score the table's parts from part ``first`` on, in their order."""


def score_here(scorer: Scorer, table: Table, first: int) -> Iterator[ScoredPart]:
    """Score on this machine: all its cores, a few parts in memory (an ``Engine``)."""
    waiting: deque[tuple[float, Future[ScoredPart]]] = deque()

    def oldest() -> ScoredPart:
        done, future = waiting.popleft()
        scored = future.result()
        table.done = done
        return scored

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="score") as pool:
        try:
            for part in table.parts(scorer.part_rows, first):
                waiting.append((part.done, pool.submit(scorer.score, part)))
                if len(waiting) > AT_ONCE:
                    yield oldest()
            while waiting:
                yield oldest()
        finally:
            pool.shutdown(cancel_futures=True)
