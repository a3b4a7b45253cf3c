"""DriftMonitor: all that is watched in one process, and reports of it over all workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigenserve.app.observability.drift.outcomes import Outcome, Outcomes
from eigenserve.app.observability.drift.sharing import Kept, VersionKey, read_shared, write_shared
from eigenserve.app.observability.drift.windows import DAY_S, Block, Windows, newest
from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring import AccuracySums, ChannelDrift, Counting, Counts, measure_drift

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
        outcome_rows: predictions that are kept for outcomes by request id.

    Attributes:
        outcomes: labels that come later.
    """

    def __init__(self, enabled: bool, recent_rows: int, level: float, outcome_rows: int) -> None:
        self.outcomes = Outcomes(outcome_rows)
        self.enabled, self.recent_rows, self.level = enabled, recent_rows, level
        self._windows: dict[ServedModel, Windows | None] = {}
        self._folder: Path | None = None
        self._worker = 0
        self._outcomes_changed = False

    def share(self, folder: Path, worker: int) -> None:
        """Share counts with the other workers, in a folder of theirs; called before anything is counted."""
        self._folder, self._worker = folder, worker
        self.outcomes.share(folder)

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
        now, current = time.time(), set(served)
        changed = self.outcomes.tick(current) | self._outcomes_changed
        self._outcomes_changed = False
        for version, windows in list(self._windows.items()):
            if version not in current:
                # Noted before it went, it may be noted once more: that begins again, and goes at the next tick.
                del self._windows[version]
            elif windows is not None:
                changed |= windows.tick(now)
        if changed and self._folder is not None:
            mine = {_key(version): self._kept(version) for version in current}
            try:
                write_shared(self._folder, self._worker, mine)
            except OSError as error:
                log.error("counts cannot be shared with other workers", extra={"reason": str(error)})

    def reports(self, served: ServedModel) -> list[WindowReport] | None:
        """Compare what a version answered, in all workers, with its training; None where it keeps no sketch.

        What came within the last second may not be counted yet.
        """
        if served.counting is None:
            return None
        kept, oldest = self._all_kept(served), time.time() - DAY_S
        recent = [block for each in kept for block in each.recent if block.ended >= oldest]
        day = [block for each in kept for block in each.hours if block.started >= oldest]
        return [
            self._report(served.counting, name, blocks)
            for name, blocks in zip(WINDOWS, (newest(recent, self.recent_rows), day), strict=True)
        ]

    def add_outcomes(self, served: ServedModel, scores: FloatArray, labels: FloatArray) -> None:
        """Add rows whose labels are known (see ``Outcomes.add``)."""
        self.outcomes.add(served, scores, labels)
        self._outcomes_changed = True

    def settle(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        """Add outcomes by request id, and leave those whose request is not known here to the other workers.

        Returns:
            How many are ``counted``, ``refused`` (see ``Settled``), ``forwarded`` and ``unknown``.
        """
        counted, refused, unknown = self.outcomes.settle(outcomes)
        self._outcomes_changed = True
        forwarded = len(unknown) if unknown and self.enabled and self.outcomes.forward(unknown) else 0
        lost = len(unknown) - forwarded
        self.outcomes.on_settled("unknown", lost)
        return {"counted": counted, "refused": refused, "forwarded": forwarded, "unknown": lost}

    def accuracy(self, served: ServedModel) -> FloatArray:
        """Return the sums of a version's outcomes, in all workers (see ``AccuracySums``)."""
        blocks = [block.counts for kept in self._all_kept(served) for block in kept.outcomes]
        return np.sum([np.zeros(AccuracySums(served.model).size), *blocks], axis=0)

    def _kept(self, served: ServedModel) -> Kept:
        windows = self._windows.get(served)
        return Kept(*(windows.blocks() if windows is not None else ([], [])), self.outcomes.blocks(served))

    def _all_kept(self, served: ServedModel) -> list[Kept]:
        if self._folder is None:
            return [self._kept(served)]
        others = read_shared(self._folder, self._worker)
        return [self._kept(served), *(kept for key, kept in others if key == _key(served))]

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
