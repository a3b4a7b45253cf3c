"""Read and write rows and answers as CSV or as an Arrow stream, instead of JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.arrow import load_pyarrow, read_arrow
from eigenserve.app.wire.bodies import CSV, not_utf8
from eigenserve.app.wire.requests import Asked, check_cells, check_count, read_options
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import MISSING_TEXTS

#: Values of one line of CSV: its row is a list before it can be counted.
MAX_COLUMNS = 100_000
#: Ends of lines: empty lines are nothing, but each takes its time.
MAX_LINES = 2_000_000
#: Names of columns that an error shows.
MAX_NAMED = 20
#: Rows read together. Measured: more make it no faster.
CHUNK_ROWS, CHUNK_CELLS = 512, 2**18
#: name -> values of all rows, of equal length.
Columns = dict[str, Any]


def read_table(
    body: bytes,
    media_type: str,
    query: Mapping[str, str],
    registry: ModelRegistry,
    max_rows: int,
    check: Callable[[], None] = lambda: None,
) -> Asked:
    """Read a CSV or Arrow body, and what the query says of model, version, method, target and interval.

    Every feature of the model must be a column; further columns are ignored.

    Raises:
        ProblemError: 404, 413, 415 or 422, as for JSON.
    """
    asked = read_options(_options(query), registry)
    if media_type == CSV:
        columns = _read_csv(body, asked.served, max_rows, check)
    else:
        columns = read_arrow(body, asked.served.model.features.names, max_rows)
    if not len(next(iter(columns.values()), ())):
        raise invalid(("body",), "must have at least one row")
    return replace(asked, rows=columns, loc=("body",))


def predicted_columns(served: ServedModel, scores: FloatArray) -> Columns:
    """Write predictions as columns: ``prediction``, or ``label`` and ``probabilities.CLASS``."""
    model = served.model
    if not model.classes:
        return {"prediction": model.values(scores)}
    probabilities = model.probabilities(scores)
    labels = [served.class_keys[c] for c in probabilities.argmax(axis=1).tolist()]
    shares = {f"probabilities.{key}": probabilities[:, i] for i, key in enumerate(served.class_keys)}
    return {"label": labels, **shares}


def interval_columns(asked: Asked, scores: FloatArray) -> Columns:
    """Write intervals as the columns ``low`` and ``high``, if they are asked for."""
    if asked.interval is None:
        return {}
    interval = asked.served.model.intervals(scores, asked.interval)
    return {"low": interval[:, 0], "high": interval[:, 1]}


def explained_columns(served: ServedModel, explanation: Explanation) -> Columns:
    """Write explanations as columns: the predictions', then score, baseline, contributions.TERM and so on."""
    errors = explanation.standard_error
    return {
        **predicted_columns(served, explanation.scores),
        "score": explanation.score,
        "baseline": explanation.baseline,
        **{f"contributions.{t}": explanation.contributions[:, i] for i, t in enumerate(explanation.terms)},
        **{f"sensitivities.{f}": explanation.sensitivities[:, i] for i, f in enumerate(explanation.features)},
        "gap": explanation.gap,
        **({} if errors is None else {f"standard_error.{t}": errors[:, i] for i, t in enumerate(explanation.terms)}),
    }


def table_pieces(parts: Iterable[Columns], media_type: str, served: ServedModel) -> Iterator[bytes]:
    """Write columns of some rows at a time as CSV, or as an Arrow stream whose schema names the model."""
    if media_type == CSV:
        for i, columns in enumerate(parts):
            yield write_csv(columns, header=i == 0)
        return
    sink, writer = io.BytesIO(), None
    for columns in parts:
        table = arrow_table(columns, served)
        if writer is None:
            writer = load_pyarrow().ipc.new_stream(sink, table.schema)
        writer.write_table(table)
        yield sink.getvalue()
        sink.seek(0)
        sink.truncate()
    if writer is not None:
        writer.close()
    yield sink.getvalue()


def arrow_table(columns: Columns, served: ServedModel) -> Any:
    """Make an Arrow table of columns, whose schema names the model."""
    metadata = {"model": served.name, "version": str(served.version)}
    return load_pyarrow().table(columns).replace_schema_metadata(metadata)


def write_csv(columns: Columns, header: bool = True) -> bytes:
    """Write columns as CSV, with or without a first line of their names."""
    values = [v.tolist() if isinstance(v, np.ndarray) else v for v in columns.values()]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    if header:
        writer.writerow(columns)
    # Floats are written in the shortest form that reads back the same; what JSON writes as null is empty.
    writer.writerows(
        ["" if isinstance(v, float) and not math.isfinite(v) else v for v in row] for row in zip(*values, strict=True)
    )
    return sink.getvalue().encode()


def _options(query: Mapping[str, str]) -> dict[str, Any]:
    """Return a query's texts; of its interval, the number."""
    options: dict[str, Any] = dict(query)
    if options.get("interval"):
        options["interval"] = _number(options["interval"])
    return options


def _read_csv(body: bytes, served: ServedModel, max_rows: int, check: Callable[[], None]) -> Columns:
    """Read the model's columns, a few thousand rows at a time: of other columns and blank lines nothing is kept."""
    kinds = {feature.name: feature.kind == "numeric" for feature in served.model.features.features}
    if body.count(b"\n") + body.count(b"\r") > MAX_LINES:
        raise ProblemError(413, f"CSV must have at most {MAX_LINES} ends of lines; got more: send several requests")
    lines = _Lines(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""))
    reader = csv.reader(lines, strict=True)
    columns: Columns = {}
    count = 0
    try:
        header = next((row for row in lines.rows(reader) if row), None)
        if header is None:
            raise invalid(("body",), "must have a first line with the names of the columns; got nothing")
        if len(set(header)) != len(header):
            raise invalid(("body",), f"the columns' names must differ; got {', '.join(header[:MAX_NAMED])}")
        places = [i for i, name in enumerate(header) if name in kinds] or [0]
        columns = {header[i]: [] for i in places}
        step = max(1, min(CHUNK_ROWS, CHUNK_CELLS // len(header)))
        while rows := list(islice((row for row in lines.rows(reader) if row), step)):
            check()
            wrong = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
            if wrong is not None:
                expected, received = len(header), len(rows[wrong])
                message = f"a row must have {expected} values as the header has; got {received}"
                raise invalid(("body", count + wrong), message)
            count += len(rows)
            check_count(count, max_rows)
            check_cells(count * len(places))
            for i in places:
                columns[header[i]] += _cells(tuple(row[i] for row in rows), kinds.get(header[i], False))
    except UnicodeDecodeError:
        raise invalid(("body",), not_utf8(body) or "must be UTF-8") from None
    except csv.Error as error:
        raise invalid(("body",), f"must be CSV; {error}") from None
    return columns


class _Lines:
    """Lines of a text, of which no row may have more commas than a table may have columns."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._commas = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self._commas += line.count(",")
            if self._commas > MAX_COLUMNS:
                raise ProblemError(413, f"a line of CSV must have at most {MAX_COLUMNS} values")
            yield line

    def rows(self, reader: Iterator[list[str]]) -> Iterator[list[str]]:
        """Yield the rows that ``reader`` reads from these lines."""
        for row in reader:
            self._commas = 0
            yield row


def _cells(texts: tuple[str, ...], numeric: bool) -> list[Any]:
    """Read a column's cells; text that is not a number stays text, to be named."""
    if numeric:
        try:
            return [None if text in MISSING_TEXTS else float(text) for text in texts]
        except ValueError:
            return [None if text in MISSING_TEXTS else _number(text) for text in texts]
    return [None if text in MISSING_TEXTS else text for text in texts]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
