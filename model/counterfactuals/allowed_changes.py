"""List the values that a feature of a row may take instead, and their distances from its present one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.cells import describe
from eigenserve.model.rows.features import Feature, FeatureSpace

#: Multiples of a step, or days, within a range that are tried one by one.
MOST_VALUES = 4096
#: Why a date whose cycles are features has no range, nor they.
TIED = "a date and its cycles change together, by whole days within the training range"

Direction = Literal["up", "down"]


class Moves(NamedTuple):
    """List other values of a feature, the nearest first.

    Attributes:
        positions: of the columns that change together: the feature's, and those of a date's cycles.
        values: (K, len(positions)).
        distance: (K,), in standard deviations, or places of an order.
    """

    positions: tuple[int, ...]
    values: FloatArray
    distance: FloatArray

    def within(self, limit: float) -> Moves:
        """Return those nearer than a limit."""
        near = self.distance < limit
        return Moves(self.positions, self.values[near], self.distance[near])


@dataclass(frozen=True)
class Steps:
    """Say which changes of rows are allowed.

    What is missing stays missing. Numbers stay within their ranges, and are multiples of their steps or among their
    allowed values; categories become others that training knew; a date takes its cycles with it.

    Attributes:
        predictor: what scores the rows.
        fixed: positions of features that may not change.
        ranges: (low, high) in raw units by position; the training range for others.
        directions: by position, whether a number, an ordered category or a boolean may only go up, or down.
        values: by position, the only values or codes allowed.
        orders: by position, the codes of categories in their order; that of the model's ordered features for others.
        check: called before rows are scored, again and again during a search; may raise to end it.
    """

    predictor: Predictor
    fixed: Collection[int] = ()
    ranges: Mapping[int, tuple[float, float]] | None = None
    directions: Mapping[int, Direction] = field(default_factory=dict)
    values: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    orders: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    check: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_ranges(self.predictor.features, self.ranges or {})

    def joined(self, other: Steps) -> Steps:
        """Return the changes that both allow; an order of the other's replaces one of these."""
        ranges, values = dict(self.ranges or {}), dict(self.values)
        fixed = {*self.fixed, *other.fixed}
        for i, (low, high) in (other.ranges or {}).items():
            before = ranges.get(i, (low, high))
            low, high = max(low, before[0]), min(high, before[1])
            if low <= high:
                ranges[i] = low, high
            else:
                fixed.add(i)
        for i, allowed in other.values.items():
            values[i] = tuple(value for value in allowed if value in values.get(i, allowed))
        opposed = {i for i, way in other.directions.items() if self.directions.get(i, way) != way}
        return replace(
            self,
            fixed=fixed | opposed,
            ranges=ranges,
            directions={**self.directions, **other.directions},
            values=values,
            orders={**self.orders, **other.orders},
        )

    def scores(self, columns: FloatArray) -> FloatArray:
        """Score changed rows (N, F) as ``Predictor.scores`` does, unless ``check`` ends the search."""
        self.check()
        return self.predictor.scores(columns)

    def from_row(self, row: FloatArray) -> Steps:
        """Return the changes of a row (F,) of columns: its numbers' directions become ranges, or lists of values."""
        ranges, fixed, values = dict(self.ranges or {}), set(self.fixed), dict(self.values)
        for i, way in self.directions.items():
            if self.predictor.features.features[i].num_codes or i in self.predictor.features.tied or np.isnan(row[i]):
                continue
            if self._listed(i):
                values[i] = tuple(v for v in self.grid(i).tolist() if (v >= row[i] if way == "up" else v <= row[i]))
                continue
            low, high = self.limits(i)
            low, high = (max(low, row[i]), high) if way == "up" else (low, min(high, row[i]))
            if low < high or (low == high != row[i]):
                ranges[i] = float(low), float(high)
            else:
                fixed.add(i)
        return replace(self, ranges=ranges, fixed=fixed, values=values)

    @cached_property
    def used(self) -> frozenset[int]:
        """Return features that the model looks at and that may change; cycles never change alone."""
        space = self.predictor.features
        looked_at = {i for term in self.predictor.ensemble.pencil.terms for i in term.features}
        # A date counts as looked at where one of its cycles is.
        looked_at |= {space.position(space.features[i].source) for i in looked_at if space.features[i].cycle}
        cycles = {i for i, feature in enumerate(space.features) if feature.cycle}
        held = {space.position(space.features[i].source) for i in cycles & set(self.fixed)}
        return frozenset(looked_at - cycles - set(self.fixed) - held)

    def numbers(self, row: FloatArray) -> list[int]:
        """Return positions of the numeric features of a row (F,) of columns that may change and have no ``moves``."""
        features, listed = self.predictor.features.features, self.moves(row)
        return [i for i in sorted(self.used) if not features[i].num_codes and i not in listed and not np.isnan(row[i])]

    def moves(self, row: FloatArray) -> dict[int, Moves]:
        """Return the other values of a row's features that take only some, by position."""
        listed: dict[int, Moves] = {}
        for i in sorted(self.used):
            if np.isnan(row[i]):
                continue
            if self.predictor.features.features[i].num_codes:
                listed[i] = self.codes(i, row)
            elif i in self.predictor.features.tied:
                listed[i] = self._days(i, row)
            else:
                allowed = self.grid(i)
                if len(allowed) or self._listed(i):
                    away = self._away(i, allowed, row[i])
                    listed[i] = _nearest_first((i,), allowed[:, None], away, allowed != row[i])
        return listed

    def codes(self, index: int, row: FloatArray) -> Moves:
        """Return the other codes of a row's category or boolean."""
        feature = self.predictor.features.features[index]
        codes = np.arange(len(feature.categories) if feature.kind == "categorical" else 2, dtype=np.float64)
        if index in self.values:
            codes = codes[np.isin(codes, self.values[index])]
        order = self.orders.get(index, tuple(range(len(feature.categories))) if feature.ordered else ())
        away, way = np.ones(len(codes)), self.directions.get(index)
        possible = codes != row[index]
        if feature.kind == "boolean":
            order = (0, 1)
        if order:
            # A code that the order leaves out, as that of an unknown category, is one change from all others.
            place = {float(code): k for k, code in enumerate(order)}
            here = place.get(float(row[index]))
            steps = np.array([np.nan if here is None else place.get(float(c), np.nan) - here for c in codes])
            away = np.where(np.isnan(steps), 1.0, np.abs(steps))
            if way is not None:
                possible &= steps > 0.0 if way == "up" else steps < 0.0
        elif way is not None:
            possible &= False
        return _nearest_first((index,), codes[:, None], away, possible)

    def _days(self, index: int, row: FloatArray) -> Moves:
        """Return a date's other days at the same time of day, with its cycles; none where a row gives these itself."""
        space = self.predictor.features
        cycles = [
            i for i, feature in enumerate(space.features) if feature.cycle and feature.source == space.names[index]
        ]
        feature, positions = space.features[index], (index, *cycles)
        count = np.arange(-MOST_VALUES // 2, MOST_VALUES // 2 + 1, dtype=np.float64)
        columns = np.tile(row, (len(count), 1))
        columns[:, index] += count
        columns[:, cycles] = np.nan
        space.fill_cycles(columns)
        middle = len(count) // 2
        if not np.allclose(columns[middle, cycles], row[cycles], rtol=0.0, atol=1e-4):
            count = count[:0]
            columns = columns[:0]
        possible = (count != 0.0) & (columns[:, index] >= feature.low) & (columns[:, index] <= feature.high)
        if way := self.directions.get(index):
            possible &= count > 0.0 if way == "up" else count < 0.0
        return _nearest_first(
            positions, columns[:, list(positions)], self._away(index, columns[:, index], row[index]), possible
        )

    def _away(self, index: int, values: FloatArray, here: float) -> FloatArray:
        feature = self.predictor.features.features[index]
        return np.abs(feature.coordinate(values) - feature.coordinate(np.array([here])))

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

    def _listed(self, index: int) -> bool:
        """Return whether a number may only take listed values; a range that was given is about the others, too."""
        feature = self.predictor.features.features[index]
        return index in self.values or bool(feature.values and index not in (self.ranges or {}))

    def grid(self, index: int) -> FloatArray:
        """Return the values that a number may take, where these are few; else none."""
        feature, (low, high) = self.predictor.features.features[index], self.limits(index)
        if self._listed(index):
            allowed = np.unique(np.array(self.values.get(index, feature.values), np.float64))
            # Values that were given need not lie within the training range.
            inside = (allowed >= low) & (allowed <= high)
            return allowed if index in self.values and index not in (self.ranges or {}) else allowed[inside]
        if not feature.step or (high - low) / feature.step > MOST_VALUES:
            return np.empty(0)
        counts = np.arange(np.floor(low / feature.step), np.ceil(high / feature.step) + 1.0)
        values = feature.multiples(counts)
        return values[(values >= low) & (values <= high)]

    def value(self, index: int, places: FloatArray) -> FloatArray:
        """Return raw values at coordinates, never beyond the range: rounding is not allowed to lead out of it."""
        return np.clip(self.predictor.features.features[index].value(places), *self.limits(index))


def _nearest_first(positions: tuple[int, ...], values: FloatArray, away: FloatArray, possible: Any) -> Moves:
    values, away = values[possible], away[possible]
    order = np.argsort(away, kind="stable")
    return Moves(positions, values[order], away[order])


def check_ranges(features: FeatureSpace, ranges: Mapping[int, tuple[float, float]]) -> None:
    """Check ranges (low, high) in raw units by position.

    Raises:
        ValueError: one of a feature that has none, or not from low to high.
    """
    for index, limits in ranges.items():
        name = features.names[index]
        if index in features.tied:
            raise ValueError(f"{name!r} has no range: {TIED}")
        if not np.isfinite(limits).all() or not limits[0] <= limits[1]:
            raise ValueError(f"a range must be [low, high] with low <= high; got {limits!r} for {name!r}")


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
