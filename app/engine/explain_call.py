"""Serve requests for explanations: read, explain some rows at a time, write."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from fastapi import Response

from eigenserve.app.engine.calls import COUNTED_BYTES, Call
from eigenserve.app.engine.explanation_parts import groups_of, included
from eigenserve.app.engine.queue import Job
from eigenserve.app.engine.small_requests import INLINE_BYTES
from eigenserve.app.wire.answers import Part, finite
from eigenserve.app.wire.requests import Asked
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.groups import grouped

#: Methods that are answered as predictions are; the others take a thread for themselves.
QUICK = ("eigenvector", "integrated")
#: By how much an explanation takes longer than a prediction.
EXPLANATION_WORK = 4
#: Rows explained together, and cells of their columns: more would take memory, and are not faster.
PART_ROWS, PART_CELLS = 4096, 2**17


class ExplainCall(Call):
    """Serve a request for explanations."""

    @abstractmethod
    def read(self, body: bytes) -> Asked:
        """Return what the body asks for.

        Raises:
            ProblemError: 4xx naming each fault.
        """

    @abstractmethod
    def write(self, asked: Asked, parts: Iterator[Part]) -> Response:
        """Return the answer of explanations with finite scores, some rows at a time."""

    async def respond(self, body: bytes) -> Response:
        """Read, explain, write."""
        begun = await self.sized(body, lambda: self._begin(self.read(body), len(body) <= INLINE_BYTES))
        if not isinstance(begun, Asked):
            return begun
        if _is_cheap(begun):
            job = Job((begun.served.name, "explained rows"), begun.count, begun.count, self.state["arrived"])
            return await self.large(job, lambda: self._explain(begun))
        kind = (begun.served.name, begun.method, begun.include.names, begun.baselines)
        return await self.heavy(kind, begun.count, lambda: self._explain(begun))

    def _begin(self, asked: Asked, on_loop: bool) -> Response | Asked:
        """The answer, where an explanation costs little more than a prediction, and where it is little enough."""
        if not _is_cheap(asked) or (on_loop and not self.is_small(asked, EXPLANATION_WORK)):
            return asked
        return self._explain(asked)

    def _explain(self, asked: Asked) -> Response:
        self.count(asked, "explain")
        return self.write(asked, self._parts(asked))

    def _parts(self, asked: Asked) -> Iterator[Part]:
        """Explain some rows at a time, if that gives the same as all at once."""
        model, columns = asked.served.model, self.columns(asked)
        warnings = self.checked(asked, model.checks.warnings(columns))
        received = 0 if self._memory is None else self._memory.size
        parts_bytes = 0

        def grow(size: int) -> None:
            nonlocal parts_bytes
            parts_bytes += 2 * size  # as it is, and in the answer
            if received or parts_bytes > COUNTED_BYTES:
                self.memory.hold(received + parts_bytes)

        how = "" if self.service.recorder is None else asked.how
        quick = min(PART_ROWS, max(1, PART_CELLS // columns.shape[1]))
        step = quick if asked.method in QUICK else len(columns)
        for start in range(0, len(columns), step):
            self.check()
            rows = slice(start, min(start + step, len(columns)))
            part, more = columns[rows], []
            explanation = explain(
                model, part, asked.method, asked.target, asked.baseline, asked.reference, check=self.check
            )
            explanation = grouped(explanation, groups_of(asked))
            finite(asked.served, explanation.scores, asked.loc, start)
            unstable = model.checks.unstable(explanation.gap < model.narrow_gap)
            self.checked(asked, unstable, start)
            if asked.include.names:
                more = included(asked, part, self.check, grow)
            if len(columns) > step or received or parts_bytes > COUNTED_BYTES:
                # Before it is written: an answer that has no room need not be made.
                self.memory.hold(received + parts_bytes + len(columns) * asked.served.explanation_bytes)
            found = warnings[rows].joined(unstable)
            self.record(asked, part, explanation.scores, found, start, explanation, how)
            yield Part(explanation, more, found, rows)


def _is_cheap(asked: Asked) -> bool:
    return asked.method in QUICK and not asked.include.names
