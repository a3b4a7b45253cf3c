"""Feature: one column of a table, and how its values become a coordinate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import CategoryCodes, Kind, encode_cell, iso_time
from eigenserve.model.rows.date_cycles import CYCLES, CycleName
from eigenserve.model.rows.readings import PLAIN, Reading

Transform = Literal["identity", "log"]
#: What answers and records call a category that training did not know.
UNSEEN = "(unseen)"


@dataclass(frozen=True)
class Feature:
    """Describe one column of a table, and how its values become a coordinate.

    numeric      z = (t(x) - center) / scale, with t the identity or log(max(x, low)).
    datetime     days since 1970-01-01 UTC, then as a number.
    boolean      false -> 0, true -> 1.
    categorical  the position in ``categories``; ``len(categories)`` for any other value.

    A numeric feature may be a cycle of a date: where a row does not give it, it is computed from the date.

    Where ``missing`` is true the model has a separate matrix for a missing value; elsewhere a missing
    number counts as the training median and a missing category as unknown.

    Attributes:
        name: the column's name.
        kind: numeric, datetime, boolean or categorical.
        typical: the training median or most frequent value, in raw units.
        transform: what happens to a number before it is standardised.
        center, scale: of the transformed training values.
        low, high: the training range in raw units.
        categories: the training categories as ``category_key`` writes them.
        missing: whether a missing value has a separate matrix.
        step: of which every training value is a multiple, where that is known: 1 for whole numbers, 0.01 for cents; 0
            for none.
        values: all training values, ascending, where they are few and not simply all multiples of the step.
        ordered: whether the categories have an order, as those of an ordered column of the training table do.
        source, cycle: the datetime feature that it is a cycle of, and which one; empty for an ordinary column.
        groups: of a categorical feature with many categories: the group of each code, the unknown one's last, which is
            what its curves know; empty where each code is a separate group.
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
    step: float = 0.0
    values: tuple[float, ...] = ()
    ordered: bool = False
    source: str = ""
    cycle: CycleName | Literal[""] = ""
    groups: tuple[int, ...] = ()
    reading: Reading = PLAIN

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.transform not in get_args(Transform):
            raise ValueError(f"feature {self.name!r} has an unknown kind or transform: {self.kind}, {self.transform}")
        numbers = (self.center, self.scale, self.low, self.high)
        if not all(math.isfinite(number) for number in numbers) or self.scale <= 0:
            raise ValueError(f"feature {self.name!r} must have a finite center, low and high and a positive scale")
        if self.kind != "categorical" and not isinstance(self.typical, int | float):
            raise ValueError(f"feature {self.name!r} must have a typical value that is a number")
        if not 0.0 <= self.step < math.inf or (self.step and self.kind != "numeric"):
            raise ValueError(
                f"feature {self.name!r} must be numeric to have a step, finite and positive; got {self.step}"
            )
        if self.values and (self.kind != "numeric" or not all(map(math.isfinite, self.values))):
            raise ValueError(f"feature {self.name!r} must be numeric to have allowed values, all finite")
        if self.ordered and self.kind != "categorical":
            raise ValueError(f"feature {self.name!r} must be categorical to be ordered; got {self.kind}")
        if bool(self.source) != bool(self.cycle) or self.cycle not in ("", *CYCLES):
            raise ValueError(f"feature {self.name!r} has an unknown date or cycle: {self.source!r}, {self.cycle!r}")
        if self.cycle and self.kind != "numeric":
            raise ValueError(f"feature {self.name!r} must be numeric to be a cycle; got {self.kind}")
        if self.groups and (self.kind != "categorical" or len(self.groups) != self.num_codes or min(self.groups) < 0):
            raise ValueError(f"feature {self.name!r} must have a group from 0 for each of its codes")

    @property
    def num_codes(self) -> int:
        """Count the codes of a categorical feature, the unknown one included, or of a boolean; 0 for others."""
        return {"categorical": len(self.categories) + 1, "boolean": 2}.get(self.kind, 0)

    @property
    def num_paths(self) -> int:
        """Count what a curve can choose between: groups of codes, or codes."""
        return max(self.groups) + 1 if self.groups else self.num_codes

    @cached_property
    def group_of(self) -> FloatArray:
        """Return the group of each code."""
        return np.array(self.groups, np.float64) if self.groups else np.arange(self.num_codes, dtype=np.float64)

    @cached_property
    def codes(self) -> CategoryCodes:
        """Map every text to its code."""
        return CategoryCodes(self.categories, self.reading)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Return what each code is called; that of unknown categories as no category is, such as "(unseen)"."""
        if self.kind == "boolean":
            return "false", "true"
        unseen = UNSEEN
        while unseen in self.categories:
            unseen = f"({unseen})"
        return *self.categories, unseen

    def written(self, value: float) -> float | bool | str | None:
        """Return a column's value as a row has it: a date in ISO 8601, an unknown category by its label."""
        if np.isnan(value):
            return None
        if self.kind == "categorical":
            return self.labels[int(value)]
        if self.kind == "boolean":
            return bool(value)
        return iso_time(value) if self.kind == "datetime" else float(value)

    def encode(self, value: Any) -> tuple[float, str]:
        """Encode one value: (number, "") or (NaN, what is wrong)."""
        return encode_cell(self.kind, self.codes, self.reading, value)

    def coordinate(self, values: FloatArray) -> FloatArray:
        """Turn column values, as ``FeatureSpace.encode`` gives them, into coordinates (NaN only if ``missing``)."""
        if not self.missing:
            values = np.where(np.isnan(values), self.stand_in, values)
        if self.kind == "categorical":
            return self.grouped(values)
        if self.transform == "log":
            values = np.log(np.maximum(values, self.low))
        return (values - self.center) / self.scale

    def grouped(self, codes: FloatArray) -> FloatArray:
        """Turn codes into groups; NaN stays."""
        if not self.groups:
            return codes
        absent = np.isnan(codes)
        return np.where(absent, np.nan, self.group_of[np.where(absent, 0.0, codes).astype(np.int64)])

    def value(self, coordinates: FloatArray) -> FloatArray:
        """Return the number in raw units that has a coordinate: the inverse of ``coordinate``, to rounding.

        Infinite where it is beyond float64.
        """
        with np.errstate(over="ignore"):
            values = coordinates * self.scale + self.center
            return np.exp(values) if self.transform == "log" else values

    def multiples(self, counts: FloatArray) -> FloatArray:
        """Return whole multiples of the step, each as the nearest double to its decimals."""
        decimals = next((k for k in range(15) if round(self.step, k) == self.step), 15)
        return np.round(counts * self.step, decimals)

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
    def missing_counts_as(self) -> str:
        """Say what a missing value counts as where it does not have a separate matrix (``stand_in``)."""
        return "an unknown category" if self.kind == "categorical" else "the typical value"

    @property
    def stand_in(self) -> float:
        """Return what a missing value counts as where it does not have a separate matrix."""
        if self.kind == "categorical":
            return float(len(self.categories))
        return float(self.typical)  # type: ignore[arg-type]
