"""Windows: the rows that one model version answered lately, as counts in the bins of its sketch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring import Counting, Counts

#: Rows counted between two ticks, of all that are answered: a share of many, all of few. Counting a row takes a tenth
#: of solving it (measured, 0.19 of 1.8 us), so that this many a second are a thousandth of a core.
COUNTED_ROWS = 4096
#: Rows explained between two ticks: 20 us each (measured), a quarter of a percent of a core.
EXPLAINED_ROWS = 128
#: Blocks of the recent window: it is that much longer than asked for at most, unless one tick brings more.
RECENT_BLOCKS = 8
HOUR_S, DAY_S = 3600.0, 86_400.0
#: Days of outcomes that are added up, one block each.
KEPT_DAYS = 30


class Batch(NamedTuple):
    """Hold rows that were answered: columns (N, F) and scores (N, O)."""

    columns: FloatArray
    scores: FloatArray


@dataclass
class Block:
    """Hold counts of consecutive rows.

    Attributes:
        started, ended: when the first and the last were counted (Unix time).
        rows: how many were counted.
        counts: in the bins of the sketch; of outcomes, sums (see ``AccuracySums``).
    """

    started: float
    ended: float
    rows: int
    counts: Any


@dataclass
class Windows:
    """Count the rows of one version: in blocks of some rows for the recent window, in hours for the day.

    ``add`` is called while requests are answered, and only takes note; ``tick`` counts, on another thread.

    Attributes:
        counting: how.
        recent_rows: of the recent window.
    """

    counting: Counting
    recent_rows: int
    recent: deque[Block] = field(default_factory=deque)
    hours: deque[Block] = field(default_factory=deque)
    _waiting: list[Batch] = field(default_factory=list)
    _room: int = COUNTED_ROWS
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, columns: FloatArray, scores: FloatArray) -> None:
        """Take note of answered rows. Of more than there is room for until the next tick a spread of them counts."""
        room = self._room  # read without the lock: a few rows more do no harm
        if room <= 0:
            return
        if len(columns) > room:
            step = -(-len(columns) // room)
            # Copied, so that what a large request has read is not kept.
            columns, scores = columns[step // 2 :: step].copy(), scores[step // 2 :: step].copy()
        self._waiting.append(Batch(columns, scores))
        self._room = room - len(columns)

    def tick(self, now: float) -> bool:
        """Count what was noted since the last tick; return whether there was anything."""
        waiting, self._waiting, self._room = self._waiting, [], COUNTED_ROWS
        with self._lock:
            while self.hours and now - self.hours[0].started > DAY_S:
                self.hours.popleft()
        if not waiting:
            return False
        columns, scores = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
        counts = self.counting.zeros()
        self.counting.count(columns, scores, counts)
        self.counting.count_contributions(columns[:: -(-len(columns) // EXPLAINED_ROWS)], counts)
        with self._lock:
            self._keep(now, len(columns), counts)
        return True

    def blocks(self) -> tuple[list[Block], list[Block]]:
        """Return copies of the recent blocks and of the hours."""
        with self._lock:
            copies = [[Block(b.started, b.ended, b.rows, b.counts.copy()) for b in kept] for kept in self._kept]
        return copies[0], copies[1]

    @property
    def _kept(self) -> tuple[deque[Block], deque[Block]]:
        return self.recent, self.hours

    def _keep(self, now: float, rows: int, counts: Counts) -> None:
        if not self.recent or self.recent[-1].rows >= self.recent_rows / RECENT_BLOCKS:
            self.recent.append(Block(now, now, 0, self.counting.zeros()))
        if not self.hours or now - self.hours[-1].started >= HOUR_S:
            self.hours.append(Block(now, now, 0, self.counting.zeros()))
        for block in (self.recent[-1], self.hours[-1]):
            block.ended, block.rows = now, block.rows + rows
            block.counts += counts
        while sum(block.rows for block in self.recent) - self.recent[0].rows >= self.recent_rows:
            self.recent.popleft()


def newest(blocks: Iterable[Block], rows: int) -> list[Block]:
    """Return the newest of blocks that together have so many rows, or all."""
    chosen: list[Block] = []
    count = 0
    for block in sorted(blocks, key=lambda block: block.ended, reverse=True):
        if count >= rows:
            break
        chosen.append(block)
        count += block.rows
    return chosen
