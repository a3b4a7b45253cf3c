"""Read and write rows and answers as CSV or as an Arrow stream, instead of JSON."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from eigenserve.app.problems import ProblemError, invalid
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.bodies import CSV
from eigenserve.app.wire.requests import Asked, check_count, read_options
from eigenserve.model import Explanation
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.csv_layout import CsvError, columns_of, infer_layout
from eigenserve.model.rows.errors import Location
from eigenserve.model.rows.features import Feature

_PLAIN = re.compile(r"[-+0-9.eE]+")
#: name -> values of all rows, of equal length.
Columns = dict[str, Any]


def read_table(body: bytes, media_type: str, query: Mapping[str, str], registry: ModelRegistry, max_rows: int) -> Asked:
    """Read a CSV or Arrow body, and what the query says of model, version, method, target and interval.

    Every feature of the model must be a column; further columns are ignored.

    Raises:
        ProblemError: 404, 413, 415 or 422, as for JSON.
    """
    asked = read_options(_options(query), registry)
    columns = _read_csv(body, asked.served) if media_type == CSV else _read_arrow(body, asked.served)
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise invalid(("body",), "must have at least one row")
    check_count(count, max_rows)
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


def write_table(columns: Columns, media_type: str, served: ServedModel) -> bytes:
    """Write columns as CSV, or as an Arrow stream whose schema names the model."""
    if media_type == CSV:
        return write_csv(columns)
    table = arrow_table(columns, served)
    sink = io.BytesIO()
    with _pyarrow().ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow_table(columns: Columns, served: ServedModel) -> Any:
    """Make an Arrow table of columns, whose schema names the model."""
    metadata = {"model": served.name, "version": str(served.version)}
    return _pyarrow().table(columns).replace_schema_metadata(metadata)


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


def _read_csv(body: bytes, served: ServedModel) -> Columns:
    features = {feature.name: feature for feature in served.model.features.features}
    # Of other encodings only those that say so themselves: HTTP's text is UTF-8 unless its type says otherwise.
    encoding = None if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        layout = infer_layout(body, complete=True, wanted=served.model.features.input_names, encoding=encoding)
        texts = columns_of(body[layout.start :].decode(layout.encoding), layout)
    except UnicodeDecodeError as error:
        raise invalid(("body",), f"must be UTF-8; byte {error.start} is not") from None
    except CsvError as error:
        loc: Location = ("body",) if error.row is None else ("body", error.row)
        raise invalid(loc, str(error) if str(error).startswith("must") else f"must be CSV; {error}") from None
    doubled = next((name for i, name in enumerate(layout.names) if name in layout.names[:i] and name in features), None)
    if doubled is not None:
        raise invalid(("body",), f"the columns' names must differ; got {doubled!r} more than once")
    return {name: _numbers(features[name], cells) if name in features else cells for name, cells in texts.items()}


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


def _read_arrow(body: bytes, served: ServedModel) -> Columns:
    pyarrow = _pyarrow()
    try:
        with pyarrow.ipc.open_stream(body) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise invalid(("body",), f"must be an Arrow stream; {error}") from None
    numeric = {feature.name for feature in served.model.features.features if feature.kind == "numeric"}
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns[name] = _values(column, pyarrow, name in numeric)
        except OverflowError as error:
            raise invalid(("body", name), f"must have dates and times of the years 1 to 9999; {error}") from None
    return columns


def _values(column: Any, pyarrow: Any, numeric: bool = True) -> Any:
    kind = column.type
    # Codes may have more digits than a float holds.
    if pyarrow.types.is_floating(kind) or (pyarrow.types.is_integer(kind) and numeric):
        return column.to_numpy().astype(np.float64, copy=False)
    if pyarrow.types.is_timestamp(kind):
        # Python's own times have no nanoseconds, and may not know the zone. The moments stand there in UTC.
        micros = column.cast(pyarrow.timestamp("us", kind.tz), safe=False).cast(pyarrow.int64())
        column = micros.cast(pyarrow.timestamp("us"))
    if pyarrow.types.is_duration(kind):
        column = column.cast(pyarrow.duration("us"), safe=False)
    if pyarrow.types.is_time64(kind):
        column = column.cast(pyarrow.time64("us"), safe=False)
    return column.to_pylist()


def _pyarrow() -> Any:
    # Loaded when the first Arrow body comes: it costs 50 MB that a server without such clients need not pay.
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise ProblemError(
            415, "Arrow needs pyarrow, which is not installed here: pip install 'eigenserve[arrow]'"
        ) from None
    return pyarrow
