"""Describe changed rows: which features moved and how far, and round what moved to what is possible."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import Goal
from eigenserve.model.rows.cells import SECONDS_PER_DAY

#: Multiples of a step tried from a root outward.
_MULTIPLES = 8


class Change(NamedTuple):
    """Hold a changed row (F,) of columns, and its distance from the row."""

    columns: FloatArray
    distance: float


def with_values(row: FloatArray, which: tuple[int, ...], values: FloatArray) -> FloatArray:
    """Return the row (F,) with some features' values (N, K): (N, F)."""
    changed = np.tile(row, (len(values), 1))
    changed[:, list(which)] = values
    return changed


def judged(steps: Steps, goal: Goal, columns: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the margins of rows (N, F), and which reach the goal."""
    if not len(columns):
        return np.empty(0), np.empty(0, bool)
    scores = steps.scores(columns)
    return goal.margin(scores), goal.reached(scores)


def moved_features(steps: Steps, row: FloatArray, changed: FloatArray) -> list[int]:
    """Return positions of changed features, a date's for those of its cycles; what is missing stays so."""
    features = steps.predictor.features.features
    differs = (changed != row) & ~np.isnan(row)
    return [int(i) for i in np.flatnonzero(differs) if not features[i].cycle]


def distance_of(steps: Steps, row: FloatArray, changed: FloatArray) -> float:
    """Return how far a changed row is, as the module says."""
    space = steps.predictor.features
    before, after = space.coordinates(np.stack([row, changed]))
    total = 0.0
    for i in moved_features(steps, row, changed):
        if space.features[i].num_codes:
            codes = steps.codes(i, row)
            total += float(codes.distance[codes.values[:, 0] == changed[i]][0])
        else:
            total += abs(float(after[i] - before[i]))
    return total


def possible_change(steps: Steps, goal: Goal, row: FloatArray, index: int, place: float) -> FloatArray | None:
    """Move a number of a row to a coordinate, rounded to a possible value that reaches the goal; None for none.

    It is rounded away from the row's own: to a multiple of its step, of a date to whole seconds, which a text can
    write exactly.
    """
    feature, (low, high) = steps.predictor.features.features[index], steps.limits(index)
    values = steps.value(index, np.array([place]))
    if feature.kind == "datetime" or feature.step:
        per_unit = float(SECONDS_PER_DAY) if feature.kind == "datetime" else 1.0 / feature.step
        count, way = round(float(values[0]) * per_unit, 6), 1.0 if values[0] > row[index] else -1.0
        counts = way * (np.ceil(way * count) + np.arange(_MULTIPLES))
        whole = counts / SECONDS_PER_DAY if feature.kind == "datetime" else feature.multiples(counts)
        whole = whole[(whole >= low) & (whole <= high)]
        values = values if feature.kind == "datetime" and not len(whole) else whole
    changed = with_values(row, (index,), values[:, None])
    good = np.flatnonzero(judged(steps, goal, changed)[1])
    return changed[good[0]] if len(good) else None
