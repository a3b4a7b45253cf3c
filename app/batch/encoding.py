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
#: A number as programs write it, in RE2's words.
_PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def encode_table(features: FeatureSpace, table: pa.Table) -> tuple[FloatArray, Faults]:
    """Encode a table's rows as (N, F) float64, and find every cell that does not fit the model.

    Args:
        features: of the model.
        table: with a column for each of them but cycles of dates.
    """
    out = np.full((table.num_rows, len(features)), np.nan)
    faults: Faults = {}
    for j, feature in enumerate(features.features[: len(features.input_names)]):
        column = table.column(feature.name)
        for row, message in _encode_column(feature, column, out[:, j]):
            faults[row, j] = message
        if feature.reading.sentinels:
            out[np.isin(out[:, j], feature.reading.sentinels), j] = np.nan
    features.fill_cycles(out)
    return out, faults


def _encode_column(feature: Feature, column: Any, out: FloatArray) -> Sequence[tuple[int, str]]:
    """Fill ``out``; what is wrong, by row."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type) and feature.kind != "categorical":
        column = column.cast(pa.float64())
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if pa.types.is_duration(column.type):
        column = column.cast(pa.duration("us"), safe=False)
    if pa.types.is_time64(column.type):
        column = column.cast(pa.time64("us"), safe=False)
    if feature.kind == "numeric" and feature.reading.takes_plain and _is_text(column.type):
        column = _parsed(feature, column)
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
    if pa.types.is_float16(column.type) or pa.types.is_float32(column.type):
        # Python's would have digits that 32 bits do not say.
        return list(column.drop_null().to_numpy())
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


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _parsed(feature: Feature, column: Any) -> Any:
    """Return texts as numbers, or as they are where one of them is not written as programs write numbers."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    missing = pc.is_in(texts, value_set=pa.array(sorted(feature.reading.missing_texts), pa.large_string()))
    texts = pc.if_else(missing, pa.scalar(None, pa.large_string()), texts)
    if pc.all(pc.match_substring_regex(texts, _PLAIN)).as_py() is False:
        return column
    return pc.utf8_ltrim(texts, "+").cast(pa.float64())
