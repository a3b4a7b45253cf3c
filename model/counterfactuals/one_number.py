"""Find the nearest change of one number that reaches a goal, exactly.

Between neighbouring knots T is affine in the number's coordinate z, T = T_a + t D, so that the score's slope lies
between the weighted means of lambda_min(D) and of lambda_max(D) over the members (Weyl). Two ends that miss the goal
thus bound how near it the score comes between them: what the bound rules out is left, the rest is cut into pieces,
until the nearest place that reaches the goal stands next to one that does not, a rounding or two away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import Goal
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal

#: Pieces that an interval is cut into each round.
_PIECES = 8
_ROUNDS = 16
_ABOUT = np.array([-0.05, -1e-3, -1e-6, 1e-6, 1e-3, 0.05])
#: Lines are searched so many cells of rows at a time: each has a row for every knot and piece.
_CELLS = 2**15
#: A place that reaches the goal is found exactly once it is known to this share of its distance.
EXACT = 2.0**-40
#: A bump that might reach the goal, but at neither end, is searched down to this share of the feature's range.
FINEST = 2.0**-14


@dataclass(frozen=True)
class Lines:
    """Hold L rows, each with one number that moves, and what is known of where it reaches the goal.

    Attributes:
        columns: (L, F), the rows.
        moving: (L,), which feature.
        within: (L,), how far it may move at most, in coordinates; what is beyond is not looked for.
    """

    columns: FloatArray
    moving: NDArray[np.int64]
    within: FloatArray


def nearest_roots(steps: Steps, goal: Goal, lines: Lines) -> tuple[FloatArray, FloatArray]:
    """Find the nearest coordinate of each line's number that reaches the goal, and its distance; infinite for none.

    No row may reach the goal as it is. Every place that is returned reaches it as ``Steps.value`` writes it.
    """
    count = max(1, _CELLS // lines.columns.shape[1])
    parts = [
        _nearest_roots(steps, goal, Lines(*(each[start : start + count] for each in vars(lines).values())))
        for start in range(0, len(lines.moving), count)
    ]
    places, distance = zip(*parts, strict=True) if parts else ((np.empty(0),), (np.empty(0),))
    return np.concatenate(places), np.concatenate(distance)


def _nearest_roots(steps: Steps, goal: Goal, lines: Lines) -> tuple[FloatArray, FloatArray]:
    places = np.full(len(lines.moving), np.nan)
    distance = lines.within.astype(np.float64)
    pieces = _first_pieces(steps, goal, lines)
    if pieces is None:
        return places, np.full(len(places), np.inf)
    for _ in range(_ROUNDS):
        pieces = pieces.settle(places, distance)
        if not len(pieces.line):
            break
        pieces = pieces.cut(steps, goal, lines)
    pieces.settle(places, distance)
    return places, np.where(np.isnan(places), np.inf, distance)


@dataclass(frozen=True)
class _Pieces:
    """Hold intervals of lines, all reachable by moving away from the row; arrays of one length P.

    Attributes:
        line: which line.
        origin: the row's own coordinate.
        near, far: the ends, by distance from the row.
        at_near, at_far: the goal's margin there.
        reached: whether the far end reaches the goal; no near end does, but for what ``origin`` lies outside of.
        near_reached: whether the near end does.
        low, high: bounds of the margin's slope outward.
        finest: width below which a piece without a sign of the goal is left.
    """

    line: NDArray[np.int64]
    origin: FloatArray
    near: FloatArray
    far: FloatArray
    at_near: FloatArray
    at_far: FloatArray
    near_reached: NDArray[np.bool_]
    reached: NDArray[np.bool_]
    low: FloatArray
    high: FloatArray
    finest: FloatArray

    def pick(self, which: NDArray[Any]) -> _Pieces:
        return _Pieces(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def settle(self, places: FloatArray, distance: FloatArray) -> _Pieces:
        """Note the nearest ends that reach the goal, and keep the pieces that may hold nearer ones."""
        for ends, hit in ((self.near, self.near_reached), (self.far, self.reached)):
            line, ends, away = self.line[hit], ends[hit], np.abs(ends - self.origin)[hit]
            order = np.lexsort((away, line))
            first = order[np.r_[True, np.diff(line[order]) > 0][: len(order)]]
            better = first[away[first] < distance[line[first]]]
            distance[line[better]], places[line[better]] = away[better], ends[better]
        width = np.abs(self.far - self.near)
        open_ = ~self.near_reached & (np.abs(self.near - self.origin) < distance[self.line])
        exact = width <= EXACT * np.maximum(np.abs(self.far - self.origin), np.abs(self.far))
        may = self.highest() >= -1e-12 * (np.abs(self.at_near) + np.abs(self.at_far))
        keep = open_ & np.where(self.reached, ~exact, may & (width > self.finest))
        return self.pick(keep)

    def highest(self) -> FloatArray:
        """Bound the margin between the ends."""
        width = np.abs(self.far - self.near)
        rise, span = self.at_far - self.at_near, self.high - self.low
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.clip(np.where(span > 0.0, (rise - self.low * width) / span, 0.0), 0.0, width)
        return np.maximum(np.maximum(self.at_near, self.at_far), self.at_near + self.high * t)

    def cut(self, steps: Steps, goal: Goal, lines: Lines) -> _Pieces:
        """Cut pieces into ``_PIECES``: even ones, or where the far end reaches, narrow ones about the secant's root."""
        shares = np.tile(np.arange(1, _PIECES) / _PIECES, (len(self.line), 1))
        crosses = self.reached & (self.at_far > self.at_near)
        root = -self.at_near[crosses] / (self.at_far - self.at_near)[crosses]
        shares[crosses] = np.clip(np.append(root[:, None] + _ABOUT, np.full((len(root), 1), 0.5), axis=1), 0.0, 1.0)
        inner = self.near[:, None] + (self.far - self.near)[:, None] * np.sort(shares, axis=1)
        margins, hits = _at(steps, goal, lines, np.repeat(self.line, _PIECES - 1), inner.ravel())
        ends = np.column_stack([self.near, inner, self.far])
        at = np.column_stack([self.at_near, margins.reshape(inner.shape), self.at_far])
        hit = np.column_stack([self.near_reached, hits.reshape(inner.shape), self.reached])

        def spread(part: NDArray) -> NDArray:
            return np.repeat(part, _PIECES)

        return _Pieces(
            *(spread(part) for part in (self.line, self.origin)),
            *(part.ravel() for part in (ends[:, :-1], ends[:, 1:], at[:, :-1], at[:, 1:], hit[:, :-1], hit[:, 1:])),
            *(spread(part) for part in (self.low, self.high, self.finest)),
        )


def _at(
    steps: Steps, goal: Goal, lines: Lines, line: NDArray[np.int64], places: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    columns = lines.columns[line]
    moving = lines.moving[line]
    for i in np.unique(moving):
        own = np.flatnonzero(moving == i)
        columns[own, i] = steps.value(int(i), places[own])
    scores = steps.scores(columns)
    return goal.margin(scores), goal.reached(scores)


def _first_pieces(steps: Steps, goal: Goal, lines: Lines) -> _Pieces | None:
    """Return the intervals between knots, up to the first that reaches the goal on either side of each row."""
    coordinates = steps.predictor.features.coordinates(lines.columns)
    curves = steps.predictor.ensemble.pencil.curves
    line, origin, ends, finest = [], [], [], []
    for number, (place, i) in enumerate(zip(coordinates, lines.moving.tolist(), strict=True)):
        low, high = steps.bounds(i)
        here, far = place[i], lines.within[number]
        finest.append(FINEST * (high - low))
        low, high = max(low, here - far), min(high, here + far)
        if not low <= high:
            continue
        inside = curves.knots_along(place, i)
        inside = inside[(inside > low) & (inside < high)]
        middle = [here] if low < here < high else []
        vertices = np.unique(np.concatenate([inside, middle, [low, high]]))
        if len(vertices) == 1:
            vertices = np.repeat(vertices, 2)
        line.append(np.full(len(vertices), number))
        origin.append(np.full(len(vertices), here))
        ends.append(vertices)
    if not line:
        return None
    of, start, places = (np.concatenate(part) for part in (line, origin, ends))
    margins, hits = _at(steps, goal, lines, of, places)
    hits &= places != start
    first = np.flatnonzero(of[1:] == of[:-1])
    outward = np.where(places[first + 1] > start[first], 1, -1)
    near, far = np.where(outward > 0, first, first + 1), np.where(outward > 0, first + 1, first)
    # What lies behind the first knot that reaches the goal need not be looked at.
    best = np.full(len(lines.moving), np.inf)
    np.minimum.at(best, of[hits], np.abs(places - start)[hits])
    within = np.abs(places - start)[near] <= best[of[first]]
    first, near, far, outward = first[within], near[within], far[within], outward[within]
    rising = _slopes(steps, goal, lines, of[first], places[first], places[first + 1])
    slopes = np.where(outward > 0, rising[0], -rising[1]), np.where(outward > 0, rising[1], -rising[0])
    return _Pieces(
        *(of[first], start[first], places[near], places[far], margins[near], margins[far], hits[near], hits[far]),
        *(*slopes, np.array(finest)[of[first]]),
    )


def _slopes(
    steps: Steps, goal: Goal, lines: Lines, line: NDArray[np.int64], a: FloatArray, b: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Bound the margin's slope by the coordinate between neighbouring knots a < b."""
    ensemble = steps.predictor.ensemble
    pencil, rows = ensemble.pencil, np.arange(len(line))
    coordinates = np.tile(steps.predictor.features.coordinates(lines.columns)[line], (2, 1))
    coordinates[np.concatenate([rows, rows + len(rows)]), np.tile(lines.moving[line], 2)] = np.concatenate([a, b])
    diag, off_diag = pencil.at(coordinates)
    width = np.maximum(b - a, np.finfo(float).tiny)[:, None, None]
    d, e = ((part[len(rows) :] - part[: len(rows)]) / width for part in (diag, off_diag))
    shape = (len(rows), ensemble.num_outputs, -1)
    low, high = (
        eigvalsh_tridiagonal(d, e, eig_idx=k).reshape(shape) @ ensemble.member_weights for k in (0, pencil.dim - 1)
    )
    # Half a thousandth for the rounding of narrow intervals' differences, and of the solver.
    slack = 5e-4 * np.maximum(np.abs(low), np.abs(high))
    return goal.slopes(low - slack, high + slack)
