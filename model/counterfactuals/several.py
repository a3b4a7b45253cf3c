"""Find changes of three features or more that reach a goal, from the most promising changes of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.changed_rows import (
    Change,
    distance_of,
    judged,
    moved_features,
    possible_change,
    with_values,
)
from eigenserve.model.counterfactuals.goals import Goal
from eigenserve.model.counterfactuals.one_number import Lines, nearest_roots

#: Changes of one feature from which those of others go on, and places tried along a number for them.
BRANCHES, _PLACES = 4, 16


def changes_of_several(
    steps: Steps, goal: Goal, row: FloatArray, limit: float, search: Callable[[Steps, FloatArray], list[Change]]
) -> list[Change]:
    """Find changes of three features or more, from the changes of one that gain most by their distance.

    ``search`` finds those of the other features of a changed row.
    """
    start = float(goal.margin(steps.scores(row[None]))[0])
    firsts: list[tuple[float, int, FloatArray]] = []
    listed = steps.moves(row)
    here = steps.predictor.features.coordinates(row[None])[0]
    for i in (*listed, *steps.numbers(row)):
        if i in listed:
            near = listed[i].within(limit)
            changed, away = with_values(row, near.positions, near.values), near.distance
        else:
            low, high = steps.bounds(i)
            places = np.linspace(max(low, here[i] - limit), min(high, here[i] + limit), _PLACES)
            changed = with_values(row, (i,), steps.value(i, places)[:, None])
            feature = steps.predictor.features.features[i]
            if feature.step:
                changed[:, i] = np.clip(feature.multiples(np.round(changed[:, i] / feature.step)), *steps.limits(i))
            away = np.abs(feature.coordinate(changed[:, i]) - here[i])
        keep = away > 0.0
        changed, away = changed[keep], away[keep]
        if len(changed):
            gain = (judged(steps, goal, changed)[0] - start) / away
            best = int(gain.argmax())
            if gain[best] > 0.0:
                firsts.append((float(gain[best]), i, changed[best]))
    changes = []
    for _, i, changed in sorted(firsts, key=lambda each: -each[0])[:BRANCHES]:
        rest = replace(steps, fixed={*steps.fixed, i})
        for change in search(rest, changed):
            if len(moved_features(steps, row, change.columns)) > 2:
                changes.append(_polished(steps, goal, row, change.columns))
    return changes


def _polished(steps: Steps, goal: Goal, row: FloatArray, changed: FloatArray) -> Change:
    """Move each changed feature back towards the row, as far as the goal stays reached."""
    best, listed = changed, steps.moves(row)
    for i in moved_features(steps, row, changed):
        if i in listed:
            moves = listed[i].within(distance_of(steps, row, _only(row, best, i, listed[i].positions)))
            tried = with_values(best, moves.positions, moves.values)
            good = np.flatnonzero(judged(steps, goal, tried)[1])
            best = tried[good[0]] if len(good) else best
        else:
            back = with_values(best, (i,), row[[i]][:, None])
            places, far = nearest_roots(steps, goal, Lines(back, np.array([i]), np.array([np.inf])))
            if np.isfinite(far[0]):
                one = possible_change(steps, goal, back[0], i, float(places[0]))
                if one is not None and distance_of(steps, row, one) < distance_of(steps, row, best):
                    best = one
    return Change(best, distance_of(steps, row, best))


def _only(row: FloatArray, changed: FloatArray, index: int, positions: tuple[int, ...]) -> FloatArray:
    """Return the row with one feature of a changed one."""
    return with_values(row, positions, changed[list(positions)][None])[0]
