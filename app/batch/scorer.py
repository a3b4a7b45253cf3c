"""Turn a part of a table into its predictions or explanations, as the bytes of a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eigenserve.app.batch.encoding import Faults, encode_table
from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.table import Part
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.bodies import CSV
from eigenserve.app.wire.tables import arrow_table, explained_columns, predicted_columns, write_csv
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.groups import grouped
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.rows.cells import category_key
from eigenserve.model.rows.warnings import KINDS, RowWarnings
from eigenserve.model.spectral import SpectralModel

OnError = Literal["stop", "null"]
#: The last column of every output.
WARNINGS = "warnings"
#: Rows of a part, at most; fewer where rows are so wide that a part's arrays would hold more than so many numbers.
PART_ROWS = 2**17
PART_NUMBERS = 2**22
#: Methods other than these two cost up to a thousand times as much a row, and a kill should not cost minutes.
SLOW_PART_ROWS = 2**11


@dataclass(frozen=True)
class Options:
    """Say what to write of each row.

    Attributes:
        method: of the explanations; None for predictions alone.
        on_error: "stop" at a bad row, or give it no prediction ("null").
        reference: what "integrated" compares with, by name; the training average by default.
        as_csv: parts are CSV without a header; else Arrow streams.
        keep: columns of the data that are handed through.
    """

    method: str | None = None
    on_error: OnError = "stop"
    as_csv: bool = False
    reference: str | None = None
    keep: Sequence[str] = ()


@dataclass(frozen=True)
class ScoredPart:
    """Hold a part's answers.

    Attributes:
        number, rows: of the part.
        nulls: bad rows, which have no prediction.
        content: the part as a file; empty where ``fault`` says why there is none.
        fault: the first bad row, in words, where that is to stop the run.
        warned: how many rows have a warning of each of ``KINDS``, with points between the numbers.
    """

    number: int
    rows: int
    nulls: int
    content: bytes
    fault: str = ""
    warned: str = ".".join("0" * len(KINDS))


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
        slow = self.options.method not in (None, "integrated", "eigenvector")
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
            scores, answers, warnings = self._answers(columns)
            finite = np.isfinite(scores if model.classes else model.values(scores)[:, None]).all(axis=1)
        beyond = np.flatnonzero(~finite & ~np.isin(np.arange(len(columns)), bad)).tolist()
        if (bad or beyond) and self.options.on_error == "stop":
            fault = self._fault(part, faults, beyond)
            return ScoredPart(part.number, part.rows.num_rows, 0, b"", fault)
        blank = np.zeros(len(columns), bool)
        blank[[*bad, *beyond]] = True
        # What is wrong with a blank row is more than a warning.
        warnings = warnings.of_rows(~blank)
        counts = warnings.rows_by_kind()
        kept = {name: _kept(part.rows.column(name)) for name in self.options.keep}
        content = self._content(kept, answers, warnings, blank)
        warned = ".".join(str(counts.get(kind, 0)) for kind in KINDS)
        return ScoredPart(part.number, len(columns), int(blank.sum()), content, warned=warned)

    def header(self) -> bytes:
        """Return the first line of a CSV file of these answers."""
        names = (*self.options.keep, *self._answers_of_none(), WARNINGS)
        return write_csv({name: [] for name in names})

    def check_keep(self) -> None:
        """Refuse to hand through a column under the name of one of the answer's.

        Raises:
            ScoreError: there is one.
        """
        taken = {*self._answers_of_none(), WARNINGS} & {*self.options.keep}
        if taken:
            raise ScoreError(f"--keep must not name a column of the answer; got {min(taken)!r}")

    def _answers(self, columns: FloatArray) -> tuple[FloatArray, dict[str, Any], RowWarnings]:
        """Return scores (N, O), what is written of each row by the name of its column, and the rows' warnings."""
        model = self.served.model
        warnings = model.checks.warnings(columns)
        if self.options.method is None:
            scores = model.scores(columns)
            return scores, predicted_columns(self.served, scores, CSV), warnings
        if not len(columns):
            return np.empty((0, model.ensemble.num_outputs)), self._answers_of_none(), warnings
        explanation = explain(model, columns, self.options.method, reference=self._reference)
        explanation = grouped(explanation, model.groups)
        warnings = warnings.joined(model.checks.unstable(explanation.gap < model.narrow_gap))
        return explanation.scores, explained_columns(self.served, explanation, CSV), warnings

    def _answers_of_none(self) -> dict[str, Any]:
        """Return the columns without a row: those of a row in which all is missing, without it."""
        answers = self._answers(np.full((1, len(self.served.model.features)), np.nan))[1]
        return {
            name: values[:0] if isinstance(values, np.ndarray) else np.empty(0, str) for name, values in answers.items()
        }

    def _content(self, kept: dict[str, Any], answers: dict[str, Any], warnings: RowWarnings, blank: Any) -> bytes:
        texts = warnings.texts()
        if self.options.as_csv:
            if blank.any():
                answers = {name: _blanked(values, blank) for name, values in answers.items()}
            cells = {name: column.to_pylist() for name, column in kept.items()}
            return write_csv({**cells, **answers, WARNINGS: texts}, header=False)
        table = arrow_table(answers, self.served)
        if blank.any():
            mask = pa.array(blank)
            columns = [pc.if_else(mask, pa.scalar(None, column.type), column) for column in table.columns]
            table = pa.Table.from_arrays(columns, schema=table.schema)
        table = table.append_column(WARNINGS, pa.array(texts, pa.string()))
        for place, (name, column) in enumerate(kept.items()):
            table = table.add_column(place, name, column)
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


def _kept(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as it is handed through: of several types in one, as texts."""
    if not pa.types.is_union(column.type):
        return column
    texts = [None if value is None else category_key(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _blanked(values: Any, blank: Any) -> list[Any]:
    """Return a column without the values of blank rows."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return [None if empty else value for value, empty in zip(plain, blank.tolist(), strict=True)]


def serve(model: SpectralModel) -> ServedModel:
    """Serve a loaded model under its own name and version."""
    return ServedModel(str(model.card["name"]), int(model.card["version"]), model)
