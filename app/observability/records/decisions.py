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
from numpy.typing import NDArray

from eigenserve.app.observability.records.answered import Answered, Kind
from eigenserve.app.registry import ServedModel
from eigenserve.model.arrays import FloatArray

SALT_BYTES = 16
#: Numbers that stay the same from row to row, numbers that go up, and texts that no row is without.
REPEATED, COUNTING = ("time", "version"), ("n", "row")
TEXTS = ("request_id", "route", "key", "options", "model", "model_sha256")
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
        "time": each.numbers([round(batch.at * 1e6) for batch in batches], pa.timestamp("us", "UTC")),
        "request_id": each([batch.request_id for batch in batches]),
        "row": _places(batches, counts),
        "route": each([batch.route for batch in batches]),
        "key": each([batch.key for batch in batches]),
        **{name: np.ascontiguousarray(scores[:, i]) for i, name in enumerate(score_names(served))},
    }
    if model.classes:
        probabilities = model.probabilities(scores)
        chosen = probabilities.argmax(axis=1)
        decisions["label"] = coded(chosen.astype(np.int32), list(served.class_keys))
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
    for name, text in (("model", served.name), ("model_sha256", served.digest)):
        decisions[name] = each([text] * len(batches))
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
    ids = details.column("id").to_pylist()
    reasons = details.column("reasons").to_pylist() if "reasons" in details.column_names else repeat(None)
    salts = np.frombuffer(b"".join(details.column("salt").to_pylist()), np.uint8).reshape(-1, SALT_BYTES)
    numbers = np.concatenate([inputs_of(details), contributions_of(details)], axis=1)
    fixed = np.concatenate([salts, numbers.view(np.uint8)], axis=1)
    width, content = fixed.shape[1], fixed.tobytes()
    starts = range(0, len(content), width)
    dumps, begin, digests = orjson.dumps, hashlib.sha256().copy, []  # a copy takes half of what a new one does
    for start, each, reason in zip(starts, ids, reasons, strict=False):
        hashed = begin()
        hashed.update(content[start : start + width] + dumps([each, reason]))
        digests.append(hashed.digest())
    return pa.array(digests, pa.binary())


def schema_hash(details: pa.Table) -> str:
    """Return the sha256 of what rows of details mean: names and order of the columns, labels, and the model.

    Commitments cover numbers; with this, their names cannot change under the cover of an erasure either.
    """
    stated = (details.schema.metadata or {}).get(ABOUT, b"")
    return hashlib.sha256(orjson.dumps(details.column_names) + b"\n" + stated).hexdigest()


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
    # Numbers are hardly ever twice the same, and dictionaries of them cost more than they save; those that count rows
    # are kept as differences. Measured, nanoseconds a row of the demo model: 45 as it is, 150 with snappy, 250 with
    # zstd, which save half the bytes and more where rows repeat, and next to none where they do not.
    repeated = [f.name for f in table.schema if pa.types.is_dictionary(f.type) or f.name in REPEATED]
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(
        table,
        sink,
        use_dictionary=repeated,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in COUNTING if name in table.column_names},
        write_statistics=False,
        compression="none",
    )
    return memoryview(sink.getvalue())


def from_parquet(content: bytes | memoryview) -> pa.Table:
    """Read what ``to_parquet`` returned."""
    # Without pyarrow's threads: a command that ends at once must not wait for them.
    return pa.parquet.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


class _Repeated:
    """Make columns of one value a batch."""

    def __init__(self, counts: Any) -> None:
        self._counts = counts
        self._zeros = np.zeros(counts.sum(), np.int32)

    def numbers(self, values: Sequence[int], kind: Any) -> Any:
        """Return integers as a column of a type of as many bits."""
        return pa.array(np.repeat(np.array(values, np.int64), self._counts)).view(kind)

    def __call__(self, values: Sequence[Any]) -> Any:
        # Parquet takes over a dictionary as it is: it must not have a text twice, or none.
        known: dict[str, int] = {}
        codes = np.array([-1 if value is None else known.setdefault(value, len(known)) for value in values], np.int32)
        if not codes.any():
            return coded(self._zeros, [*known])
        return coded(np.repeat(codes, self._counts), [*known])


def coded(codes: NDArray[np.int32], texts: Sequence[str]) -> Any:
    """Return a column of texts by their codes; null where a code is negative."""
    absent = codes < 0
    # Not checked, which takes longer than all else here: codes are those of these texts.
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=absent if absent.any() else None), pa.array(texts, pa.string()), safe=False
    )


def _details(kind: Kind, batches: Sequence[Answered], counts: Any, columns: FloatArray) -> pa.Table:
    features = kind.served.model.features.features
    count = columns.shape[1]
    found: dict[str, Any] = {"n": np.arange(count, dtype=np.int32)}
    if any(batch.ids is not None for batch in batches):
        found["id"] = pa.array([each for batch in batches for each in batch.id_texts()], pa.string())
        salts = pa.py_buffer(os.urandom(SALT_BYTES * count))
        found["salt"] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(SALT_BYTES), count, [None, salts])
    labels = []
    for j, feature in enumerate(features):
        known = list(feature.labels) if feature.kind == "categorical" else None
        labels.append({"name": feature.name, "labels": known})
        values: Any = columns[j]
        if known is not None:
            values = coded(np.nan_to_num(values, nan=-1.0).astype(np.int32), known)
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


def _cells(values: Any, count: int) -> Iterable[Any]:
    if values is None:
        return repeat(None, count)
    return values.tolist() if isinstance(values, np.ndarray) else values


def _interval(batch: Answered) -> FloatArray:
    if batch.interval is None:
        return np.full((len(batch), 2), np.nan)
    return batch.served.model.intervals(batch.scores, batch.interval)


def _warnings(batches: Sequence[Answered], each: _Repeated) -> Any:
    """Name kinds and features, but not how far beyond a range a value is: that is a person's."""
    if not any(len(batch.warnings) for batch in batches):
        return each([None for _ in batches])
    known: dict[str, int] = {}
    codes = [np.full(len(batch), -1, np.int32) for batch in batches]
    for batch, own in zip(batches, codes, strict=True):
        if len(batch.warnings):
            texts = batch.warnings.texts(far=False)
            for row in np.unique(batch.warnings.rows).tolist():
                own[row] = known.setdefault(texts[row], len(known))
    return coded(np.concatenate(codes), [*known])


def _table(columns: dict[str, Any], stated: dict[str, Any]) -> pa.Table:
    arrays = {name: pa.array(values) if isinstance(values, np.ndarray) else values for name, values in columns.items()}
    # What is never null is written without saying so of each value; by name and type, as all parts have one schema.
    fields = [
        pa.field(name, values.type, not pa.types.is_primitive(values.type) and name not in TEXTS)
        for name, values in arrays.items()
    ]
    return pa.table([*arrays.values()], pa.schema(fields, {ABOUT: json.dumps(stated).encode()}))
