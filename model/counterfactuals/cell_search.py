"""Find where two numbers together reach a goal, by cutting rectangles ever smaller.

A cell is cut further if it is nearer than the nearest place known to reach the goal, and if its corners are so near the
goal, compared with how much they differ from each other, that it may be reached inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import Goal

#: Steps of the coarse grid from the row to either end of what is searched: one for two knots, within these.
LEAST_STEPS, MOST_STEPS = 8, 32
#: Each level cuts cells in so many by so many.
_CELL_CUTS = 4
_LEVELS = 3
#: Cells cut on a level, over all pairs together: the nearest to the row; four times as many on each further attempt,
#: while nothing was found that is nearer than all cells left out.
MOST_CELLS = 400
_ATTEMPTS = 3
#: A cell is cut if the goal is not farther from its best corner than so many times the corners' differences.
CURIOSITY = 2.0
#: Cells of the rows that are scored at once.
BLOCK_CELLS = 2**18
#: Places to zoom in from, over all pairs together.
STARTS = 10


@dataclass(frozen=True)
class Starts:
    """Hold where zooms begin: S places on lines on which the first number stays and the second moves outward.

    Attributes:
        pair: (S,), which pair.
        low, high: (S,), the first number's coordinates on the neighbouring lines.
        side: (S,), 1 or -1, the second number's direction.
        near, far: (S,), how far it has moved where the goal is not reached yet, and where it is.
    """

    pair: NDArray[np.int64]
    low: FloatArray
    high: FloatArray
    side: FloatArray
    near: FloatArray
    far: FloatArray


def _axis(steps: Steps, here: FloatArray, index: int, within: float) -> FloatArray:
    """Return coordinates from one end of what may be reached to the other; the number's own too, if in range."""
    low, high = steps.bounds(index)
    place = float(here[index])
    inside = low <= place <= high
    low, high = max(low, place - within), min(high, place + within)
    if not low <= high:
        return np.array([place]) if inside else np.empty(0)
    knots = steps.predictor.ensemble.pencil.curves.knots_along(here, index)
    sides = [np.array([low, high])]
    for a, b in ((low, min(place, high)), (max(place, low), high)):
        if a < b:
            count = np.clip(np.count_nonzero((knots > a) & (knots < b)) // 2, LEAST_STEPS, MOST_STEPS)
            sides.append(np.linspace(a, b, int(count) + 1))
    return np.unique(np.concatenate(sides))


class _Cells(NamedTuple):
    """Hold rectangles of two numbers' coordinates: of which pair, either number's ends, margins at the corners."""

    pair: NDArray[np.int64]
    first: FloatArray  # (C, 2)
    second: FloatArray  # (C, 2)
    margins: FloatArray  # (C, 2, 2)


class CellSearch:
    """Hold the cells of all pairs, and the nearest places known to reach the goal."""

    def __init__(
        self, steps: Steps, goal: Goal, row: FloatArray, pairs: list[tuple[int, int]], within: FloatArray
    ) -> None:
        self.steps, self.goal, self.row, self.pairs = steps, goal, row, np.array(pairs)
        self.here = steps.predictor.features.coordinates(row[None])[0]
        self.origin = self.here[self.pairs]
        self.distance = within.astype(np.float64)
        self.places = np.full((len(pairs), 2), np.nan)
        self.horizon = np.inf
        # By pair: the sides of the smallest cells.
        self.reach = np.zeros((len(pairs), 2))

    def starts(self) -> Starts:
        """Choose where to zoom in: the nearest places of the nearest pairs."""
        coarse = self._coarse()
        for attempt in range(_ATTEMPTS):
            cells, self.horizon = coarse, np.inf
            for _ in range(_LEVELS):
                cells = self._cut(cells, MOST_CELLS * 4**attempt)
            if self.distance.min() <= self.horizon:
                break
        # Of what is farther than a cell that was left out, nothing is known.
        found = np.flatnonzero(~np.isnan(self.places[:, 0]))
        near = self.distance[found] <= max(self.horizon, float(self.distance.min()))
        found = found[near]
        found = found[np.argsort(self.distance[found], kind="stable")[:STARTS]]
        place, origin, reach = self.places[found], self.origin[found], self.reach[found]
        low, high = np.array([self.steps.bounds(int(i)) for i in self.pairs[found, 0]]).reshape(-1, 2).T
        side = np.where(place[:, 1] >= origin[:, 1], 1.0, -1.0)
        far = np.abs(place[:, 1] - origin[:, 1])
        return Starts(
            found,
            np.maximum(place[:, 0] - reach[:, 0], low),
            np.minimum(place[:, 0] + reach[:, 0], high),
            side,
            np.maximum(far - reach[:, 1], 0.0),
            far,
        )

    def _coarse(self) -> _Cells:
        axes, blocks = [], []
        for p, pair in enumerate(self.pairs.tolist()):
            limit = self.distance[p]
            axis = [_axis(self.steps, self.here, i, limit) for i in pair]
            away = [np.abs(places - here) for places, here in zip(axis, self.origin[p], strict=True)]
            step = sum(float(np.diff(places).max(initial=0.0)) for places in axis)
            # The far corners of cells that begin within the limit lie a step beyond it.
            near = away[0][:, None] + away[1] < limit + step
            a, b = np.nonzero(near)
            axes.append((axis, near))
            blocks.append((np.full(len(a), p), axis[0][a], axis[1][b]))
        margins = self._measured(*(np.concatenate(part) for part in zip(*blocks, strict=True)))
        parts: list[tuple[Any, ...]] = []
        start = 0
        for p, ((one, two), near) in enumerate(axes):
            grid = np.full(near.shape, -np.inf)
            grid[near] = margins[start : start + near.sum()]
            start += int(near.sum())
            corners = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], axis=-1)
            a, b = np.nonzero(np.isfinite(corners).all(axis=-1))
            parts.append(
                (np.full(len(a), p), one[np.stack([a, a + 1], 1)], two[np.stack([b, b + 1], 1)], corners[a, b])
            )
        pair, first, second, found = (np.concatenate(part) for part in zip(*parts, strict=True))
        return _Cells(pair, first, second, found.reshape(-1, 2, 2))

    def _cut(self, cells: _Cells, most: int) -> _Cells:
        """Cut the nearest cells that may hold a nearer place, each into ``_CELL_CUTS`` squared."""
        away = self._nearest(cells.pair, cells.first, cells.second)
        best, least = cells.margins.max(axis=(1, 2)), cells.margins.min(axis=(1, 2))
        may = (away < self.distance[cells.pair]) & (best + CURIOSITY * (best - least) >= 0.0)
        which = np.flatnonzero(may)
        which = which[np.argsort(away[which], kind="stable")]
        if len(which) > most:
            self.horizon = min(self.horizon, float(away[which[most]]))
            which = which[:most]
        shares = np.arange(_CELL_CUTS + 1) / _CELL_CUTS
        lines = []
        for ends in (cells.first[which], cells.second[which]):
            between = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * shares
            between[:, -1] = ends[:, 1]
            lines.append(between)
        shape = (len(which), _CELL_CUTS + 1, _CELL_CUTS + 1)
        one, two = np.broadcast_to(lines[0][:, :, None], shape), np.broadcast_to(lines[1][:, None, :], shape)
        pair = np.broadcast_to(cells.pair[which, None, None], shape)
        margins = self._measured(pair.ravel(), one.ravel(), two.ravel()).reshape(shape)
        corners = np.stack(
            [margins[:, :-1, :-1], margins[:, :-1, 1:], margins[:, 1:, :-1], margins[:, 1:, 1:]], axis=-1
        )
        self.reach[cells.pair[which]] = np.stack([np.diff(part[:, :2], axis=1)[:, 0] for part in lines], axis=1)
        return _Cells(
            pair[:, 1:, 1:].ravel(),
            np.stack([one[:, :-1, 1:], one[:, 1:, 1:]], axis=-1).reshape(-1, 2),
            np.stack([two[:, 1:, :-1], two[:, 1:, 1:]], axis=-1).reshape(-1, 2),
            corners.reshape(-1, 2, 2),
        )

    def _nearest(self, pair: NDArray[np.int64], first: FloatArray, second: FloatArray) -> FloatArray:
        """Return how far the cells are from the row; none has the row's own number inside a side."""
        origin = self.origin[pair]
        return np.abs(first - origin[:, :1]).min(axis=1) + np.abs(second - origin[:, 1:]).min(axis=1)

    def _measured(self, pair: NDArray[np.int64], first: FloatArray, second: FloatArray) -> FloatArray:
        """Measure the goal's margins (N,) at places; the nearest that reach it are noted."""
        places = np.stack([first, second], axis=1)
        size = max(1, BLOCK_CELLS // len(self.row))
        blocks = [slice(start, start + size) for start in range(0, len(pair), size)]
        scores = np.concatenate([self._scores(pair[block], places[block]) for block in blocks or [slice(0)]])
        origin = self.origin[pair]
        away = np.abs(places - origin).sum(axis=1)
        # What stands still in one number is a single change.
        hits = np.flatnonzero(self.goal.reached(scores) & (places != origin).all(axis=1))
        hits = hits[np.lexsort((away[hits], pair[hits]))]
        for h in hits[np.r_[True, np.diff(pair[hits]) > 0][: len(hits)]]:
            if away[h] < self.distance[pair[h]]:
                self.distance[pair[h]], self.places[pair[h]] = away[h], places[h]
        return self.goal.margin(scores)

    def _scores(self, pair: NDArray[np.int64], places: FloatArray) -> FloatArray:
        """Score the row with the numbers of pairs (N,) at places (N, 2)."""
        columns = np.tile(self.row, (len(pair), 1))
        for k in range(2):
            moved = self.pairs[pair, k]
            for i in np.unique(moved):
                own = np.flatnonzero(moved == i)
                columns[own, i] = self.steps.value(int(i), places[own, k])
        return self.steps.scores(columns)
