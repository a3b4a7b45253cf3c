"""Encode Arrow columns as ``FeatureSpace.encode`` encodes the same rows, without a Python object per cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import SECONDS_PER_DAY
from eigenserve.model.rows.features import Feature, FeatureSpace

#: (row, position of the feature) -> what is wrong.
Faults = dict[tuple[int, int], str]
#: Days since 1970 of the years 1 and 10,000, which Python's times lie between.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_897
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def encode_table(features: FeatureSpace, table: pa.Table, is_text: bool) -> tuple[FloatArray, Faults]:
    """Encode a table's rows as (N, F) float64, and find every cell that does not fit the model.

    Args:
        features: of the model.
        table: with a column for each of them but cycles of dates.
        is_text: whether numbers are written as text, as in CSV.
    """
    out = np.full((table.num_rows, len(features)), np.nan)
    faults: Faults = {}
    for j, feature in enumerate(features.features[: len(features.input_names)]):
        column = table.column(feature.name)
        for row, message in _encode_column(feature, column, is_text, out[:, j]):
            faults[row, j] = message
    features.fill_cycles(out)
    return out, faults


def _encode_column(feature: Feature, column: Any, is_text: bool, out: FloatArray) -> Sequence[tuple[int, str]]:
    """Fill ``out``; what is wrong, by row."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if feature.kind == "numeric" and is_text:
        numbers = _parsed(column)
        if numbers is None:
            return _encode_cells(feature, [_number(text) for text in column.to_pylist()], out)
        column = numbers
    kind = column.type
    if feature.kind == "numeric" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        out[:] = column.to_numpy()
        infinite = np.flatnonzero(np.isinf(out))
        return [(row, feature.encode(out[row])[1]) for row in infinite.tolist()]
    if feature.kind == "datetime" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        moments = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        micros = moments.cast(pa.int64())
        out[:] = micros.fill_null(0).to_numpy() / 1e6 / SECONDS_PER_DAY
        out[micros.is_null().to_numpy()] = np.nan
        return _far(column, out)
    return _encode_distinct(feature, column, out)


def _far(column: Any, out: FloatArray) -> Sequence[tuple[int, str]]:
    """Find times that a text cannot write, some of which are beyond 64 bits in microseconds, too."""
    kind = column.type
    if pa.types.is_date32(kind):
        counts, per_day = column.cast(pa.int32()), 1.0
    else:
        counts, per_day = column.cast(pa.int64()), SECONDS_PER_DAY * _PER_SECOND[getattr(kind, "unit", "ms")]
    days = counts.fill_null(0).to_numpy() / per_day
    rows = np.flatnonzero((days < _FIRST_DAY) | (days >= _LAST_DAY))
    out[rows] = np.nan
    return [(row, "must be a date or time of the years 1 to 9999, or null") for row in rows.tolist()]


def _encode_distinct(feature: Feature, column: Any, out: FloatArray) -> Sequence[tuple[int, str]]:
    """Encode every distinct value once: columns of categories have few."""
    try:
        encoded = pa.chunked_array(column.chunks, column.type).combine_chunks().dictionary_encode()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, structs: not categories, as each cell reports
        return _encode_cells(feature, _values(column), out)
    codes, messages = [np.nan], [""]
    for value in _values(encoded.dictionary):
        code, message = feature.encode(value)
        codes.append(code)
        messages.append(message)
    places = pc.add(encoded.indices.cast(pa.int64()), 1).fill_null(0).to_numpy()
    out[:] = np.array(codes)[places]
    wrong = np.array([bool(message) for message in messages])
    return [(row, messages[places[row]]) for row in np.flatnonzero(wrong[places]).tolist()] if wrong.any() else ()


def _values(column: Any) -> list[Any]:
    """Return a column's values as Python's own; times beyond Python's range become texts."""
    try:
        values: list[Any] = column.to_pylist()
    except OverflowError:
        return [_value(scalar) for scalar in column]
    return values


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except OverflowError:
        return "a time beyond the years 1 to 9999"


def _encode_cells(feature: Feature, values: Sequence[Any], out: FloatArray) -> Sequence[tuple[int, str]]:
    faults = []
    for row, value in enumerate(values):
        out[row], message = feature.encode(value)
        if message:
            faults.append((row, message))
    return faults


def _parsed(column: Any) -> Any:
    """Parse a column of texts as numbers; None where one is not a number, or is written as only Python reads it."""
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _number(text: str | None) -> float | str | None:
    """Read a cell of CSV as ``app.wire.tables`` does: text that is not a number stays text, to be named."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
