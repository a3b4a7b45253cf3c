"""Find the smallest changes of a few features that give a row the wanted prediction, and that are possible.

The distance of a change is the sum, over the changed features, of how many training standard deviations a number moves
(of its logarithm, where the model takes it), of how many places an ordered category moves, and 1 for another category
or a boolean that becomes another.

One feature: all its values are tried where it takes few, as categories and multiples of a step; else the nearest root
is found exactly (``model.counterfactuals.one_number``). Two: all pairs of values; the nearest root for every value; or
of two numbers a grid, a zoom and exact roots (``model.counterfactuals.two_numbers``), of which nothing proves that no
change is nearer. More: from the most promising changes of one feature, those of the others, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from eigenserve.model.counterfactuals.pairs import nearest_changes_of_two
from eigenserve.model.counterfactuals.plausibility import PLAUSIBLE, Typicality
from eigenserve.model.counterfactuals.proof import proved_margin
from eigenserve.model.counterfactuals.several import changes_of_several

#: So many are returned for a row, the nearest.
MOST = 10
#: So many features may change at once.
MOST_FEATURES = 4
#: A change of more features is worth reporting if it is nearer than that of any feature alone by this share.
WORTH = 0.01
#: Rounds in which a certified change is moved further into the goal.
_PROOFS = 6


@dataclass(frozen=True)
class Counterfactual:
    """Describe a changed row that gets the wanted prediction.

    Attributes:
        changes: feature -> (value before, value after), as a row has them; empty if the row is so already.
        columns: (F,), the changed row, encoded.
        score: of the wanted class, or the only one.
        distance: see the module.
        plausibility: which share of the training rows is at least as unusual as the changed row; None where the model
            does not keep what it takes.
        radius: within which, in training standard deviations of every number, all rows are proved to reach the goal;
            None where that was not asked for.
    """

    changes: Mapping[str, tuple[Any, Any]]
    columns: FloatArray
    score: float
    distance: float
    plausibility: float | None = None
    radius: float | None = None


def find_counterfactuals(
    steps: Steps,
    goal: Goal,
    row: FloatArray,
    max_features: int = 2,
    radius: float | None = None,
    typical: Typicality | None = None,
) -> list[Counterfactual]:
    """Find the nearest changes of a row (F,) of columns, each set of features at most once.

    Those come first that are as plausible as the row itself, or as one training row in twenty; the nearest first.

    Args:
        steps: what may change.
        goal: what is wanted.
        row: the row.
        max_features: how many features may change at once.
        radius: if given, only changes are returned that hold for all rows within so many standard deviations of every
            number, which is proved (see ``model.counterfactuals.proof``).
        typical: what judges plausibility.
    """
    steps = steps.from_row(row)
    if radius is None:
        found = _search(steps, goal, row, max_features)
    else:
        found = _certified(steps, goal, row, max_features, radius)
    if not found:
        return []
    every = np.stack([row, *(change.columns for change in found)])
    if typical is None:
        return [_described(steps, goal, row, change, None, radius) for change in found][:MOST]
    here, *shares = typical.plausibility(every).tolist()
    changes = [_described(steps, goal, row, change, share, radius) for change, share in zip(found, shares, strict=True)]
    least = min(here, PLAUSIBLE)
    return sorted(changes, key=lambda one: ((one.plausibility or 0.0) < least, one.distance))[:MOST]


def _search(steps: Steps, goal: Goal, row: FloatArray, max_features: int) -> list[Change]:
    """Return changes that reach the goal, the nearest first; the row itself, if it does."""
    if goal.reached(steps.scores(row[None]))[0]:
        return [Change(row, 0.0)]
    found, alone = _singles(steps, goal, row)
    limit = (1.0 - WORTH) * min(alone.values(), default=np.inf)
    if max_features > 1:
        found += [change for change in nearest_changes_of_two(steps, goal, row, limit) if change.distance < limit]
    if max_features > 2:

        def search(rest: Steps, changed: FloatArray) -> list[Change]:
            return _search(rest, goal, changed, max_features - 1)

        found += [change for change in changes_of_several(steps, goal, row, limit, search) if change.distance < limit]
    if not found:
        return []
    reached = goal.reached(steps.scores(np.stack([change.columns for change in found])))
    nearest: dict[tuple[int, ...], Change] = {}
    for change, good in zip(found, reached, strict=True):
        moved = tuple(moved_features(steps, row, change.columns))
        if good and change.distance < nearest.get(moved, Change(row, np.inf)).distance:
            nearest[moved] = change
    return sorted(nearest.values(), key=lambda change: change.distance)


def _certified(steps: Steps, goal: Goal, row: FloatArray, max_features: int, radius: float) -> list[Change]:
    """Return changes of which a radius is proved, by asking for ever more than the goal."""
    nearest: dict[tuple[int, ...], Change] = {}
    more = 0.0
    for _ in range(_PROOFS):
        short = []
        for change in _search(steps, replace(goal, more=more), row, max_features)[:MOST]:
            moved = tuple(moved_features(steps, row, change.columns))
            margin = proved_margin(goal, change.columns, radius)
            if margin >= 0.0:
                if change.distance < nearest.get(moved, Change(row, np.inf)).distance:
                    nearest[moved] = change
            elif moved not in nearest:
                short.append(-margin)
        if not short or not np.isfinite(min(short)):
            break
        more += 1.05 * min(short)
    return sorted(nearest.values(), key=lambda change: change.distance)


def _singles(steps: Steps, goal: Goal, row: FloatArray) -> tuple[list[Change], dict[int, float]]:
    """Return changed rows and their distances; and each changeable feature's distance, infinite for none."""
    found, alone = [], {}
    for i, moves in steps.moves(row).items():
        changed = with_values(row, moves.positions, moves.values)
        margins, good = judged(steps, goal, changed)
        alone[i] = float(moves.distance[good].min(initial=np.inf))
        if good.any():
            # Of those equally far, the one that goes farthest beyond the goal.
            best = np.flatnonzero(good & (moves.distance == alone[i]))
            found.append(Change(changed[best[margins[best].argmax()]], alone[i]))
    numbers = np.array(steps.numbers(row), np.int64)
    if len(numbers):
        lines = Lines(np.tile(row, (len(numbers), 1)), numbers, np.full(len(numbers), np.inf))
        places, distance = nearest_roots(steps, goal, lines)
        for i, place, far in zip(numbers.tolist(), places, distance.tolist(), strict=True):
            alone[i] = np.inf
            if np.isfinite(far):
                one = possible_change(steps, goal, row, i, float(place))
                if one is not None:
                    alone[i] = distance_of(steps, row, one)
                    found.append(Change(one, alone[i]))
    return found, alone


def _described(
    steps: Steps, goal: Goal, row: FloatArray, change: Change, plausibility: float | None, radius: float | None
) -> Counterfactual:
    features = steps.predictor.features.features
    changes = {
        features[i].name: (features[i].written(row[i]), features[i].written(change.columns[i]))
        for i in moved_features(steps, row, change.columns)
    }
    score = float(goal.score(steps.scores(change.columns[None]))[0])
    return Counterfactual(changes, change.columns, score, change.distance, plausibility, radius)
