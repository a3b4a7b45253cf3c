"""Encoder: rows as lists, mappings, tables or arrays -> columns of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import describe
from eigenserve.model.rows.errors import MAX_REPORTED_ERRORS, InvalidRowsError, Location
from eigenserve.model.rows.feature import Feature
from eigenserve.model.rows.layout.titles import as_called


@dataclass(frozen=True)
class Encoder:
    """Encodes rows of some features, of which the last may be left out of rows: cycles of dates.

    Attributes:
        features: in column order.
        inputs: how many of them rows have to give.
    """

    features: tuple[Feature, ...]
    inputs: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return names in column order."""
        return tuple(feature.name for feature in self.features)

    def encode(self, rows: Any) -> FloatArray:
        """Return columns (N, F); arguments and errors as of ``FeatureSpace.encode``."""
        if isinstance(rows, Mapping) or hasattr(rows, "columns"):
            return self._encode_table(rows)
        if isinstance(rows, np.ndarray) and rows.ndim == 2:
            if rows.shape[1] not in self._lengths:
                raise InvalidRowsError([((), f"a row must have {self._length} values; got {rows.shape[1]}")])
            return self._encode_columns(list(rows.T), self.names)
        return self._encode_rows(rows)

    @property
    def _lengths(self) -> set[int]:
        """Return how many values a row in column order may have."""
        return {self.inputs, len(self.features)}

    @property
    def _length(self) -> str:
        return " or ".join(map(str, sorted(self._lengths)))

    def _encode_table(self, table: Any) -> FloatArray:
        inputs = self.names[: self.inputs]
        own = list(table if isinstance(table, Mapping) else table.columns)
        if set(inputs) - set(own):
            called = as_called([name if isinstance(name, str) else "" for name in own], inputs)
            table = {name: table[each] for name, each in zip(called, own, strict=True) if name in inputs}
            if absent := [name for name in inputs if name not in table]:
                raise InvalidRowsError([((), f"the table must have the column {name!r}") for name in absent])
        columns = [_column(table[name]) for name in inputs]
        for name, column in zip(inputs, columns, strict=True):
            if column is None:
                got = describe(table[name])
                message = f"a table's column must be a sequence, and a single row stand in a list; got {got}"
                raise InvalidRowsError([((name,), message)])
            if len(column) != len(columns[0]):
                message = f"columns must have the same length, {len(columns[0])}; got {len(column)}"
                raise InvalidRowsError([((name,), message)])
        return self._encode_columns(columns, inputs)

    def _encode_rows(self, rows: Any) -> FloatArray:
        if not isinstance(rows, Sequence):
            if not isinstance(rows, Iterable) or getattr(rows, "ndim", 1) == 0:
                raise InvalidRowsError([((), f"rows must be a list of rows; got {describe(rows)}")])
            rows = list(rows)
        kinds = set(map(type, rows))
        if kinds == {dict}:
            known = set(self.names)
            if all(map(known.issuperset, rows)):
                return self._encode_columns([[r.get(n) for r in rows] for n in self.names], self.names)
        elif kinds and kinds <= {list, tuple} and set(map(len, rows)) in ({length} for length in self._lengths):
            columns = list(zip(*rows, strict=True))
            return self._encode_columns(columns, tuple(range(len(columns))))
        return self._encode_mixed(rows)

    def _encode_mixed(self, rows: Sequence[Any]) -> FloatArray:
        """Encode rows of several shapes, or with something wrong: one at a time, errors counted and the first kept."""
        errors = _Errors()
        known = set(self.names)
        out = np.full((len(rows), len(self.features)), math.nan)
        for i, row in enumerate(rows):
            if isinstance(row, Mapping):
                keys: tuple[int | str, ...] = self.names
                values = [row.get(name) for name in self.names]
                for key in row:
                    if key not in known:
                        errors.add((i, str(key)), self._unknown, key)
            elif isinstance(row, Sequence | np.ndarray) and not isinstance(row, str | bytes):
                keys, values = tuple(range(len(self.features))), list(row)
                if len(values) not in self._lengths:
                    errors.add((i,), f"a row must have {self._length} values; got {{}}".format, len(values))
                    continue
            else:
                errors.add((i,), _no_row, row)
                continue
            for j, (feature, key, value) in enumerate(zip(self.features, keys, values, strict=False)):
                out[i, j], message = feature.encode(value)
                if message:
                    errors.add((i, key), str, message)
        errors.check()
        return out

    def _unknown(self, key: object) -> str:
        return f"unknown feature; the model's features are {', '.join(self.names)}; got {key!r}"

    def _encode_columns(self, columns: Sequence[Any], keys: Sequence[int | str]) -> FloatArray:
        """Encode columns of the first features; those of the others are missing."""
        count = len(columns[0]) if columns else 0
        out = np.full((count, len(self.features)), math.nan)
        errors = _Errors()
        for j, (feature, key, column) in enumerate(zip(self.features, keys, columns, strict=False)):
            if _fill_plain(feature, column, out[:, j]):
                continue
            for i, value in enumerate(column):
                out[i, j], message = feature.encode(value)
                if message:
                    errors.add((i, key), str, message)
        errors.check()
        return out


class _Errors:
    """Count errors, and keep the first: a message names all features, and a body full of errors would fill memory."""

    def __init__(self) -> None:
        self._kept: list[tuple[Location, str]] = []
        self._total = 0

    def add(self, loc: Location, message: Callable[[Any], str], value: Any) -> None:
        """Add an error; its message is written only if it is kept."""
        self._total += 1
        if len(self._kept) < MAX_REPORTED_ERRORS:
            self._kept.append((loc, message(value)))

    def check(self) -> None:
        """Raise InvalidRowsError if there were any."""
        if self._total:
            raise InvalidRowsError(self._kept, total=self._total)


def _no_row(row: Any) -> str:
    return f"a row must be an object by feature name or an array; got {describe(row)}"


def _column(values: Any) -> Any:
    """Return a table's column as a sequence of its values; None if it is not a column."""
    if isinstance(values, list | tuple):
        return values  # as it is: np.asarray would make one type of a number and a text
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = values.astype("datetime64[us]")  # of nanoseconds NumPy would make integers
    dates = getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M")
    array = np.asarray(values, object if dates or _is_long(values) else None)
    return array if array.ndim == 1 else None


def _is_long(values: Any) -> bool:
    """Return whether pandas' whole numbers, which become floats next to missing ones, would lose digits so."""
    nullable = str(getattr(values, "dtype", "")) in ("Int64", "UInt64") and getattr(values, "hasnans", False)
    return nullable and bool((values.abs() > 2**53).any())


#: Types whose values NumPy turns into the same numbers as ``encode_cell`` does; of None it makes NaN.
_PLAIN_BOOLEANS, _PLAIN_NUMBERS = frozenset({bool, type(None)}), frozenset({int, float, type(None)})


def _fill_plain(feature: Feature, values: Any, out: FloatArray) -> bool:
    """Fill plain numbers or plain texts quickly; False where cells need a look one by one."""
    filled = _fill_values(feature, values, out)
    if filled and feature.reading.sentinels:
        out[np.isin(out, feature.reading.sentinels)] = math.nan
    return filled


def _fill_values(feature: Feature, values: Any, out: FloatArray) -> bool:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        if feature.kind != "numeric":
            return False
        out[:] = values
        return not np.isinf(out).any()
    types = set(map(type, values))
    if feature.kind == "boolean" and types <= _PLAIN_BOOLEANS:
        out[:] = values
        return True
    if feature.kind == "numeric" and types <= _PLAIN_NUMBERS:
        try:
            out[:] = values
        except OverflowError:
            return False
        return not np.isinf(out).any()
    if feature.kind == "categorical" and types == {str}:
        codes = feature.codes
        out[:] = [codes[value] for value in values]
        return True
    return False
