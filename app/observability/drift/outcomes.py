"""Outcomes: labels that come after their predictions, joined by request id, as sums of how good these were."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eigenserve.app.observability.drift.windows import DAY_S, KEPT_DAYS, Block
from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring import AccuracySums

log = logging.getLogger("eigenserve.drift")

#: How long a worker's outcomes of other workers' requests lie there to be taken.
INBOX_S = 60.0
#: What a worker may leave there at a time: far above what 20,000 waiting predictions have, and parsed in 0.1 s.
INBOX_BYTES, INBOX_FILES = 8 * 2**20, 10_000
_INBOX = "outcomes-"


class Outcome(NamedTuple):
    """Hold one label: of a row of a request."""

    request_id: str
    row: int
    value: Any


class _Answered(NamedTuple):
    served: ServedModel
    scores: FloatArray


class Outcomes:
    """Keep the scores of recent requests, and add up how good they were when their outcomes come.

    Args:
        rows: predictions that are kept; the oldest go first. 0 keeps none.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._answered: dict[str, _Answered] = {}
        self._kept = 0
        self._lock = threading.Lock()
        self._blocks: dict[ServedModel, list[Block]] = {}
        self._taken: set[str] = set()
        self._folder: Path | None = None
        self._left: deque[tuple[float, int]] = deque()
        self._is_full = False

    def share(self, folder: Path) -> None:
        """Hand outcomes of other workers' requests on to them, in a folder of theirs."""
        self._folder = folder

    def note(self, request_id: str | None, served: ServedModel, scores: FloatArray) -> None:
        """Keep a request's scores (N, O)."""
        if not request_id or len(scores) > self.rows:
            return
        with self._lock:
            before = self._answered.pop(request_id, None)
            self._answered[request_id] = _Answered(served, scores)
            self._kept += len(scores) - (0 if before is None else len(before.scores))
            while self._kept > self.rows:
                self._kept -= len(self._answered.pop(next(iter(self._answered))).scores)

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Add outcomes to the sums; return those whose request is not known here.

        Raises:
            ValueError: an outcome that is not a label of its model, or a row that its request did not have; nothing is
                added then.
        """
        by_model: dict[ServedModel, tuple[list[FloatArray], list[Any]]] = {}
        unknown = []
        for i, outcome in enumerate(outcomes):
            answered = self._answered.get(outcome.request_id)
            if answered is None:
                unknown.append(outcome)
                continue
            if not 0 <= outcome.row < len(answered.scores):
                raise ValueError(f"outcome {i} must be of row 0 to {len(answered.scores) - 1}; got row {outcome.row}")
            scores, values = by_model.setdefault(answered.served, ([], []))
            scores.append(answered.scores[outcome.row])
            values.append(outcome.value)
        labelled = {served: AccuracySums(served.model).labels(values) for served, (_, values) in by_model.items()}
        for served, (scores, _) in by_model.items():
            self.add(served, np.stack(scores), labelled[served])
        return unknown

    def add(self, served: ServedModel, scores: FloatArray, labels: FloatArray) -> None:
        """Add rows whose labels are known: scores (N, O), labels (N,) as ``AccuracySums.labels`` gives them."""
        sums, now = AccuracySums(served.model).of(scores, labels), time.time()
        with self._lock:
            blocks = self._blocks.setdefault(served, [])
            if not blocks or now - blocks[-1].started >= DAY_S:
                blocks.append(Block(now, now, 0, np.zeros_like(sums)))
                del blocks[:-KEPT_DAYS]
            blocks[-1].ended, blocks[-1].rows = now, blocks[-1].rows + len(labels)
            blocks[-1].counts += sums

    def forward(self, outcomes: Sequence[Outcome]) -> bool:
        """Leave outcomes to the other workers; return whether there are any, and room for so many."""
        if self._folder is None:
            return False
        content, now = json.dumps(outcomes).encode(), time.monotonic()
        with self._lock:
            while self._left and now - self._left[0][0] > INBOX_S:
                self._left.popleft()
            size = len(content) + sum(size for _, size in self._left)
            was_full, self._is_full = self._is_full, size > INBOX_BYTES or len(self._left) >= INBOX_FILES
            if not self._is_full:
                self._left.append((now, len(content)))
        if self._is_full:
            if not was_full:
                log.error(
                    "outcomes are not handed on", extra={"reason": f"more than {INBOX_BYTES} bytes in {INBOX_S:g} s"}
                )
            return False
        name = f"{_INBOX}{secrets.token_hex(8)}.json"
        draft = self._folder / f".{name}"
        draft.write_bytes(content)
        os.replace(draft, self._folder / name)
        self._taken.add(name)
        return True

    def tick(self, served: Iterable[ServedModel]) -> bool:
        """Take what other workers left; forget versions not ``served``. Return whether there was anything."""
        current = set(served)
        with self._lock:
            for gone in self._blocks.keys() - current:
                del self._blocks[gone]
        if self._folder is None:
            return False
        changed, there = False, set()
        for path in self._folder.glob(f"{_INBOX}*.json"):
            there.add(path.name)
            try:
                if time.time() - path.stat().st_mtime > INBOX_S:
                    path.unlink(missing_ok=True)
                elif path.name not in self._taken:
                    outcomes = [Outcome(*entry) for entry in json.loads(path.read_text())]
                    changed |= len(self.settle(outcomes)) < len(outcomes)
            except FileNotFoundError:
                continue  # another worker has removed it
            except (OSError, ValueError) as error:
                log.error("outcomes cannot be counted", extra={"reason": str(error)})
        self._taken = there
        return changed

    def blocks(self, served: ServedModel) -> list[Block]:
        """Return copies of a version's blocks."""
        with self._lock:
            return [Block(b.started, b.ended, b.rows, b.counts.copy()) for b in self._blocks.get(served, ())]
