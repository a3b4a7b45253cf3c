"""Find the nearest changes of two features that reach a goal."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Moves, Steps
from eigenserve.model.counterfactuals.changed_rows import Change, distance_of, judged, possible_change, with_values
from eigenserve.model.counterfactuals.goals import Goal
from eigenserve.model.counterfactuals.one_number import Lines, nearest_roots
from eigenserve.model.counterfactuals.two_numbers import nearest_pairs
from eigenserve.model.rows.cells import SECONDS_PER_DAY

#: Of more numbers than these, those are paired that come nearest to the goal alone.
PAIRED_NUMBERS = 10
#: Of more features than these, the same; a row of 1,000 features has half a million pairs.
PAIRED_FEATURES = 32
#: Numbers with more values than these within the limit are searched together with others as if they were not listed;
#: dates are tried on so many of the nearest days.
LINES, LISTED = 16, 64
#: All values of a pair are tried if there are at most so many, within squares of the limit; a fifth of a second.
COMBINATIONS = 2**17
#: Pairs of values that are tried at once, the nearest first; cells of the rows that are searched at once.
_BLOCK, _CELLS = 4096, 2**18


def nearest_changes_of_two(steps: Steps, goal: Goal, row: FloatArray, limit: float) -> list[Change]:
    """Find changes of two features that are nearer than a limit, that of any feature alone."""
    tied, num_codes = steps.predictor.features.tied, [f.num_codes for f in steps.predictor.features.features]
    moves: dict[int, Moves] = {}
    numbers = list(steps.numbers(row))
    lines: list[tuple[FloatArray, int, float]] = []
    for i, each in steps.moves(row).items():
        near = each.within(limit)
        if i in tied:
            near = Moves(near.positions, near.values[:LISTED], near.distance[:LISTED])
        count = len(near.distance)
        if count:
            moves[i] = near
        if count > LINES and not num_codes[i] and i not in tied:
            numbers.append(i)
    numbers.sort()
    if len({*moves, *numbers}) > PAIRED_FEATURES:
        kept = _promising(steps, goal, row, sorted({*moves, *numbers}), PAIRED_FEATURES, moves)
        moves, numbers = {i: moves[i] for i in kept if i in moves}, [i for i in kept if i in numbers]
    for i, near in moves.items():
        if i not in numbers:
            for changed, away in zip(
                with_values(row, near.positions, near.values), near.distance.tolist(), strict=True
            ):
                lines += [(changed, b, limit - away) for b in numbers]
    changes = _listed_pairs(steps, goal, row, moves, limit)
    count = max(1, _CELLS // len(row))
    for start in range(0, len(lines), count):
        columns, moving, within = zip(*lines[start : start + count], strict=True)
        several = Lines(np.stack(columns), np.array(moving), np.array(within))
        places, distance = nearest_roots(steps, goal, several)
        for changed, b, place, far in zip(columns, moving, places, distance.tolist(), strict=True):
            if np.isfinite(far):
                one = possible_change(steps, goal, changed, b, float(place))
                if one is not None:
                    changes.append(Change(one, distance_of(steps, row, one)))
    pairs = list(combinations(_promising(steps, goal, row, numbers, PAIRED_NUMBERS), 2))
    places, distance = nearest_pairs(steps, goal, row, pairs, np.full(len(pairs), limit))
    for pair, place, far in zip(pairs, places, distance.tolist(), strict=True):
        if np.isfinite(far):
            values = np.concatenate([steps.value(i, place[[k]]) for k, i in enumerate(pair)])
            changes += _whole_pair(steps, goal, row, with_values(row, pair, values[None])[0], pair)
    return changes


def _listed_pairs(steps: Steps, goal: Goal, row: FloatArray, moves: Mapping[int, Moves], limit: float) -> list[Change]:
    """Return the nearest change of each two features that take few values."""
    parts = []
    for a, b in combinations(moves, 2):
        if len(moves[a].distance) * len(moves[b].distance) > COMBINATIONS:
            continue
        total = moves[a].distance[:, None] + moves[b].distance
        one, two = np.nonzero(total < limit)
        parts.append((np.full(len(one), a), np.full(len(one), b), one, two, total[one, two]))
    if not parts:
        return []
    first, second, one, two, away = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(away, kind="stable")
    changes: dict[tuple[int, int], tuple[Change, float]] = {}
    done: set[tuple[int, int]] = set()
    size = min(_BLOCK, max(1, _CELLS // len(row)))
    while len(order):
        block, order = order[:size], order[size:]
        changed = np.tile(row, (len(block), 1))
        for which, choice in ((first, one), (second, two)):
            for i in np.unique(which[block]):
                own = which[block] == i
                changed[np.ix_(own, moves[i].positions)] = moves[i].values[choice[block][own]]
        margins, good = judged(steps, goal, changed)
        for k in np.flatnonzero(good).tolist():
            pair, distance = (int(first[block[k]]), int(second[block[k]])), float(away[block[k]])
            best = changes.get(pair)
            if best is None or (distance == best[0].distance and margins[k] > best[1]):
                changes[pair] = Change(changed[k], distance), float(margins[k])
        for a, b in {pair for pair in changes if pair not in done}:
            order = order[(first[order] != a) | (second[order] != b)]
            done.add((a, b))
    return [change for change, _ in changes.values()]


def _promising(
    steps: Steps, goal: Goal, row: FloatArray, features: list[int], most: int, moves: Mapping[int, Moves] | None = None
) -> list[int]:
    """Return the features that come nearest to the goal alone, by one of their moves or along a grid, in order."""
    if len(features) <= most:
        return features
    grid = np.linspace(0.0, 1.0, 33)
    best = []
    for i in features:
        if moves and i in moves:
            changed = with_values(row, moves[i].positions, moves[i].values)
        else:
            changed = with_values(row, (i,), steps.value(i, np.interp(grid, [0, 1], steps.bounds(i)))[:, None])
        best.append(judged(steps, goal, changed)[0].max())
    return sorted(features[k] for k in np.argsort(-np.array(best), kind="stable")[:most])


def _whole_pair(steps: Steps, goal: Goal, row: FloatArray, changed: FloatArray, pair: tuple[int, int]) -> list[Change]:
    """Return the nearest possible change near that of two numbers.

    If one has steps: for each of the multiples next to what was found the other number's nearest root is found again.
    """
    features = steps.predictor.features.features
    stepped = [i for i in pair if features[i].step]
    first = stepped[0] if stepped else pair[0]
    other = pair[0] if first == pair[1] else pair[1]
    feature, (low, high) = features[first], steps.limits(first)
    if stepped:
        values = feature.multiples(np.floor(changed[first] / feature.step) + np.arange(-1.0, 3.0))
        values = values[(values >= low) & (values <= high) & (values != row[first])]
    elif feature.kind == "datetime":
        values = np.round(changed[[first]] * SECONDS_PER_DAY) / SECONDS_PER_DAY
    else:
        values = changed[[first]]
    columns = with_values(row, (first,), values[:, None])
    if not len(columns):
        return []
    lines = Lines(columns, np.full(len(columns), other), np.full(len(columns), np.inf))
    places, distance = nearest_roots(steps, goal, lines)
    changes = []
    for one, place, far in zip(columns, places, distance.tolist(), strict=True):
        if np.isfinite(far):
            whole = possible_change(steps, goal, one, other, float(place))
            if whole is not None:
                changes.append(Change(whole, distance_of(steps, row, whole)))
    return sorted(changes, key=lambda change: change.distance)[:1]
