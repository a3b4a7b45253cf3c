"""Turn named raw features into the coordinates that walk the curves of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import CategoryCodes, Kind, category_key, describe, encode_cell
from eigenserve.model.rows.date_cycles import CYCLES, CycleName, cycle_values
from eigenserve.model.rows.errors import MAX_REPORTED_ERRORS, InvalidRowsError, Location
from eigenserve.model.rows.readings import PLAIN, Reading

Transform = Literal["identity", "log"]


@dataclass(frozen=True)
class Feature:
    """Describe one column of a table, and how its values become a coordinate.

    numeric      z = (t(x) - center) / scale, with t the identity or log(max(x, low)).
    datetime     days since 1970-01-01 UTC, then as a number.
    boolean      false -> 0, true -> 1.
    categorical  the position in ``categories``; ``len(categories)`` for any other value.

    A numeric feature may be a cycle of a date: where a row does not give it, it is computed from the date.

    Where ``missing`` is true the model has a matrix of its own for a missing value; elsewhere a missing
    number counts as the training median and a missing category as unknown.

    Attributes:
        name: the column's name.
        kind: numeric, datetime, boolean or categorical.
        typical: the training median or most frequent value, in raw units.
        transform: what happens to a number before it is standardised.
        center, scale: of the transformed training values.
        low, high: the training range in raw units.
        categories: the training categories as ``category_key`` writes them.
        missing: whether a missing value has a matrix of its own.
        source, cycle: the datetime feature that it is a cycle of, and which one; empty for a column of its own.
        reading: how texts are read.
    """

    name: str
    kind: Kind
    typical: float | bool | str | None
    transform: Transform = "identity"
    center: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0
    categories: tuple[str, ...] = ()
    missing: bool = False
    source: str = ""
    cycle: CycleName | Literal[""] = ""
    reading: Reading = PLAIN

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.transform not in get_args(Transform):
            raise ValueError(f"feature {self.name!r} has an unknown kind or transform: {self.kind}, {self.transform}")
        numbers = (self.center, self.scale, self.low, self.high)
        if not all(math.isfinite(number) for number in numbers) or self.scale <= 0:
            raise ValueError(f"feature {self.name!r} must have a finite center, low and high and a positive scale")
        if self.kind != "categorical" and not isinstance(self.typical, int | float):
            raise ValueError(f"feature {self.name!r} must have a typical value that is a number")
        if bool(self.source) != bool(self.cycle) or self.cycle not in ("", *CYCLES):
            raise ValueError(f"feature {self.name!r} has an unknown date or cycle: {self.source!r}, {self.cycle!r}")
        if self.cycle and self.kind != "numeric":
            raise ValueError(f"feature {self.name!r} must be numeric to be a cycle; got {self.kind}")

    @property
    def num_codes(self) -> int:
        """Count the codes of a categorical feature, the unknown one included, or of a boolean; 0 for others."""
        return {"categorical": len(self.categories) + 1, "boolean": 2}.get(self.kind, 0)

    @cached_property
    def codes(self) -> CategoryCodes:
        """Map every text to its code."""
        return CategoryCodes(self.categories, self.reading)

    def encode(self, value: Any) -> tuple[float, str]:
        """Encode one value: (number, "") or (NaN, what is wrong)."""
        return encode_cell(self.kind, self.codes, self.reading, value)

    def coordinate(self, values: FloatArray) -> FloatArray:
        """Turn column values, as ``FeatureSpace.encode`` gives them, into coordinates (NaN only if ``missing``)."""
        if not self.missing:
            values = np.where(np.isnan(values), self._stand_in, values)
        if self.kind == "categorical":
            return values
        if self.transform == "log":
            values = np.log(np.maximum(values, self.low))
        return (values - self.center) / self.scale

    def value(self, coordinates: FloatArray) -> FloatArray:
        """Return the number in raw units that has a coordinate: the inverse of ``coordinate``, to rounding.

        Infinite where it is beyond float64.
        """
        with np.errstate(over="ignore"):
            values = coordinates * self.scale + self.center
            return np.exp(values) if self.transform == "log" else values

    def coordinate_slope(self, values: FloatArray) -> FloatArray:
        """Return d(coordinate)/dx for a numeric feature; NaN where the value is missing."""
        if self.transform == "identity":
            return np.where(np.isnan(values), np.nan, 1.0 / self.scale)
        with np.errstate(divide="ignore"):
            slope = 1.0 / (values * self.scale)
        # Below the training range the logarithm's argument is held, and so is the coordinate.
        slope[values < self.low] = 0.0
        return slope

    @property
    def _stand_in(self) -> float:
        """Return what a missing value counts as where it does not have a separate matrix."""
        if self.kind == "categorical":
            return float(len(self.categories))
        return float(self.typical)  # type: ignore[arg-type]


@dataclass(frozen=True)
class FeatureSpace:
    """Hold the features of a model in training column order, and after them the cycles of dates."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"feature names must differ; got {names}")
        dates = {feature.name for feature in self.features if feature.kind == "datetime"}
        for feature in self.features[len(self.input_names) :]:
            if feature.source not in dates:
                raise ValueError(f"feature {feature.name!r} must stand behind all columns, as a cycle of a date does")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Return names in column order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Return names of the features that rows have to give: all but cycles."""
        return tuple(feature.name for feature in self.features if not feature.cycle)

    @cached_property
    def _cycles(self) -> list[tuple[int, int, CycleName]]:
        """Return positions of each cycle and of its date, and which it is."""
        return [(i, self.position(f.source), f.cycle) for i, f in enumerate(self.features) if f.cycle]

    @cached_property
    def tied(self) -> frozenset[int]:
        """Return positions of cycles and of their dates: none of them changes alone in a real row."""
        return frozenset(i for cycle, date, _ in self._cycles for i in (cycle, date))

    def position(self, name: str) -> int:
        """Return where a feature stands.

        Raises:
            ValueError: naming the features there are.
        """
        if name not in self.names:
            raise ValueError(f"no feature {name!r}; the features are {', '.join(self.names)}")
        return self.names.index(name)

    def encode(self, rows: Any) -> FloatArray:
        """Encode raw rows as columns.

        Args:
            rows: a list of rows, each a mapping by feature name (a missing key is a missing value) or a
                sequence in column order; or a table with named columns (a pandas DataFrame, or a mapping of
                name -> values), whose further columns are ignored; or a 2-D array in column order. Cycles of
                dates may be left out everywhere; of tables they are never read, where a column of such a name may
                be anything.

        Returns:
            (N, F) float64: numbers in raw units, 0/1 for booleans, codes for categories, NaN for missing.

        Raises:
            InvalidRowsError: naming each bad row and feature (the first ``MAX_REPORTED_ERRORS`` of them).
        """
        if isinstance(rows, Mapping) or hasattr(rows, "columns"):
            columns = self._encode_table(rows)
        elif isinstance(rows, np.ndarray) and rows.ndim == 2:
            if rows.shape[1] not in self._lengths:
                raise InvalidRowsError([((), f"a row must have {self._length} values; got {rows.shape[1]}")])
            columns = self._encode_columns(list(rows.T), self.names)
        else:
            columns = self._encode_rows(rows)
        self.fill_cycles(columns)
        return columns

    def fill_cycles(self, columns: FloatArray) -> None:
        """Compute cycles that are missing in columns (N, F) from their dates, in place."""
        for i, source, cycle in self._cycles:
            absent = np.isnan(columns[:, i])
            columns[absent, i] = cycle_values(cycle, columns[absent, source])

    @property
    def _lengths(self) -> set[int]:
        """Return how many values a row in column order may have."""
        return {len(self.input_names), len(self)}

    @property
    def _length(self) -> str:
        return " or ".join(map(str, sorted(self._lengths)))

    def coordinates(self, columns: FloatArray) -> FloatArray:
        """Turn columns (N, F), as ``encode`` gives them, into what the curves are walked by, (N, F) float64."""
        stand_ins, centers, scales, logarithms = self._maps
        out = np.where(np.isnan(columns), stand_ins, columns)
        for i, low in logarithms:
            out[:, i] = np.log(np.maximum(out[:, i], low))
        out -= centers
        out /= scales
        return out

    @cached_property
    def _maps(self) -> tuple[FloatArray, FloatArray, FloatArray, list[tuple[int, float]]]:
        """Stack ``Feature.coordinate`` of all features; measured on a single row of 8: a third of the time."""
        numbers = [feature.kind != "categorical" for feature in self.features]
        return (
            np.array([math.nan if f.missing else f._stand_in for f in self.features], np.float64),
            np.array([f.center if number else 0.0 for f, number in zip(self.features, numbers, strict=True)]),
            np.array([f.scale if number else 1.0 for f, number in zip(self.features, numbers, strict=True)]),
            [(i, f.low) for i, f in enumerate(self.features) if numbers[i] and f.transform == "log"],
        )

    def _encode_table(self, table: Any) -> FloatArray:
        present = set(table) if isinstance(table, Mapping) else set(table.columns)
        absent = [name for name in self.input_names if name not in present]
        if absent:
            raise InvalidRowsError([((), f"the table must have the column {name!r}") for name in absent])
        columns = [_column(table[name]) for name in self.input_names]
        for name, column in zip(self.input_names, columns, strict=True):
            if column is None:
                got = describe(table[name])
                message = f"a table's column must be a sequence, and a single row stand in a list; got {got}"
                raise InvalidRowsError([((name,), message)])
            if len(column) != len(columns[0]):
                message = f"columns must have the same length, {len(columns[0])}; got {len(column)}"
                raise InvalidRowsError([((name,), message)])
        return self._encode_columns(columns, self.input_names)

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
        """Encode rows of several shapes, or with something wrong: one at a time, all errors gathered."""
        errors: list[tuple[Location, str]] = []
        out = np.full((len(rows), len(self)), math.nan)
        for i, row in enumerate(rows):
            if isinstance(row, Mapping):
                keys: tuple[int | str, ...] = self.names
                values = [row.get(name) for name in self.names]
                errors += [((i, str(key)), self._unknown(key)) for key in row if key not in self.names]
            elif isinstance(row, Sequence | np.ndarray) and not isinstance(row, str | bytes):
                keys, values = tuple(range(len(self))), list(row)
                if len(values) not in self._lengths:
                    errors.append(((i,), f"a row must have {self._length} values; got {len(values)}"))
                    continue
            else:
                got = describe(row)
                errors.append(((i,), f"a row must be an object by feature name or an array; got {got}"))
                continue
            for j, (feature, key, value) in enumerate(zip(self.features, keys, values, strict=False)):
                out[i, j], message = feature.encode(value)
                if message:
                    errors.append(((i, key), message))
        if errors:
            raise InvalidRowsError(errors[:MAX_REPORTED_ERRORS], total=len(errors))
        return out

    def _unknown(self, key: object) -> str:
        return f"unknown feature; the model's features are {', '.join(self.names)}; got {key!r}"

    def _encode_columns(self, columns: Sequence[Any], keys: Sequence[int | str]) -> FloatArray:
        """Encode columns of the first features; those of the others are missing."""
        count = len(columns[0]) if columns else 0
        out = np.full((count, len(self)), math.nan)
        errors: list[tuple[Location, str]] = []
        for j, (feature, key, column) in enumerate(zip(self.features, keys, columns, strict=False)):
            if _fill_plain(feature, column, out[:, j]):
                continue
            for i, value in enumerate(column):
                out[i, j], message = feature.encode(value)
                if message:
                    errors.append(((i, key), message))
        if errors:
            raise InvalidRowsError(errors[:MAX_REPORTED_ERRORS], total=len(errors))
        return out


def _column(values: Any) -> Any:
    """Return a table's column as a sequence of its values; None if it is not a column."""
    if isinstance(values, list | tuple):
        return values  # as it is: np.asarray would make one type of a number and a text
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = values.astype("datetime64[us]")  # of nanoseconds NumPy would make integers
    dates = getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M")
    array = np.asarray(values, object if dates else None)
    return array if array.ndim == 1 else None


def _fill_plain(feature: Feature, values: Any, out: FloatArray) -> bool:
    """Fill plain numbers or plain texts quickly; False where cells need a look one by one."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        if feature.kind != "numeric":
            return False
        out[:] = values
        return not np.isinf(out).any()
    types = set(map(type, values))
    if feature.kind == "numeric" and types <= {int, float}:
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


__all__ = ["Feature", "FeatureSpace", "FloatArray", "InvalidRowsError", "Kind", "category_key"]
