"""Decisions: answered rows as tables, one of what is kept and one of what may be erased.

``decisions`` says who asked what of which model, and what was answered. ``details`` holds what is a person's: the id of
a row, its inputs as they were read, and contributions and reasons, from which inputs could be inferred. Where rows have
ids, each decision holds a commitment to its details: the sha256 of a random salt, which the details keep, and the
details. So rows of details can be erased, the others can still be proved, and nobody can guess what was erased.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from eigenserve.app.observability.records.answered import Answered, Kind
from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import Feature

#: What stands for a category that training did not have.
UNSEEN = "(unseen)"
SALT_BYTES = 16
#: The member of a table's metadata that says of which model and features it is.
ABOUT = b"eigenserve"


@dataclass(frozen=True)
class Tables:
    """Hold the two tables of a part, and which model they are of."""

    decisions: pa.Table
    details: pa.Table
    model: dict[str, Any]

    @property
    def rows(self) -> int:
        """Count the rows."""
        return int(self.decisions.num_rows)

    def files(self) -> dict[str, memoryview]:
        """Return them as Parquet files, by kind."""
        return {"details": to_parquet(self.details), "decisions": to_parquet(self.decisions)}


def tables(kind: Kind, batches: Sequence[Answered]) -> Tables:
    """Return the tables of rows of one kind."""
    served, counts = kind.served, np.array([len(batch) for batch in batches])
    # Turned over, so that each feature's values lie together, as Parquet has them.
    columns = np.concatenate([batch.columns.T for batch in batches], axis=1)
    scores = np.concatenate([batch.scores for batch in batches])
    model, rows = served.model, int(counts.sum())
    details = _details(kind, batches, counts, columns)
    each = _Repeated(counts)
    decisions: dict[str, Any] = {
        "time": each([round(batch.at * 1e6) for batch in batches], pa.timestamp("us", "UTC")),
        "request_id": each([batch.request_id for batch in batches]),
        "row": _places(batches, counts),
        "route": each([batch.route for batch in batches]),
        "key": each([batch.key for batch in batches]),
        **{name: np.ascontiguousarray(scores[:, i]) for i, name in enumerate(score_names(served))},
    }
    if model.classes:
        probabilities = model.probabilities(scores)
        chosen = probabilities.argmax(axis=1)
        decisions["label"] = pa.DictionaryArray.from_arrays(pa.array(chosen, pa.int32()), list(served.class_keys))
        decisions["probability"] = probabilities[np.arange(rows), chosen]
    else:
        decisions["prediction"] = model.values(scores)
    if any(batch.interval is not None for batch in batches):
        ends = np.concatenate([_interval(batch) for batch in batches])
        decisions |= {"low": ends[:, 0], "high": ends[:, 1]}
    if kind.terms:
        found = [batch.explanation for batch in batches if batch.explanation is not None]
        decisions["method"] = each([each_of.method for each_of in found])
        decisions["reference"] = each([each_of.reference for each_of in found])
        decisions["baseline"] = np.concatenate([each_of.baseline for each_of in found])
    decisions["options"] = each([batch.options for batch in batches])
    decisions["warnings"] = _warnings(batches, each)
    decisions["commitment"] = commitments(details)
    stated = {"model": served.name, "version": served.version, "sha256": served.digest}
    for name, values in (("model", served.name), ("model_sha256", served.digest)):
        decisions[name] = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [values])
    decisions["version"] = np.full(rows, served.version, np.int32)
    return Tables(_table(decisions, stated), details, stated)


def score_names(served: ServedModel) -> list[str]:
    """Return the columns of the scores: one, or of several classes one for each."""
    if served.model.ensemble.num_outputs == 1:
        return ["score"]
    return [f"score.{key}" for key in served.class_keys]


def commitments(details: pa.Table) -> Any:
    """Return what commits decisions to rows of details: null where no row of the part has an id."""
    if "salt" not in details.column_names:
        return pa.nulls(details.num_rows, pa.binary())
    salts, ids = details.column("salt").to_pylist(), details.column("id").to_pylist()
    reasons = details.column("reasons").to_pylist() if "reasons" in details.column_names else [None] * len(ids)
    numbers = np.concatenate([inputs_of(details), contributions_of(details)], axis=1)
    content, width = numbers.tobytes(), numbers.shape[1] * 8
    texts = [orjson.dumps([each, reason]) for each, reason in zip(ids, reasons, strict=True)]
    return pa.array(
        [
            hashlib.sha256(salt + content[i * width : (i + 1) * width] + text).digest()
            for i, (salt, text) in enumerate(zip(salts, texts, strict=True))
        ],
        pa.binary(),
    )


def inputs_of(details: pa.Table) -> FloatArray:
    """Return the columns (N, F) that rows of details were read as, to the last bit."""
    columns = []
    for feature in about(details)["features"]:
        column = details.column(f"inputs.{feature['name']}").combine_chunks()
        if feature["labels"] is None:
            columns.append(column.to_numpy(zero_copy_only=False))
            continue
        codes = pa.compute.index_in(column.cast(pa.string()), pa.array(feature["labels"], pa.string()))
        columns.append(codes.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))
    return np.stack(columns, axis=1) if columns else np.empty((details.num_rows, 0))


def contributions_of(details: pa.Table) -> FloatArray:
    """Return the contributions (N, T) of rows of details; (N, 0) for rows that were not explained."""
    names = [name for name in details.column_names if name.startswith("contributions.")]
    columns = [details.column(name).to_numpy() for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((details.num_rows, 0))


def about(table: pa.Table) -> dict[str, Any]:
    """Return what a table says of its model and features."""
    content: dict[str, Any] = json.loads(table.schema.metadata[ABOUT])
    return content


def to_parquet(table: pa.Table) -> memoryview:
    """Return a table as the content of a Parquet file."""
    # Numbers are hardly ever twice the same, and dictionaries of them cost more than they save. Measured, nanoseconds a
    # row of the demo model: 80 with snappy, 150 with zstd, which saves a third of the bytes.
    texts = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, use_dictionary=texts, write_statistics=False, compression="snappy")
    return memoryview(sink.getvalue())


def from_parquet(content: bytes | memoryview) -> pa.Table:
    """Read what ``to_parquet`` returned."""
    return pa.parquet.read_table(pa.BufferReader(content))


class _Repeated:
    """Make columns of one value a batch."""

    def __init__(self, counts: Any) -> None:
        self._places = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def __call__(self, values: Sequence[Any], kind: Any = None) -> Any:
        if kind is not None:
            return pa.array(values, kind).take(pa.array(self._places))
        # Parquet takes over a dictionary as it is: it must not have a text twice, or none.
        known: dict[str, int] = {}
        codes = np.array([-1 if value is None else known.setdefault(value, len(known)) for value in values], np.int32)
        placed = codes[self._places]
        return pa.DictionaryArray.from_arrays(pa.array(placed, mask=placed < 0), pa.array([*known], pa.string()))


def _details(kind: Kind, batches: Sequence[Answered], counts: Any, columns: FloatArray) -> pa.Table:
    features = kind.served.model.features.features
    count = columns.shape[1]
    found: dict[str, Any] = {"n": np.arange(count, dtype=np.int32)}
    if any(batch.ids is not None for batch in batches):
        found["id"] = pa.array(
            [_text(each) for batch in batches for each in _cells(batch.ids, len(batch))], pa.string()
        )
        salts = pa.py_buffer(os.urandom(SALT_BYTES * count))
        found["salt"] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(SALT_BYTES), count, [None, salts])
    labels = []
    for j, feature in enumerate(features):
        known = _labels(feature)
        labels.append({"name": feature.name, "labels": known})
        values: Any = columns[j]
        if known is not None:
            absent = np.isnan(values)
            codes = pa.array(np.where(absent, 0, values).astype(np.int32), mask=absent)
            values = pa.DictionaryArray.from_arrays(codes, pa.array(known, pa.string()))
        found[f"inputs.{feature.name}"] = values
    if kind.terms:
        shares = np.concatenate([b.explanation.contributions for b in batches if b.explanation is not None])
        for t, term in enumerate(kind.terms):
            found[f"contributions.{term}"] = np.ascontiguousarray(shares[:, t])
    if any(batch.reasons is not None for batch in batches):
        found["reasons"] = pa.array(
            [each for batch in batches for each in _cells(batch.reasons, len(batch))], pa.string()
        )
    served = kind.served
    stated = {"model": served.name, "version": served.version, "sha256": served.digest, "features": labels}
    return _table(found, stated)


def _places(batches: Sequence[Answered], counts: Any) -> Any:
    """Return the place of each row in its request."""
    starts = np.cumsum(counts) - counts - np.array([batch.first for batch in batches])
    return np.arange(counts.sum(), dtype=np.int32) - np.repeat(starts.astype(np.int32), counts)


def _labels(feature: Feature) -> list[str] | None:
    """Return the texts of a feature's codes, the last one of which no category has; None for a number."""
    if feature.kind != "categorical":
        return None
    unseen = UNSEEN
    while unseen in feature.categories:
        unseen = f"({unseen})"
    return [*feature.categories, unseen]


def _cells(values: Any, count: int) -> Iterable[Any]:
    if values is None:
        return repeat(None, count)
    return values.tolist() if isinstance(values, np.ndarray) else values


def _text(value: Any) -> str | None:
    return None if value is None or value != value else str(value)


def _interval(batch: Answered) -> FloatArray:
    if batch.interval is None:
        return np.full((len(batch), 2), np.nan)
    return batch.served.model.intervals(batch.scores, batch.interval)


def _warnings(batches: Sequence[Answered], each: _Repeated) -> Any:
    """Name kinds and features, but not how far beyond a range a value is: that is a person's."""
    if not any(len(batch.warnings) for batch in batches):
        return each([None for _ in batches])
    texts = [text or None for batch in batches for text in batch.warnings.texts(far=False)]
    return pa.array(texts, pa.string()).dictionary_encode()


def _table(columns: dict[str, Any], stated: dict[str, Any]) -> pa.Table:
    return pa.table(columns).replace_schema_metadata({ABOUT: json.dumps(stated).encode()})
