"""List the values that a feature of a row may take instead, and their distances from its present one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.cells import describe
from eigenserve.model.rows.features import Feature

#: Multiples of a step within a range that are tried one by one.
MOST_VALUES = 4096
#: Why a date whose cycles are features has no steps, nor they.
TIED = "a date and its cycles never change"


@dataclass(frozen=True)
class Steps:
    """Say which changes of rows are allowed.

    What is missing stays missing. Numbers stay within their ranges; categories become others that training knew.

    Attributes:
        predictor: what scores the rows.
        fixed: positions of features that may not change.
        ranges: (low, high) in raw units by position; the training range for others.
    """

    predictor: Predictor
    fixed: Collection[int] = ()
    ranges: Mapping[int, tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        for index, limits in (self.ranges or {}).items():
            feature = self.predictor.features.features[index]
            if index in self.predictor.features.tied:
                raise ValueError(f"{feature.name!r} has no range: {TIED}")
            if not np.isfinite(limits).all() or not limits[0] <= limits[1]:
                raise ValueError(f"a range must be [low, high] with low <= high; got {limits!r} for {feature.name!r}")

    @cached_property
    def used(self) -> frozenset[int]:
        """Return features that the model looks at and that may change, without dates whose cycles it looks at, too."""
        used = {i for term in self.predictor.ensemble.pencil.terms for i in term.features}
        return frozenset(used - set(self.fixed) - self.predictor.features.tied)

    def numbers(self, row: FloatArray) -> list[int]:
        """Return positions of the numeric features of a row (F,) of columns that may change."""
        features = self.predictor.features.features
        return [i for i in sorted(self.used) if not features[i].num_codes and not np.isnan(row[i])]

    def choices(self, row: FloatArray) -> dict[int, FloatArray]:
        """Return other codes that the row's categories and booleans may take, by position."""
        found = {}
        for i in sorted(self.used):
            feature = self.predictor.features.features[i]
            if feature.num_codes and not np.isnan(row[i]):
                codes = np.arange(len(feature.categories) if feature.kind == "categorical" else 2, dtype=np.float64)
                found[i] = codes[codes != row[i]]
        return found

    def limits(self, index: int) -> tuple[float, float]:
        """Return the range of a number, in raw units."""
        feature = self.predictor.features.features[index]
        low, high = (self.ranges or {}).get(index, (feature.low, feature.high))
        return low, high

    def bounds(self, index: int) -> tuple[float, float]:
        """Return the range of a number, in coordinates."""
        feature = self.predictor.features.features[index]
        low, high = feature.coordinate(np.array(self.limits(index), np.float64)).tolist()
        return low, high

    def grid(self, index: int) -> FloatArray:
        """Return the values that a number may take, where these are multiples of a step and few; else none."""
        feature, (low, high) = self.predictor.features.features[index], self.limits(index)
        if not feature.step or (high - low) / feature.step > MOST_VALUES:
            return np.empty(0)
        return feature.step * np.arange(np.ceil(low / feature.step), np.floor(high / feature.step) + 1.0)

    def value(self, index: int, places: FloatArray) -> FloatArray:
        """Return raw values at coordinates, never beyond the range: rounding is not allowed to lead out of it."""
        return np.clip(self.predictor.features.features[index].value(places), *self.limits(index))


def read_range(feature: Feature, ends: Any) -> tuple[float, float]:
    """Read a number's range [low, high], written as its rows write it, into raw units.

    Raises:
        ValueError: it is none, or the feature can have none.
    """
    if feature.num_codes:
        raise ValueError(f"{feature.name!r} is not a number: only numbers have a range")
    if not isinstance(ends, Sequence | np.ndarray) or isinstance(ends, str) or len(ends) != 2:
        raise ValueError(f"a range must be [low, high]; got {describe(ends)} for {feature.name!r}")
    try:
        return read_limit(feature, ends[0]), read_limit(feature, ends[1])
    except ValueError as error:
        raise ValueError(f"the range of {feature.name!r}: {error}") from None


def read_limit(feature: Feature, value: Any) -> float:
    """Read one end of a number's range, written as its rows write it; a date or time becomes days since 1970.

    Raises:
        ValueError: it is none, or missing.
    """
    number, _ = feature.encode(value)
    if np.isnan(number):
        allowed = "a date or time in ISO 8601" if feature.kind == "datetime" else "a finite number"
        raise ValueError(f"must be {allowed}; got {describe(value)}")
    return number
