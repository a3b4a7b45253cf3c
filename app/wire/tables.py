"""Read and write rows and answers as CSV or as an Arrow stream, instead of JSON."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.arrow import load_pyarrow, read_arrow
from eigenserve.app.wire.bodies import CSV, not_utf8
from eigenserve.app.wire.kept import Kept, check_clash, kept_names, read_keep, split_kept
from eigenserve.app.wire.limits import check_cells, check_count
from eigenserve.app.wire.requests import Asked, read_options
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.errors import CsvError
from eigenserve.model.rows.features import Feature
from eigenserve.model.rows.layout.blanks import BLANKS
from eigenserve.model.rows.layout.csv_layout import infer_layout, records
from eigenserve.model.rows.layout.titles import as_called
from eigenserve.model.rows.text_encoding import HEAD_BYTES
from eigenserve.model.rows.warnings import RowWarnings

_PLAIN = re.compile(r"[-+0-9.eE]+")
#: Values of one line of CSV: its row is a list before it can be counted.
MAX_COLUMNS = 100_000
#: Ends of lines: empty lines are nothing, but each takes its time.
MAX_LINES = 2_000_000
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

    Every feature of the model must be a column. Of further columns, those named by ``keep`` and an id are handed
    through; others are ignored.

    Raises:
        ProblemError: 404, 413, 415 or 422, as for JSON.
    """
    asked, keep = read_options(_options(query), registry), read_keep(query.get("keep"))
    kept = kept_names(asked.served, keep)
    if media_type == CSV:
        columns = _read_csv(body, asked.served, kept, max_rows, check)
    else:
        columns = read_arrow(body, {*asked.served.model.features.names, *kept}, max_rows, kept)
    if not len(next(iter(columns.values()), ())):
        raise invalid(("body",), "must have at least one row")
    rows, handed = split_kept(columns, asked.served, keep, ("body",))
    return replace(asked, rows=rows, loc=("body",), kept=handed)


def answer_columns(kept: Kept, answers: Columns, warnings: RowWarnings) -> Columns:
    """Join what is handed through, the answers, and a column of warnings.

    Raises:
        ProblemError: 422 one name for two columns.
    """
    check_clash(kept, (*answers, "warnings"))
    return {**kept, **answers, "warnings": warnings.texts()}


def predicted_columns(served: ServedModel, scores: FloatArray, media_type: str) -> Columns:
    """Write predictions as columns: ``prediction``, or ``label`` and ``probabilities.CLASS``.

    Labels are texts in CSV, and in Arrow of the classes' own type, if that is one.
    """
    model = served.model
    if not model.classes:
        return {"prediction": model.values(scores)}
    probabilities = model.probabilities(scores)
    is_typed = media_type != CSV and len(set(map(type, model.classes))) == 1
    classes = model.classes if is_typed else served.class_keys
    labels = [classes[c] for c in probabilities.argmax(axis=1).tolist()]
    shares = {f"probabilities.{key}": probabilities[:, i] for i, key in enumerate(served.class_keys)}
    return {"label": labels, **shares}


def interval_columns(asked: Asked, scores: FloatArray) -> Columns:
    """Write intervals as the columns ``low`` and ``high``, if they are asked for."""
    if asked.interval is None:
        return {}
    interval = asked.served.model.intervals(scores, asked.interval)
    return {"low": interval[:, 0], "high": interval[:, 1]}


def explained_columns(served: ServedModel, explanation: Explanation, media_type: str) -> Columns:
    """Write explanations as columns: the predictions', then score, baseline, contributions.TERM and so on."""
    errors = explanation.standard_error
    return {
        **predicted_columns(served, explanation.scores, media_type),
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
        # What is not a number stays a text, to be named.
        with contextlib.suppress(ValueError):
            options["interval"] = float(options["interval"])
    return options


def _read_csv(
    body: bytes, served: ServedModel, kept: Sequence[str], max_rows: int, check: Callable[[], None]
) -> Columns:
    """Read the model's columns and those in ``kept``, a few thousand rows at a time; of others nothing is held."""
    features = {feature.name: feature for feature in served.model.features.features}
    if body.count(b"\n") + body.count(b"\r") > MAX_LINES:
        raise ProblemError(413, f"CSV must have at most {MAX_LINES} ends of lines; got more: send several requests")
    # Of other encodings only those that say so themselves: HTTP's text is UTF-8 unless its type says otherwise.
    encoding = None if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else "utf-8"
    head, wanted = body[:HEAD_BYTES], [name.strip() for name in served.model.features.input_names]
    columns: Columns = {}
    count = 0
    try:
        layout = infer_layout(head, complete=len(head) == len(body), wanted=wanted, encoding=encoding)
        names = as_called(layout.names, served.model.features.input_names)
        places = _places(names, {*features, *(name for name in kept if names.count(name) == 1)})
        columns = {names[i]: [] for i in places}
        width = len(layout.names)
        content = io.BytesIO(body)
        content.seek(layout.start)
        lines = _Lines(io.TextIOWrapper(content, layout.encoding, newline=""), layout.separator)
        found = lines.rows(row for _, row in records(lines, layout))
        step = max(1, min(CHUNK_ROWS, CHUNK_CELLS // width))
        while rows := list(islice(found, step)):
            check()
            wrong = next((i for i, row in enumerate(rows) if len(row) != width), None)
            if wrong is not None:
                message = f"a row must have {width} values as the header has; got {len(rows[wrong])}"
                raise invalid(("body", count + wrong), message)
            count += len(rows)
            check_count(count, max_rows)
            check_cells(count * len(places))
            for i in places:
                name = names[i]
                cells = [row[i] for row in rows]
                columns[name] += _numbers(features[name], cells) if name in features else cells
    except UnicodeDecodeError:
        raise invalid(("body",), not_utf8(body) or "must be UTF-8") from None
    except CsvError as error:
        fault = not_utf8(body) if encoding == "utf-8" and "UTF-8" in str(error) else None
        message = str(error) if str(error).startswith("must") else f"must be CSV; {error}"
        raise invalid(("body",), fault or message) from None
    return columns


def _places(names: Sequence[str], wanted: Collection[str]) -> list[int]:
    """Find the wanted columns; another one where there is none, so that rows are counted.

    Raises:
        ProblemError: 413 too many columns; 422 one of them that stands there twice.
    """
    if len(names) > MAX_COLUMNS:
        raise ProblemError(413, f"a line of CSV must have at most {MAX_COLUMNS} values")
    places = [i for i, name in enumerate(names) if name in wanted]
    doubled = next((names[i] for n, i in enumerate(places) if names[i] in [names[j] for j in places[:n]]), None)
    if doubled is not None:
        raise invalid(("body",), f"the columns' names must differ; got {doubled!r} more than once")
    return places or [0]


class _Lines:
    """Lines of a text, of which no row may have more separators than a table may have columns."""

    def __init__(self, text: io.TextIOWrapper, separator: str) -> None:
        self._text, self._marks = text, " \t" if separator == BLANKS else separator
        self._count = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self._count += sum(map(line.count, self._marks))
            if self._count > MAX_COLUMNS:
                raise ProblemError(413, f"a line of CSV must have at most {MAX_COLUMNS} values")
            yield line

    def rows(self, reader: Iterator[list[str]]) -> Iterator[list[str]]:
        """Yield the rows that ``reader`` reads from these lines."""
        for row in reader:
            self._count = 0
            yield row


def _numbers(feature: Feature, cells: list[str]) -> list[Any]:
    """A feature's cells as numbers if all are written as programs write them, else as they are."""
    if feature.kind != "numeric" or not feature.reading.takes_plain:
        return cells
    missing = feature.reading.missing_texts
    present = [cell for cell in cells if cell not in missing]
    # Letters and signs of nothing but plain numbers; float() reads more than those.
    if not present or _PLAIN.fullmatch("".join(present)) is None:
        return cells
    try:
        return [None if cell in missing else float(cell) for cell in cells]
    except ValueError:
        return cells
