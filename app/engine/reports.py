"""Read the reports of models, each once for all clients that are taking it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from weakref import WeakValueDictionary

from eigenserve.app.engine.memory import MemoryBudget, Reservation
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.downloads import Download

HTML = "text/html"
#: A report is not read again within this time while somebody takes it.
FRESH_S = 1.0


@dataclass(eq=False)
class Report:
    """Hold a report while clients take it.

    Attributes:
        page: its content.
        held: what it holds of the budget.
        read_at: when it was read last (``time.monotonic``).
    """

    page: Download
    held: Reservation
    read_at: float


class Reports:
    """Share what is read among those who take it; nothing is kept when the last one has it.

    Measured: 300 clients that read nothing took 1.2 GB of reports of 5 MB.
    """

    def __init__(self, registry: ModelRegistry, memory: MemoryBudget) -> None:
        self._registry, self._memory = registry, memory
        self._taken: WeakValueDictionary[ServedModel, Report] = WeakValueDictionary()
        self._reading: dict[ServedModel, asyncio.Task[Report | None]] = {}

    async def get(self, served: ServedModel, client: str) -> Report | None:
        """Return the report of a version; None where training left none.

        Raises:
            CheckpointError, OSError: it cannot be read.
            ProblemError: 413 and 503 there is no room for it.
        """
        known = self._taken.get(served)
        if known is not None and time.monotonic() - known.read_at < FRESH_S:
            return known
        reading = self._reading.get(served)
        if reading is None:
            reading = self._reading[served] = asyncio.create_task(self._read(served, client))
            reading.add_done_callback(lambda done: self._end(served, done))
        # It is read for all who wait for it.
        return await asyncio.shield(reading)

    async def _read(self, served: ServedModel, client: str) -> Report | None:
        page = await asyncio.to_thread(self._page, served)
        if page is None:
            return None
        known = self._taken.get(served)
        if known is None or known.page.etag != page.etag:
            held = self._memory.reservation(client)
            held.resize(len(page.content))
            known = self._taken[served] = Report(page, held, 0.0)
        known.read_at = time.monotonic()
        return known

    def _page(self, served: ServedModel) -> Download | None:
        content = self._registry.store.report(served.name, served.version)
        return None if content is None else Download(content, HTML)

    def _end(self, served: ServedModel, reading: asyncio.Task[Report | None]) -> None:
        del self._reading[served]
        if not reading.cancelled():
            reading.exception()  # those who wait have it
