"""Find the smallest changes of one or two features that give a row the wanted prediction.

The distance of a change is the sum, over the changed features, of how many training standard deviations a number moves
(of its logarithm, where the model takes it), and 1 for a category or boolean that becomes another.

One number: the nearest root, found exactly (``model.counterfactuals.one_number``). One category: all others are tried.
A category and a number: the nearest root for every other category. Two numbers: a grid, a zoom and exact roots
(``model.counterfactuals.two_numbers``); nothing proves that no change is nearer than these last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import Goal
from eigenserve.model.counterfactuals.one_number import Lines, nearest_roots
from eigenserve.model.counterfactuals.two_numbers import nearest_pairs
from eigenserve.model.rows.cells import SECONDS_PER_DAY, iso_time
from eigenserve.model.rows.features import Feature

#: So many are returned for a row, the nearest.
MOST = 10
#: A pair is worth reporting if it is nearer than any feature alone by this share.
WORTH = 0.01
#: Of more numbers than these, those are paired that come nearest to the goal alone.
PAIRED_NUMBERS = 10


@dataclass(frozen=True)
class Counterfactual:
    """Describe a changed row that gets the wanted prediction.

    Attributes:
        changes: feature -> (value before, value after), as a row has them; empty if the row is so already.
        columns: (F,), the changed row, encoded.
        score: of the wanted class, or the only one.
        distance: see the module.
    """

    changes: Mapping[str, tuple[Any, Any]]
    columns: FloatArray
    score: float
    distance: float


def find_counterfactuals(steps: Steps, goal: Goal, row: FloatArray, max_features: int = 2) -> list[Counterfactual]:
    """Find the nearest changes of a row (F,) of columns, each feature or pair at most once, the nearest first.

    Args:
        steps: what may change.
        goal: what is wanted.
        row: the row.
        max_features: 1 or 2, how many features may change at once.
    """
    if goal.reached(steps.predictor.scores(row[None]))[0]:
        return [_described(steps, goal, row, row, 0.0)]
    found, alone = _singles(steps, goal, row)
    if max_features == 2:
        found += _pairs(steps, goal, row, alone)
    limit = (1.0 - WORTH) * min(alone.values(), default=np.inf)
    possible: list[tuple[FloatArray, float]] = []
    for changed, distance in found:
        moved = _stepped(steps, row, changed)
        if moved and len(_moved(row, changed)) > 1:
            possible += [one for one in _whole_pair(steps, goal, row, changed, moved[0]) if one[1] < limit]
        else:
            possible.append((_possible(steps, row, changed), distance))
    if not possible:
        return []
    reached = goal.reached(steps.predictor.scores(np.stack([changed for changed, _ in possible])))
    changes = [_described(steps, goal, row, *each) for each, good in zip(possible, reached, strict=True) if good]
    return sorted(changes, key=lambda one: one.distance)[:MOST]


def _singles(steps: Steps, goal: Goal, row: FloatArray) -> tuple[list[tuple[FloatArray, float]], dict[int, float]]:
    """Return changed rows and their distances; and each changeable feature's distance, infinite for none."""
    found, alone = [], {}
    for i, codes in steps.choices(row).items():
        changed = _with(row, (i,), codes[:, None])
        scores = steps.predictor.scores(changed)
        good = np.flatnonzero(goal.reached(scores))
        alone[i] = 1.0 if len(good) else np.inf
        if len(good):
            # All are equally far: the one that goes farthest beyond the goal.
            found.append((changed[good[goal.margin(scores)[good].argmax()]], 1.0))
    numbers = np.array(steps.numbers(row), np.int64)
    if len(numbers):
        lines = Lines(np.tile(row, (len(numbers), 1)), numbers, np.full(len(numbers), np.inf))
        places, distance = nearest_roots(steps, goal, lines)
        for i, place, far in zip(numbers.tolist(), places, distance.tolist(), strict=True):
            alone[i] = far
            grid = steps.grid(i)
            if len(grid):
                changed = _with(row, (i,), grid[grid != row[i]][:, None])
                possible = changed[goal.reached(steps.predictor.scores(changed))] if len(changed) else changed
                feature = steps.predictor.features.features[i]
                away = np.abs(feature.coordinate(possible[:, i]) - feature.coordinate(row[[i]]))
                alone[i] = float(away.min(initial=np.inf))
                if len(possible):
                    found.append((possible[away.argmin()], alone[i]))
            elif np.isfinite(far):
                found.append((_with(row, (i,), steps.value(i, place[None])[None])[0], far))
    return found, alone


def _pairs(steps: Steps, goal: Goal, row: FloatArray, alone: Mapping[int, float]) -> list[tuple[FloatArray, float]]:
    """Find changes of two features that are nearer than that of any feature alone."""
    choices = {i: codes for i, codes in steps.choices(row).items() if np.isinf(alone[i])}
    numbers = steps.numbers(row)
    limit = (1.0 - WORTH) * min(alone.values(), default=np.inf)
    found = _category_pairs(steps, goal, row, choices) if limit > 2.0 else []
    lines: list[tuple[FloatArray, int, float]] = []
    for i, codes in choices.items():
        for changed in _with(row, (i,), codes[:, None]):
            lines += [(changed, b, limit - 1.0) for b in numbers if limit > 1.0]
    if lines:
        columns, moving, within = zip(*lines, strict=True)
        several = Lines(np.stack(columns), np.array(moving), np.array(within))
        places, distance = nearest_roots(steps, goal, several)
        best: dict[tuple[int, int], tuple[FloatArray, float]] = {}
        for changed, b, place, far in zip(columns, moving, places, distance.tolist(), strict=True):
            a = int(np.flatnonzero(changed != row)[0])
            if 1.0 + far < best.get((a, b), (row, np.inf))[1]:
                best[a, b] = _with(changed, (b,), steps.value(b, place[None])[None])[0], 1.0 + far
        found += list(best.values())
    pairs = list(combinations(_promising(steps, goal, row, numbers), 2))
    places, distance = nearest_pairs(steps, goal, row, pairs, np.full(len(pairs), limit))
    for pair, place, far in zip(pairs, places, distance.tolist(), strict=True):
        if np.isfinite(far):
            values = np.concatenate([steps.value(i, place[[k]]) for k, i in enumerate(pair)])
            found.append((_with(row, pair, values[None])[0], far))
    return found


def _category_pairs(
    steps: Steps, goal: Goal, row: FloatArray, choices: Mapping[int, FloatArray]
) -> list[tuple[FloatArray, float]]:
    found = []
    for a, b in combinations(choices, 2):
        both = np.stack(np.meshgrid(choices[a], choices[b], indexing="ij"), axis=-1).reshape(-1, 2)
        changed = _with(row, (a, b), both)
        scores = steps.predictor.scores(changed)
        good = np.flatnonzero(goal.reached(scores))
        if len(good):
            found.append((changed[good[goal.margin(scores)[good].argmax()]], 2.0))
    return found


def _promising(steps: Steps, goal: Goal, row: FloatArray, numbers: list[int]) -> list[int]:
    """Return the numbers that come nearest to the goal alone, in order of position."""
    if len(numbers) <= PAIRED_NUMBERS:
        return numbers
    grid = np.linspace(0.0, 1.0, 33)
    blocks = [_with(row, (i,), steps.value(i, np.interp(grid, [0, 1], steps.bounds(i)))[:, None]) for i in numbers]
    best = goal.margin(steps.predictor.scores(np.concatenate(blocks))).reshape(len(numbers), -1).max(axis=1)
    return sorted(np.array(numbers)[np.argsort(-best, kind="stable")[:PAIRED_NUMBERS]].tolist())


def _with(row: FloatArray, which: tuple[int, ...], values: FloatArray) -> FloatArray:
    """Return the row (F,) with some features' values (N, K): (N, F)."""
    changed = np.tile(row, (len(values), 1))
    changed[:, list(which)] = values
    return changed


def _possible(steps: Steps, row: FloatArray, changed: FloatArray) -> FloatArray:
    """Round numbers away from the row's own to multiples of their step, and times to what a text can write exactly."""
    out = changed.copy()
    for i, feature in enumerate(steps.predictor.features.features):
        step = 1.0 / SECONDS_PER_DAY if feature.kind == "datetime" else feature.step
        if step and changed[i] != row[i] and not np.isnan(changed[i]):
            low, high = steps.limits(i)
            count = round(changed[i] / step, 6)
            whole = step * float(np.ceil(count) if changed[i] > row[i] else np.floor(count))
            if feature.kind == "datetime":
                whole = float(np.ceil(count) if changed[i] > row[i] else np.floor(count)) / SECONDS_PER_DAY
                out[i] = whole if low <= whole <= high else changed[i]
            else:
                out[i] = whole if low <= whole <= high else row[i]
    return out


def _stepped(steps: Steps, row: FloatArray, changed: FloatArray) -> list[int]:
    """Return positions of changed numbers that may only be multiples of a step."""
    features = steps.predictor.features.features
    return [i for i in _moved(row, changed) if features[i].step]


def _moved(row: FloatArray, changed: FloatArray) -> list[int]:
    """Return positions of changed features; what is missing stays so."""
    differs = (changed != row) & ~np.isnan(row)
    return [int(i) for i in np.flatnonzero(differs)]


def _whole_pair(
    steps: Steps, goal: Goal, row: FloatArray, changed: FloatArray, first: int
) -> list[tuple[FloatArray, float]]:
    """Return the nearest change near a pair's in which the ``first`` number is a multiple of its step, if there is one.

    For each of the multiples next to what was found the other number's nearest root is found again; a category stays.
    """
    step, (low, high) = steps.predictor.features.features[first].step, steps.limits(first)
    values = step * (np.floor(changed[first] / step) + np.arange(-1.0, 3.0))
    values = values[(values >= low) & (values <= high) & (values != row[first])]
    columns = _with(changed, (first,), values[:, None])
    others = [i for i in _moved(row, changed) if i != first and i in steps.numbers(row)]
    if others and len(columns):
        columns[:, others[0]] = row[others[0]]
        lines = Lines(columns, np.full(len(columns), others[0]), np.full(len(columns), np.inf))
        places, distance = nearest_roots(steps, goal, lines)
        good = np.isfinite(distance)
        columns = columns[good]
        columns[:, others[0]] = steps.value(others[0], places[good])
    columns = np.array([_possible(steps, row, one) for one in columns]).reshape(-1, len(row))
    columns = columns[[len(_moved(row, one)) > 1 for one in columns]]
    columns = columns[goal.reached(steps.predictor.scores(columns))] if len(columns) else columns
    if not len(columns):
        return []
    away = [_distance(steps, row, one) for one in columns]
    return [(columns[int(np.argmin(away))], float(min(away)))]


def _distance(steps: Steps, row: FloatArray, changed: FloatArray) -> float:
    """Return how far a changed row is, as the module says."""
    space = steps.predictor.features
    before, after = space.coordinates(np.stack([row, changed]))
    moved = np.where([bool(f.num_codes) for f in space.features], before != after, np.abs(after - before))
    return float(np.nansum(moved))


def _described(steps: Steps, goal: Goal, row: FloatArray, changed: FloatArray, distance: float) -> Counterfactual:
    changes = {
        feature.name: (_cell(feature, row[i]), _cell(feature, changed[i]))
        for i, feature in enumerate(steps.predictor.features.features)
        if changed[i] != row[i] and not np.isnan(changed[i])
    }
    score = float(goal.score(steps.predictor.scores(changed[None]))[0])
    return Counterfactual(changes, changed, score, distance)


def _cell(feature: Feature, value: float) -> Any:
    """Return a value as a row has it; None for a category that training did not know."""
    if feature.kind == "categorical":
        return feature.categories[int(value)] if value < len(feature.categories) else None
    if feature.kind == "boolean":
        return bool(value)
    return iso_time(value) if feature.kind == "datetime" else float(value)
