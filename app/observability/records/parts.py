"""PartsSink: write records as the Parquet parts of a chain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from eigenserve import __version__
from eigenserve.app.observability.machine import arithmetic
from eigenserve.app.observability.records.answered import Answered, Kind
from eigenserve.app.observability.records.chain import ERASURES, Chain, chain_name, chain_names, link_names, sha256
from eigenserve.app.observability.records.decisions import Tables, from_parquet, schema_hash, tables, to_parquet
from eigenserve.app.observability.records.folder import Folder
from eigenserve.app.observability.records.recorder import Lose

#: Seconds after which a marker is written again, though nothing changed: ``verify`` takes an old one for a dead server.
MARKED_S = 20.0
#: Seconds without a row after which the memory of the last part is given back.
REST_S = 1.0
#: The tables of a part, and its files.
_Part = tuple[Tables, dict[str, memoryview]]


class PartsSink:
    """Write what is answered as parts, a part for each kind of rows (a ``Sink``).

    Attributes:
        name, kind: for the log and for the metrics.
        chain: what they are appended to.
    """

    kind = "parts"

    def __init__(self, url: str, folder: Folder, key: Any, shares: Mapping[str, float]) -> None:
        self.name, self.chain = url, Chain(folder, chain_name(), key)
        self._shares = dict(shares)
        self._pending: list[_Part] | None = None  # None: the batches are not parts yet
        self._marked: tuple[int, int] | None = None
        self._marked_at = self._taken_at = 0.0
        self._holds_memory = False

    def open(self) -> None:
        """Write the first link, which names the chains and the last erasure: what is removed as a whole is missed."""
        # What pyarrow imports when it is first used takes 0.3 s: now, and not while somebody waits.
        from_parquet(to_parquet(pa.table({"x": np.zeros(1)})))
        folder = self.chain.folder
        first = {
            "eigenserve": __version__,
            "arithmetic": arithmetic(),
            "sample": self._shares,
            "others": [name for name in chain_names(folder) if name != self.chain.name],
            "erasures": [sha256(folder.read(f"{ERASURES}/{name}")) for name in link_names(folder, ERASURES)[-1:]],
        }
        self.chain.append(first, {})
        self.waiting(0)

    def take(self, batches: list[Answered], lose: Lose) -> None:
        """Write parts; where it failed, it goes on with the part that it failed at."""
        if self._pending is None:
            kinds: dict[Kind, list[Answered]] = {}
            for batch in batches:
                kinds.setdefault(batch.kind, []).append(batch)
            self._pending = [part for kind, some in kinds.items() for part in _parts(kind, some, lose)]
        while self._pending:
            part, files = self._pending[0]
            self.chain.append({"rows": part.rows, "model": part.model, "schema": schema_hash(part.details)}, files)
            del self._pending[0]
        self._pending, self._holds_memory, self._taken_at = None, True, time.monotonic()
        self.waiting(0)

    def waiting(self, rows: int) -> None:
        """Write the marker of the open part, where it changed or is old; when nothing comes, give memory back.

        Not after each part, of which the next one would take it again: a third of what a part takes (measured).
        """
        if self._holds_memory and not rows and time.monotonic() - self._taken_at > REST_S:
            pa.default_memory_pool().release_unused()
            self._holds_memory = False
        if self._marked != (self.chain.number, rows) or time.monotonic() - self._marked_at > MARKED_S:
            self.chain.mark(rows)
            self._marked, self._marked_at = (self.chain.number, rows), time.monotonic()

    def close(self, dropped: int) -> None:
        """Write the last link, which says how many rows were dropped."""
        self.chain.close({"dropped": dropped})


def _parts(kind: Kind, batches: list[Answered], lose: Lose) -> list[_Part]:
    """Make a part of batches; more of them, and ``lose`` rows, where a batch cannot be written."""
    try:
        made = tables(kind, batches)
        return [(made, made.files())]
    except Exception as error:
        if len(batches) == 1:
            lose(len(batches[0]), error)
            return []
    half = len(batches) // 2
    return [*_parts(kind, batches[:half], lose), *_parts(kind, batches[half:], lose)]
