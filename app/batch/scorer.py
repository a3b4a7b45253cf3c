"""Turn a part of a table into its predictions or explanations, as the bytes of a file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eigenserve.app.batch.encoding import Faults, encode_table
from eigenserve.app.batch.reading import Part
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.tables import arrow_table, explained_columns, predicted_columns, write_csv
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.groups import grouped
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.spectral import SpectralModel

OnError = Literal["stop", "null"]
#: Rows of a part, at most; fewer where rows are so wide that a part's arrays would hold more than so many numbers.
PART_ROWS = 2**17
PART_NUMBERS = 2**22
#: The methods "path" and "shapley" cost up to a thousand times as much a row, and a kill should not cost minutes.
SLOW_PART_ROWS = 2**11


@dataclass(frozen=True)
class Options:
    """Say what to write of each row.

    Attributes:
        method: of the explanations; None for predictions alone.
        on_error: "stop" at a bad row, or give it no prediction ("null").
        reference: what "integrated" compares with, by name; the training average by default.
        as_csv: parts are CSV without a header; else Arrow streams.
    """

    method: str | None = None
    on_error: OnError = "stop"
    as_csv: bool = False
    reference: str | None = None


@dataclass(frozen=True)
class ScoredPart:
    """Hold a part's answers.

    Attributes:
        number, rows: of the part.
        nulls: bad rows, which have no prediction.
        content: the part as a file; empty where ``fault`` says why there is none.
        fault: the first bad row, in words, where that is to stop the run.
    """

    number: int
    rows: int
    nulls: int
    content: bytes
    fault: str = ""


@dataclass(frozen=True)
class Scorer:
    """Score parts of tables with one model. A part's bytes depend on nothing but its rows."""

    served: ServedModel
    options: Options

    @cached_property
    def part_rows(self) -> int:
        """Return the rows of a part, a power of two: few enough that its arrays stay small, whatever machine it is."""
        model = self.served.model
        outputs = model.ensemble.num_outputs
        numbers = 2 * len(model.features) + len(model.classes) + outputs + 1
        if self.options.method is not None:
            terms = len(model.ensemble.pencil.terms)
            numbers += 2 * outputs * (terms + len(model.features)) + terms + len(model.features)
        rows = 2 ** max(8, int(np.log2(PART_NUMBERS / numbers)))
        slow = self.options.method in ("path", "shapley")
        return min(rows, SLOW_PART_ROWS if slow else PART_ROWS)

    @cached_property
    def _reference(self) -> Reference | None:
        return None if self.options.reference is None else self.served.model.reference(self.options.reference)

    def score(self, part: Part) -> ScoredPart:
        """Answer a part's rows, in their order."""
        model = self.served.model
        columns, faults = encode_table(model.features, part.rows)
        bad = sorted({row for row, _ in faults})
        # Whatever a bad row says, it must not disturb the others.
        columns[bad] = np.nan
        # A row beyond float64 is found and reported below.
        with np.errstate(over="ignore", invalid="ignore"):
            scores, answers = self._answers(columns)
            finite = np.isfinite(scores if model.classes else model.values(scores)[:, None]).all(axis=1)
        beyond = np.flatnonzero(~finite & ~np.isin(np.arange(len(columns)), bad)).tolist()
        if (bad or beyond) and self.options.on_error == "stop":
            fault = self._fault(part, faults, beyond)
            return ScoredPart(part.number, part.rows.num_rows, 0, b"", fault)
        blank = np.zeros(len(columns), bool)
        blank[[*bad, *beyond]] = True
        return ScoredPart(part.number, len(columns), int(blank.sum()), self._content(answers, blank))

    def header(self) -> bytes:
        """Return the first line of a CSV file of these answers."""
        return write_csv(self._answers_of_none())

    def _answers(self, columns: FloatArray) -> tuple[FloatArray, dict[str, Any]]:
        """Return scores (N, O), and what is written of each row by the name of its column."""
        model = self.served.model
        if self.options.method is None:
            scores = model.scores(columns)
            return scores, predicted_columns(self.served, scores)
        if not len(columns):
            return np.empty((0, model.ensemble.num_outputs)), self._answers_of_none()
        explanation = explain(model, columns, self.options.method, reference=self._reference)
        explanation = grouped(explanation, model.groups)
        return explanation.scores, explained_columns(self.served, explanation)

    def _answers_of_none(self) -> dict[str, Any]:
        """Return the columns without a row: those of a row in which all is missing, without it."""
        answers = self._answers(np.full((1, len(self.served.model.features)), np.nan))[1]
        return {
            name: values[:0] if isinstance(values, np.ndarray) else np.empty(0, str) for name, values in answers.items()
        }

    def _content(self, answers: dict[str, Any], blank: Any) -> bytes:
        if self.options.as_csv:
            if blank.any():
                answers = {name: _blanked(values, blank) for name, values in answers.items()}
            return write_csv(answers, header=False)
        table = arrow_table(answers, self.served)
        if blank.any():
            mask = pa.array(blank)
            columns = [pc.if_else(mask, pa.scalar(None, column.type), column) for column in table.columns]
            table = pa.Table.from_arrays(columns, schema=table.schema)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    def _fault(self, part: Part, faults: Faults, beyond: list[int]) -> str:
        """Describe the first bad row, counted from one as people count."""
        first, feature = min(faults, default=(part.rows.num_rows, 0))
        if beyond and beyond[0] < first:
            return (
                f"row {part.first_row + beyond[0] + 1} has values so far from the training data that its prediction is "
                "not a finite number"
            )
        name = self.served.model.features.names[feature]
        return f"row {part.first_row + first + 1}, column {name!r}: {faults[first, feature]}"


def _blanked(values: Any, blank: Any) -> list[Any]:
    """Return a column without the values of blank rows."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return [None if empty else value for value, empty in zip(plain, blank.tolist(), strict=True)]


def serve(model: SpectralModel) -> ServedModel:
    """Serve a loaded model under its own name and version."""
    return ServedModel(str(model.card["name"]), int(model.card["version"]), model)
