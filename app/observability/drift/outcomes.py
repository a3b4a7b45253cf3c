"""Outcomes: labels that come after their predictions, joined by request id, as sums of how good these were."""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
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


class Settled(NamedTuple):
    """Hold what became of outcomes.

    Attributes:
        counted: how many were added to the sums, or replaced an earlier one of their row.
        refused: how many are not a label of the model that predicted their row, or of no row of the request.
        unknown: those whose request is not known here.
    """

    counted: int
    refused: int
    unknown: list[Outcome]


class _Answered(NamedTuple):
    served: ServedModel
    scores: FloatArray
    #: Row -> its label so far, and the block that has it.
    given: dict[int, tuple[float, Block]]


class _Left(NamedTuple):
    """Hold what was left to other workers: when (monotonic clock), and in which file."""

    since: float
    size: int
    name: str
    rows: int


class Outcomes:
    """Keep the scores of recent requests, and add up how good they were when their outcomes come.

    Args:
        rows: predictions that are kept; the oldest go first. 0 keeps none.

    Attributes:
        on_settled: called with "counted", "refused" or "unknown" and how many outcomes were.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.on_settled: Callable[[str, int], None] = lambda result, rows: None
        # In an array and a model by request, not in a tuple for each: the garbage collector would walk all of them.
        self._scores: OrderedDict[str, FloatArray] = OrderedDict()
        self._served: dict[str, ServedModel] = {}
        self._given: dict[str, dict[int, tuple[float, Block]]] = {}
        self._kept = 0
        self._lock = threading.Lock()
        self._blocks: dict[ServedModel, list[Block]] = {}
        self._taken: set[str] = set()
        self._folder: Path | None = None
        self._left: deque[_Left] = deque()
        self._name = secrets.token_hex(4)
        self._is_full = False

    def share(self, folder: Path) -> None:
        """Hand outcomes of other workers' requests on to them, in a folder of theirs."""
        self._folder = folder

    def note(self, request_id: str | None, served: ServedModel, scores: FloatArray) -> None:
        """Keep a request's scores (N, O)."""
        if not request_id or len(scores) > self.rows:
            return
        with self._lock:
            if request_id in self._scores:
                self._kept -= len(self._scores.pop(request_id))
                self._given.pop(request_id, None)
            self._scores[request_id], self._served[request_id] = scores, served
            self._kept += len(scores)
            while self._kept > self.rows:
                oldest, gone = self._scores.popitem(last=False)
                self._kept -= len(gone)
                del self._served[oldest]
                self._given.pop(oldest, None)

    def settle(self, outcomes: Sequence[Outcome]) -> Settled:
        """Add outcomes to the sums. A later one of the same row takes the place of an earlier one."""
        labelled: dict[ServedModel, dict[tuple[str, int], tuple[_Answered, float]]] = {}
        sums: dict[ServedModel, AccuracySums] = {}
        unknown: list[Outcome] = []
        refused = 0
        for outcome in outcomes:
            answered = self._find(outcome.request_id)
            if answered is None:
                unknown.append(outcome)
                continue
            served = answered.served
            label = sums.setdefault(served, AccuracySums(served.model)).label(outcome.value)
            if math.isfinite(label) and 0 <= outcome.row < len(answered.scores):
                labelled.setdefault(served, {})[outcome.request_id, outcome.row] = answered, label
            else:
                refused += 1
        for served, rows in labelled.items():
            self._replace(
                served, sums[served], [(answered, row, label) for (_, row), (answered, label) in rows.items()]
            )
        counted = len(outcomes) - len(unknown) - refused
        self.on_settled("counted", counted)
        self.on_settled("refused", refused)
        return Settled(counted, refused, unknown)

    def _find(self, request_id: str) -> _Answered | None:
        with self._lock:
            scores = self._scores.get(request_id)
            if scores is None:
                return None
            return _Answered(self._served[request_id], scores, self._given.setdefault(request_id, {}))

    def add(self, served: ServedModel, scores: FloatArray, labels: FloatArray) -> None:
        """Add rows whose labels are known: scores (N, O), labels (N,) as ``AccuracySums.labels`` gives them."""
        added = AccuracySums(served.model).of(scores, labels)
        with self._lock:
            self._add(served, added, len(labels))
        self.on_settled("counted", len(labels))

    def _replace(self, served: ServedModel, sums: AccuracySums, rows: list[tuple[_Answered, int, float]]) -> None:
        """Add the labels of rows, in place of those that they had."""
        with self._lock:
            new = [each for each in rows if each[0].given.get(each[1], (None,))[0] != each[2]]
            if not new:
                return
            before: dict[int, tuple[Block, list[FloatArray], list[float]]] = {}
            for answered, row, _ in new:
                if row in answered.given:
                    label, block = answered.given[row]
                    _, scores, labels = before.setdefault(id(block), (block, [], []))
                    scores.append(answered.scores[row])
                    labels.append(label)
            for block, scores, labels in before.values():
                block.rows -= len(labels)
                block.counts -= sums.of(np.stack(scores), np.array(labels))
            added = sums.of(np.stack([answered.scores[row] for answered, row, _ in new]), np.array([n[2] for n in new]))
            block = self._add(served, added, len(new))
            for answered, row, label in new:
                answered.given[row] = label, block

    def _add(self, served: ServedModel, sums: FloatArray, rows: int) -> Block:
        now, blocks = time.time(), self._blocks.setdefault(served, [])
        if not blocks or now - blocks[-1].started >= DAY_S:
            blocks.append(Block(now, now, 0, np.zeros_like(sums)))
            del blocks[:-KEPT_DAYS]
        blocks[-1].ended, blocks[-1].rows = now, blocks[-1].rows + rows
        blocks[-1].counts += sums
        return blocks[-1]

    def forward(self, outcomes: Sequence[Outcome]) -> bool:
        """Leave outcomes to the other workers; return whether there are any, and room for so many."""
        if self._folder is None:
            return False
        content, now = json.dumps(outcomes).encode(), time.monotonic()
        name = f"{_INBOX}{secrets.token_hex(8)}.json"
        self._expire(self._folder)
        with self._lock:
            size = len(content) + sum(left.size for left in self._left)
            was_full, self._is_full = self._is_full, size > INBOX_BYTES or len(self._left) >= INBOX_FILES
            if not self._is_full:
                self._left.append(_Left(now, len(content), name, len(outcomes)))
        if self._is_full:
            if not was_full:
                log.error(
                    "outcomes are not handed on", extra={"reason": f"more than {INBOX_BYTES} bytes in {INBOX_S:g} s"}
                )
            return False
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
        self._expire(self._folder)
        changed, there = False, set()
        for path in self._folder.glob(f"{_INBOX}*.json"):
            there.add(path.name)
            try:
                if time.time() - path.stat().st_mtime > INBOX_S:
                    path.unlink(missing_ok=True)
                elif path.name not in self._taken:
                    settled = self.settle([Outcome(*entry) for entry in json.loads(path.read_text())])
                    if taken := settled.counted + settled.refused:
                        changed = True
                        path.with_suffix(f".{self._name}.taken").write_text(str(taken))
            except FileNotFoundError:
                continue  # another worker has removed it
            except (OSError, ValueError) as error:
                log.error("outcomes cannot be counted", extra={"reason": str(error)})
        self._taken = there
        return changed

    def _expire(self, folder: Path) -> None:
        """Count as unknown what no worker took in time, of what this one has left to them."""
        expired = []
        with self._lock:
            while self._left and time.monotonic() - self._left[0].since > INBOX_S:
                expired.append(self._left.popleft())
        for left in expired:
            taken = 0
            for path in folder.glob(f"{Path(left.name).stem}.*.taken"):
                taken += int(path.read_text())
                path.unlink()
            self.on_settled("unknown", max(0, left.rows - taken))

    def blocks(self, served: ServedModel) -> list[Block]:
        """Return copies of a version's blocks."""
        with self._lock:
            return [Block(b.started, b.ended, b.rows, b.counts.copy()) for b in self._blocks.get(served, ())]
