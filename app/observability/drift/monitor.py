"""DriftMonitor: all that is watched in one process, and reports of it over all workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigenserve.app.observability.drift.sharing import VersionKey, read_shared, write_shared
from eigenserve.app.observability.drift.windows import DAY_S, Block, Windows, newest
from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring import ChannelDrift, Counting, Counts, measure_drift

log = logging.getLogger("eigenserve.drift")

WINDOWS = ("recent", "day")


@dataclass(frozen=True)
class WindowReport:
    """Compare the rows of one window with training.

    Attributes:
        window: "recent" or "day".
        rows: how many were counted.
        since, until: when the first and the last came (Unix time); None without rows.
        channels: what is compared.
    """

    window: str
    rows: int
    since: float | None
    until: float | None
    channels: list[ChannelDrift]

    def document(self) -> dict[str, Any]:
        """Return its JSON form."""
        return {
            "rows": self.rows,
            "since": self.since,
            "until": self.until,
            "alarms": sum(channel.alarm for channel in self.channels),
            "channels": [channel.document() for channel in self.channels],
        }


class DriftMonitor:
    """Watch the served models that keep a sketch of their training rows.

    Args:
        enabled: whether anything is watched.
        recent_rows: of the recent window, over all workers.
        level: the chance that a window raises an alarm where nothing has changed.
    """

    def __init__(self, enabled: bool, recent_rows: int, level: float) -> None:
        self.enabled, self.recent_rows, self.level = enabled, recent_rows, level
        self._windows: dict[ServedModel, Windows | None] = {}
        self._folder: Path | None = None
        self._worker = 0

    def share(self, folder: Path, worker: int) -> None:
        """Share counts with the other workers, in a folder of theirs; called before anything is counted."""
        self._folder, self._worker = folder, worker

    def note(self, served: ServedModel, columns: FloatArray, scores: FloatArray) -> None:
        """Take note of answered rows: columns (N, F) and scores (N, O). Takes a microsecond; others count later."""
        if not self.enabled:
            return
        try:
            windows = self._windows[served]
        except KeyError:
            windows = self._windows[served] = self._begin(served)
        if windows is not None:
            windows.add(columns, scores)

    def tick(self, served: Iterable[ServedModel]) -> None:
        """Count what was noted, and share it. Forgets versions that are not ``served`` any more."""
        now, current, changed = time.time(), set(served), False
        for version, windows in list(self._windows.items()):
            if version not in current:
                # Noted before it went, it may be noted once more: that begins again, and goes at the next tick.
                del self._windows[version]
            elif windows is not None:
                changed |= windows.tick(now)
        if changed and self._folder is not None:
            mine = {_key(version): w.blocks() for version, w in list(self._windows.items()) if w is not None}
            try:
                write_shared(self._folder, self._worker, mine)
            except OSError as error:
                log.error("counts cannot be shared with other workers", extra={"reason": str(error)})

    def reports(self, served: ServedModel) -> list[WindowReport] | None:
        """Compare what a version answered, in all workers, with its training; None where it keeps no sketch.

        What came within the last second may not be counted yet.
        """
        windows = self._windows.get(served) or self._begin(served)
        if windows is None:
            return None
        kinds = [windows.blocks()]
        if self._folder is not None:
            kinds += [blocks for key, blocks in read_shared(self._folder, self._worker) if key == _key(served)]
        now = time.time()
        recent = newest((block for blocks, _ in kinds for block in blocks), self.recent_rows)
        day = [block for _, blocks in kinds for block in blocks if now - block.started <= DAY_S]
        return [
            self._report(windows.counting, name, blocks) for name, blocks in zip(WINDOWS, (recent, day), strict=True)
        ]

    def _begin(self, served: ServedModel) -> Windows | None:
        return None if served.counting is None else Windows(served.counting, self.recent_rows)

    def _report(self, counting: Counting, name: str, blocks: list[Block]) -> WindowReport:
        counts: Counts = np.sum([counting.zeros(), *(block.counts for block in blocks)], axis=0)
        return WindowReport(
            name,
            sum(block.rows for block in blocks),
            min((block.started for block in blocks), default=None),
            max((block.ended for block in blocks), default=None),
            measure_drift(counting.sketch, counts, self.level),
        )


def _key(served: ServedModel) -> VersionKey:
    return served.name, served.version, served.digest
