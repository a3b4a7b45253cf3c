"""Follow eigenpairs along a path of tridiagonal matrices, each curve keeping its identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from eigenserve.model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal

FloatArray = NDArray[np.float64]
#: t -> (diag (n,), off_diag (n - 1,)).
Path = Callable[[float], tuple[ArrayLike, ArrayLike]]

#: Overlap |v(a)'v(b)| above which v(b) continues v(a). Of two vectors that a step turns into each other by up
#: to 45 degrees the right one has 0.7 or more; this leaves no doubt about any of them.
SURE_OVERLAP = 0.85
#: Steps that a path is cut into at least: between them a pair of curves must not cross twice.
LEAST_STEPS = 64
#: A gap below this many eps (||T|| + |t| ||dT/dt||) is a crossing: the eigensolver's error is 8 eps ||T|| for
#: each of the two, and t itself is known to eps |t|.
CROSSING_ULPS = 32.0
#: Narrowest points of gaps up to this share of the spectrum's width are reported as avoided crossings.
NEAR = 1e-3
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Crossing:
    """Mark where two curves meet, or nearly.

    Attributes:
        t, gap: where their distance is least, and how much it is.
        curves: positions of the two.
        kind: "crossing": the gap is zero to rounding; "avoided": it is not. A tridiagonal matrix without a
            zero off-diagonal has simple eigenvalues, so there a "crossing" is one too narrow to measure.
        width: of an avoided crossing, the length of t over which the eigenvectors exchange: gap over the
            difference of slopes.
        swapped: the curves changed their order: through a crossing, or straight through an avoided one
            narrower than the resolution.
    """

    t: float
    gap: float
    curves: tuple[int, int]
    kind: Literal["crossing", "avoided"]
    width: float
    swapped: bool


@dataclass(frozen=True)
class EigenCurves:
    """Hold curves at m points; curve i is the i-th eigenvalue, ascending, at the first of them.

    Attributes:
        t: (m,).
        eigenvalues: (m, n).
        eigenvectors: (m, n, n), unit vectors in rows, whose signs do not jump.
        crossings: in the order of t.
    """

    t: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    crossings: tuple[Crossing, ...]


class _Point(NamedTuple):
    """Hold a point of the path: values (n,), vectors (n, n) and ranks (n,) in ascending order, all by curve."""

    t: float
    values: FloatArray
    vectors: FloatArray
    ranks: NDArray[np.intp]


def follow_eigencurves(path: Path, t: ArrayLike, *, resolution: float | None = None) -> EigenCurves:
    """Follow all eigenpairs of path(t) along ascending points t (m,).

    Between the points, steps are halved until every eigenvector overlaps one of the step before without
    doubt. Where two eigenvalues meet, eigenvectors show which curve is which; sorting would swap them.

    An avoided crossing is one and the same for eigenvalues, however narrow: they turn away from each other.
    For eigenvectors it is a rotation of length ``width``. Those wider than ``resolution`` are followed round
    the turn (the curves keep their order), narrower ones are passed straight (the eigenvectors keep their
    character, as in a crossing). Near the latter, eigenvalues are the Rayleigh quotients of the vectors.

    Args:
        path: continuous, defined between the points too; it may be called with any t there.
        t: where the curves are wanted.
        resolution: in units of t; a millionth of the path's length by default.

    Raises:
        ValueError: fewer than two points, points that do not ascend, or matrices that are not finite or do
            not match.
    """
    points = np.asarray(t, np.float64)
    if points.ndim != 1 or len(points) < 2 or not (np.diff(points) > 0).all():
        raise ValueError(f"t must be at least two ascending points; got shape {points.shape}")
    length = float(points[-1] - points[0])
    resolution = 1e-6 * length if resolution is None else resolution
    if not resolution > 0:
        raise ValueError(f"resolution must be above 0; got {resolution}")
    return _Follower(path, resolution, length / LEAST_STEPS).follow(points)


class _Follower:
    def __init__(self, path: Path, resolution: float, longest: float) -> None:
        self.path, self.resolution, self.longest = path, resolution, longest
        self.trail: list[_Point] = []
        self.crossings: list[Crossing] = []

    def follow(self, points: FloatArray) -> EigenCurves:
        self.trail = [self._start(points[0], points[1])]
        kept = [0]
        for target in points[1:]:
            pieces = max(1, int(np.ceil((target - self.trail[-1].t) / self.longest)))
            for stop in np.linspace(self.trail[-1].t, target, pieces + 1)[1:]:
                self._reach(float(stop))
            kept.append(len(self.trail) - 1)
        self._find_narrow_places()
        wanted = [self.trail[i] for i in kept]
        return EigenCurves(
            t=points,
            eigenvalues=np.array([point.values for point in wanted]),
            eigenvectors=np.array([point.vectors for point in wanted]),
            crossings=tuple(sorted(self.crossings, key=lambda crossing: crossing.t)),
        )

    def _solve(self, t: float) -> tuple[FloatArray, FloatArray]:
        """Return all eigenvalues (n,), ascending, and eigenvectors (n, n)."""
        diag, off_diag = (np.asarray(part, np.float64) for part in self.path(t))
        n = len(diag)
        found = eigh_tridiagonal(diag, off_diag, eig_idx=n // 2, window=n // 2, check_finite=True)
        return found.eigenvalues[:n], found.eigenvectors[:n]

    def _start(self, first: float, second: float) -> _Point:
        """Solve at the first point; if eigenvalues coincide there, with the eigenvectors that they have further on."""
        values, vectors = self._solve(first)
        ahead = first + min(2 * self.resolution, second - first)
        guide = _Point(ahead, *self._solve(ahead), np.arange(len(values)))
        values, vectors, _ = self._untangle(first, values, vectors, guide)
        return _Point(first, values, vectors, np.arange(len(values)))

    def _reach(self, target: float) -> None:
        """Add points up to ``target``."""
        stops = [target]
        while stops:
            here, stop = self.trail[-1], stops[-1]
            point, sure = self._continue(here, stop)
            if not sure and stop - here.t > max(self.resolution / 4, 4 * np.spacing(abs(stop))):
                stops.append((here.t + stop) / 2)
                continue
            self._note_swaps(here, point)
            self.trail.append(point)
            stops.pop()

    def _continue(self, here: _Point, stop: float) -> tuple[_Point, bool]:
        """Solve at ``stop``, and say whether its curves certainly continue those of ``here``."""
        values, vectors, met = self._untangle(stop, *self._solve(stop), here)
        overlaps = here.vectors @ vectors.T
        _, chosen = linear_sum_assignment(-np.abs(overlaps))
        signed = overlaps[np.arange(len(chosen)), chosen]
        vectors = np.where(signed < 0, -1.0, 1.0)[:, None] * vectors[chosen]
        values = values[chosen]
        point = _Point(stop, values, vectors, _ranks(values, here.ranks))
        sure = bool((np.abs(signed) >= SURE_OVERLAP).all())
        # Where curves meet, the vectors are those of the step before: it must be a short one.
        sure = sure and (not met or stop - here.t <= 2 * self.resolution)
        moves = np.abs(point.ranks - here.ranks)
        if not sure or not moves.any():
            return point, sure
        # One exchange of neighbours at a time can be located; and it must be narrow, or it is none.
        if moves.max() > 1:
            return point, False
        narrow = all(self._locate(ranks, here.t, stop)[2] < self.resolution for ranks in _exchanged(here, point))
        return point, narrow

    def _untangle(
        self, t: float, values: FloatArray, vectors: FloatArray, guide: _Point
    ) -> tuple[FloatArray, FloatArray, bool]:
        """Turn eigenpairs too near each other towards the guide's; and say whether any have just met."""
        met = False
        limit = self._blur(t, values, guide)
        values, vectors = values.copy(), vectors.copy()
        edges = np.flatnonzero(np.diff(values) > limit) + 1
        for group in np.split(np.arange(len(values)), edges):
            if len(group) == 1:
                continue
            shares = guide.vectors @ vectors[group].T
            nearest = np.sort(np.argsort(-(shares**2).sum(axis=1), kind="stable")[: len(group)])
            left, _, right = np.linalg.svd(shares[nearest])
            turn = left @ right
            vectors[group] = turn @ vectors[group]
            met = met or bool(np.ptp(guide.values[nearest]) > limit)
            values[group] = turn**2 @ values[group]
        return values, vectors, met

    def _blur(self, t: float, values: FloatArray, guide: _Point) -> float:
        """Return gaps that a step of the resolution could open or close."""
        rate = np.abs(values - np.sort(guide.values)).max() / max(abs(t - guide.t), np.finfo(float).tiny)
        rounding = CROSSING_ULPS * np.finfo(float).eps * np.abs(values).max()
        return float(max(rate * self.resolution, rounding))

    def _gap(self, ranks: tuple[int, int], t: float) -> float:
        diag, off_diag = self.path(t)
        low, high = (eigvalsh_tridiagonal(diag, off_diag, eig_idx=rank) for rank in ranks)
        return float(high - low)

    def _locate(self, ranks: tuple[int, int], a: float, b: float) -> tuple[float, float, float]:
        """Find (t, gap, width) where the gap of two eigenvalues is least in [a, b], by golden section."""
        low, high = a, b
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        f_left, f_right = self._gap(ranks, left), self._gap(ranks, right)
        while high - low > 2 * np.spacing(max(abs(low), abs(high), (b - a) * 1e-6)):
            if f_left <= f_right:
                high, right, f_right = right, left, f_left
                left = high - GOLDEN * (high - low)
                f_left = self._gap(ranks, left)
            else:
                low, left, f_left = left, right, f_right
                right = low + GOLDEN * (high - low)
                f_right = self._gap(ranks, right)
        gap, t = min((self._gap(ranks, t), t) for t in (a, low, left, right, high, b))
        # Of a hyperbola gap^2 + slope^2 (t' - t)^2, seen from the farther end.
        end = a if t - a > b - t else b
        slope = np.sqrt(max(self._gap(ranks, end) ** 2 - gap**2, 0.0)) / abs(end - t)
        return t, gap, float(gap / slope) if slope > 0 else np.inf

    def _note_swaps(self, here: _Point, point: _Point) -> None:
        for ranks in _exchanged(here, point):
            self._report(ranks, here, point, swapped=True)

    def _report(self, ranks: tuple[int, int], here: _Point, point: _Point, swapped: bool) -> None:
        t, gap, width = self._locate(ranks, here.t, point.t)
        rate = np.abs(np.sort(point.values) - np.sort(here.values)).max() / (point.t - here.t)
        size = np.abs(here.values).max() + abs(t) * rate
        kind: Literal["crossing", "avoided"] = "avoided"
        if gap <= CROSSING_ULPS * np.finfo(float).eps * size:
            kind, width = "crossing", 0.0
        order = np.argsort(here.ranks)
        first, second = sorted(int(order[rank]) for rank in ranks)
        self.crossings.append(Crossing(t, gap, (first, second), kind, width, swapped))

    def _find_narrow_places(self) -> None:
        """Report where sorted neighbours come near without exchanging."""
        times = np.array([point.t for point in self.trail])
        sorted_values = np.sort([point.values for point in self.trail], axis=1)
        gaps = np.diff(sorted_values, axis=1)
        spread = float(np.ptp(sorted_values, axis=1).max())
        swaps = [(crossing.t, crossing.curves) for crossing in self.crossings]
        # Eigenvalues that coincide all along have noise for a gap, not a narrow place.
        rounding = CROSSING_ULPS * np.finfo(float).eps * np.abs(sorted_values).max()
        inside = (gaps[:-2] > rounding) & (gaps[2:] > rounding)
        inside &= (gaps[1:-1] <= gaps[:-2]) & (gaps[1:-1] < gaps[2:]) & (gaps[1:-1] <= 10 * NEAR * spread)
        for i, rank in zip(*np.nonzero(inside), strict=True):
            before, after = self.trail[i], self.trail[i + 2]
            order = np.argsort(before.ranks)
            pair = tuple(sorted((int(order[rank]), int(order[rank + 1]))))
            if any(times[i] <= t <= times[i + 2] and curves == pair for t, curves in swaps):
                continue
            ranks = (int(rank), int(rank) + 1)
            if self._locate(ranks, before.t, after.t)[1] <= NEAR * spread:
                self._report(ranks, before, after, swapped=False)


def _ranks(values: FloatArray, before: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rank values (n,); equal ones keep their order of before."""
    ranks = np.empty(len(values), np.intp)
    ranks[np.lexsort((before, values))] = np.arange(len(values))
    return ranks


def _exchanged(here: _Point, point: _Point) -> list[tuple[int, int]]:
    """List pairs of ranks whose curves come in the other order at the second point."""
    later = point.ranks[np.argsort(here.ranks)]
    low, high = np.nonzero(np.triu(later[:, None] > later))
    return list(zip(low.tolist(), high.tolist(), strict=True))
