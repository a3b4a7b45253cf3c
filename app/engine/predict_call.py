"""Serve requests for predictions: read, score, write."""

from __future__ import annotations

import time
from abc import abstractmethod

import numpy as np
from fastapi import Response

from eigenserve.app.engine.calls import Call
from eigenserve.app.engine.queue import Job
from eigenserve.app.engine.small_requests import INLINE_BYTES
from eigenserve.app.wire.answers import Scored, finite
from eigenserve.app.wire.requests import Asked

#: Values of the rows that are scored between two looks at the clock: 65,000 rows of the demo model, which take 0.2 s.
SCORED_CELLS = 2**19


class PredictCall(Call):
    """Serve a request for predictions."""

    @abstractmethod
    def read(self, body: bytes) -> Asked:
        """Return what the body asks for.

        Raises:
            ProblemError: 4xx naming each fault.
        """

    @abstractmethod
    def write(self, asked: Asked, scored: Scored) -> Response:
        """Return the answer of what was computed."""

    async def respond(self, body: bytes) -> Response:
        """Read, score, write."""
        if len(body) > INLINE_BYTES:
            return await self.sized(body, lambda: self._score(self.read(body)))
        asked, started = self.read(body), time.monotonic()
        if not self.is_small(asked):
            job = Job((asked.served.name, "rows"), asked.count, asked.count, self.state["arrived"])
            return await self.large(job, lambda: self._score(asked))
        scored = await self.service.engine.scored(asked)
        if (trace := self.state.get("trace")) is not None:
            trace.part("solve", started, time.monotonic())
        return self._write(asked, scored)

    def _score(self, asked: Asked) -> Response:
        model, columns = asked.served.model, self.columns(asked)
        step = max(1, SCORED_CELLS // columns.shape[1])
        parts = []
        for start in range(0, len(columns), step):
            self.check()
            parts.append(model.scores(columns[start : start + step]))
        scores = finite(asked.served, parts[0] if len(parts) == 1 else np.concatenate(parts), asked.loc)
        return self._write(asked, Scored(columns, scores, model.checks.warnings(columns)))

    def _write(self, asked: Asked, scored: Scored) -> Response:
        self.count(asked, "predict")
        self.checked(asked, scored.warnings)
        self.service.drift.note(asked.served, scored.columns, scored.scores)
        self.service.shadow.note(asked.served, scored.columns)
        self.record(asked, scored.columns, scored.scores, scored.warnings)
        response = self.write(asked, scored)
        self.service.drift.outcomes.note(self.state.get("request_id"), asked.served, scored.scores)
        return response
