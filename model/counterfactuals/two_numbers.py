"""Find the nearest change of two numbers that reaches a goal, by the sum of both changes.

From the nearest places that ``model.counterfactuals.cell_search`` finds, the search zooms in, on one number by ever
finer lines, on the other by cutting the interval in which the goal is first reached. At last each number is moved
alone to the exact root.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.cell_search import CellSearch, Starts
from eigenserve.model.counterfactuals.goals import Goal
from eigenserve.model.counterfactuals.one_number import Lines, nearest_roots

_ZOOMS = 5
_CUTS = 9


def nearest_pairs(
    steps: Steps, goal: Goal, row: FloatArray, pairs: list[tuple[int, int]], within: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Find coordinates (P, 2) of two numbers that together reach the goal, and their distance (P,), or infinity.

    Args:
        steps: what may change.
        goal: what is wanted.
        row: columns (F,), which do not reach it.
        pairs: positions of the numbers, P of them.
        within: (P,), the distance beyond which nothing is looked for: that of a single change.
    """
    places, distance = np.full((len(pairs), 2), np.nan), np.full(len(pairs), np.inf)
    if not pairs or not within.max() > 0.0:
        return places, distance
    here = steps.predictor.features.coordinates(row[None])[0]
    starts = CellSearch(steps, goal, row, pairs, within).starts()
    if not len(starts.pair):
        return places, distance
    first, second = _zoom(steps, goal, row, here, pairs, starts)
    for moved, fixed in ((1, 0), (0, 1)):
        held = (first, second)[fixed]
        columns = np.tile(row, (len(held), 1))
        features = np.array(pairs)[starts.pair]
        for k, i in enumerate(features[:, fixed]):
            columns[k, i] = steps.value(int(i), held[k])
        away = np.abs(held - here[features[:, fixed]])
        reach = within[starts.pair] - away
        alone = goal.reached(steps.scores(columns))
        # A change of one number that reaches alone is not a pair; the limit says so too, but for rounding.
        lines = Lines(columns, features[:, moved], np.where(alone, 0.0, np.maximum(reach, 0.0)))
        found, far = nearest_roots(steps, goal, lines)
        total = away + far
        for k in np.flatnonzero(total < distance[starts.pair]).tolist():
            p = int(starts.pair[k])
            if total[k] < distance[p]:
                distance[p] = total[k]
                places[p, fixed], places[p, moved] = held[k], found[k]
    return places, distance


def _zoom(
    steps: Steps, goal: Goal, row: FloatArray, here: FloatArray, pairs: list[tuple[int, int]], starts: Starts
) -> tuple[FloatArray, FloatArray]:
    """Return both numbers' coordinates at the nearest places found, (S,) each."""
    features = np.array(pairs)[starts.pair]
    low, high = starts.low.copy(), starts.high.copy()
    pad = starts.far - starts.near
    near, far = np.maximum(starts.near - pad, 0.0), starts.far + pad
    origin = here[features[:, 0]], here[features[:, 1]]
    best, second = 0.5 * (low + high), origin[1] + starts.side * starts.far
    nearest = np.full(len(low), np.inf)
    shares = np.linspace(0.0, 1.0, _CUTS)
    for _ in range(_ZOOMS):
        lines = low[:, None] + (high - low)[:, None] * shares
        moved = _first_reached(steps, goal, row, features, lines, origin[1], starts.side, near, far)
        total = np.abs(lines - origin[0][:, None]) + moved
        k = total.argmin(axis=1)
        rows = np.arange(len(k))
        better = total[rows, k] < nearest
        nearest = np.where(better, total[rows, k], nearest)
        best = np.where(better, lines[rows, k], best)
        second = np.where(better, origin[1] + starts.side * moved[rows, k], second)
        step = (high - low) / (_CUTS - 1)
        low, high = np.maximum(best - step, low), np.minimum(best + step, high)
        width = 0.5 * (far - near)
        middle = np.abs(second - origin[1])
        near, far = np.maximum(middle - 0.5 * width, 0.0), middle + 0.5 * width
    return best, second


def _first_reached(
    steps: Steps,
    goal: Goal,
    row: FloatArray,
    features: NDArray[np.int64],
    lines: FloatArray,
    origin: FloatArray,
    side: FloatArray,
    near: FloatArray,
    far: FloatArray,
) -> FloatArray:
    """Find how far the second number moves, within near ... far (S,), until it reaches on lines (S, K) of the first."""
    count, width = lines.shape
    low, high = (np.repeat(part, width).reshape(count, width).copy() for part in (near, far))
    shares = np.linspace(0.0, 1.0, _CUTS)
    limits = np.array([steps.bounds(int(i)) for i in features[:, 1]])
    ends = side[:, None] * (limits - origin[:, None])
    least, most = (np.maximum(end, 0.0)[:, None, None] for end in (ends.min(axis=1), ends.max(axis=1)))
    open_ = np.ones(low.shape, bool)
    for _ in range(3):
        at = np.clip(low[..., None] + (high - low)[..., None] * shares, least, most)
        columns = np.tile(row, (at.size, 1)).reshape(*at.shape, len(row))
        for s, (a, b) in enumerate(features.tolist()):
            columns[s, :, :, a] = steps.value(a, lines[s])[:, None]
            columns[s, :, :, b] = steps.value(b, origin[s] + side[s] * at[s])
        hits = goal.reached(steps.scores(columns.reshape(-1, len(row)))).reshape(at.shape)
        j = hits.argmax(axis=2)
        open_ &= hits.any(axis=2)
        high = np.where(open_, np.take_along_axis(at, j[..., None], axis=2)[..., 0], high)
        low = np.where(open_, np.take_along_axis(at, np.maximum(j - 1, 0)[..., None], axis=2)[..., 0], low)
    return np.where(open_, high, np.inf)
