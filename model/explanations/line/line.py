"""Cut the line from a baseline to a row where it meets knots, and give the matrices along it.

A coordinate walks straight. A feature through which no line leads (a categorical or boolean one, or one that is
missing in just one of the two rows) is switched: the matrix of each curve is interpolated between its two states, M =
(1 - t) M(baseline's) + t M(row's), and bilinearly where both features of a pair are switched. For a coordinate that
walks along one segment of a curve this is the very same line.

Between two knots a curve's matrix is affine in t for each state, so that the matrix T of a member is quadratic in t,
and affine where nothing is switched; its derivative by way of one feature is affine, or constant. A segment thus
needs its curves at its ends only (and T in its middle): whatever lies between is interpolated, however finely it is
cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers.cpu import solve_eigenpairs
from eigenserve.model.explanations.line.kernels import differentiate, interpolate, mix, slopes_by_time
from eigenserve.model.matrices.curves import Walk
from eigenserve.model.matrices.ensemble import SpectralEnsemble

#: Points solved together: 128 of 8 members of dim 15 take 240 kB of matrices and 120 kB of vectors.
_CHUNK_POINTS = 128
#: In standard deviations: beyond, differences of two places and their products are not numbers.
_FARTHEST = 2.0**500


class Segments(NamedTuple):
    """Hold S pieces of a line between knots; W numbers are the members' diagonals, then their off-diagonals.

    Attributes:
        ends: (S + 1,), times.
        matrices: (S + 1, W), T at the ends.
        bend: (S, W), T_a + T_b - 2 T_middle; one row of zeros where nothing is switched.
        starts, stops: (S, A, W), derivatives by t by way of each of A features, just within the ends; ``stops`` is
            ``starts`` where nothing is switched.
    """

    ends: FloatArray
    matrices: FloatArray
    bend: FloatArray
    starts: FloatArray
    stops: FloatArray


class Line:
    """Follow the line from a baseline to one row, both in coordinates (F,).

    Attributes:
        moving: positions of the A features that differ.
    """

    def __init__(
        self,
        ensemble: SpectralEnsemble,
        walkable: NDArray[np.bool_],
        baseline: FloatArray,
        row: FloatArray,
        tables: tuple[FloatArray, FloatArray],
    ) -> None:
        self.ensemble, self.curves = ensemble, ensemble.pencil.curves
        baseline, row = _nearer(baseline), _nearer(row)
        self.baseline, self.row = baseline, row
        self.constant, self.table = tables
        missing = np.isnan(baseline), np.isnan(row)
        same = (baseline == row) | (missing[0] & missing[1])
        self.walks = walkable & ~same & ~missing[0] & ~missing[1]
        self.switched = ~same & ~self.walks
        self.step = np.where(self.walks, row - baseline, 0.0)
        self.moving = np.flatnonzero(~same)
        self.bends = bool(self.switched.any())
        # By how much each curve's number changes on the way.
        self.by = (self.curves.direction * np.append(self.step, 0.0)[self.curves.numeric]).sum(axis=1)
        # First and second switched feature of each curve, -1 for none.
        self.pairs = np.full((len(self.curves.curves), 2), -1, np.int64)
        for c, curve in enumerate(self.curves.curves if self.bends else ()):
            own = [i for i in dict.fromkeys(curve.numeric + curve.categorical) if self.switched[i]]
            self.pairs[c, : len(own)] = own

    def segments(self) -> Segments:
        """Cut the line at 0, 1 and wherever it meets a knot."""
        ends = self._breakpoints()
        matrices = self._matrices(ends)
        middle = 0.5 * (ends[:-1] + ends[1:])
        if not self.bends:
            bend = np.zeros((1, matrices.shape[1]))
            starts = self._derivatives(middle, np.zeros(len(middle)))
            return Segments(ends, matrices, bend, starts, starts)
        half = 0.5 * np.diff(ends)
        bend = matrices[:-1] + matrices[1:] - 2.0 * self._matrices(middle)
        return Segments(ends, matrices, bend, self._derivatives(middle, -half), self._derivatives(middle, half))

    def solve(self, segments: Segments, which: NDArray[np.int64], shares: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return scores (N,), without offset, and their slopes by t (N, A), at shares of the way along segments."""
        weights, n = self.ensemble.member_weights, self.ensemble.pencil.dim
        scores, slopes = np.empty(len(which)), np.empty((len(which), len(self.moving)))
        members = len(weights)
        size = min(_CHUNK_POINTS, len(which))
        diag, off_diag = np.empty((size, members * n)), np.empty((size, members * (n - 1)))
        values, vectors = np.empty(size * members), np.empty((size * members, n))
        forms = np.empty(segments.matrices.shape[1])
        for first in range(0, len(which), _CHUNK_POINTS):
            own = slice(first, first + _CHUNK_POINTS)
            count = len(which[own])
            interpolate(segments.matrices, segments.bend, self.bends, which[own], shares[own], diag, off_diag)
            solve_eigenpairs(
                diag[:count].reshape(-1, n),
                off_diag[:count].reshape(count * members, n - 1),
                self.ensemble.eig_idx,
                values[: count * members],
                vectors[: count * members],
            )
            scores[own] = values[: count * members].reshape(count, members) @ weights
            slopes_by_time(
                *(segments.starts, segments.stops, self.bends, which[own], shares[own], weights),
                *(vectors.reshape(size, members, n), forms, slopes[own]),
            )
        return scores, slopes

    def _breakpoints(self) -> FloatArray:
        """Return 0, 1, and where the line meets a knot: between them the slope is smooth but for crossings."""
        found = [np.array([0.0, 1.0])]
        # A switched feature holds still while the others walk, in either of its states.
        places = [self.baseline, np.where(self.switched, self.row, self.baseline)][: 1 + self.bends]
        begins = [(self.curves.direction * np.append(p, 0.0)[self.curves.numeric]).sum(axis=1) for p in places]
        for c in np.flatnonzero(self.by).tolist():
            found += [(self.curves.knots_of(c) - begin[c]) / self.by[c] for begin in begins]
        times = np.unique(np.concatenate(found))
        return times[(times >= 0.0) & (times <= 1.0)]

    def _walks(self, times: FloatArray) -> Walk:
        """Find where points stand on every curve in up to four states of its switched features: (4 or 1, N, C)."""
        base = np.where(self.walks, self.baseline + times[:, None] * self.step, self.baseline)
        base[times == 1.0] = np.where(self.walks, self.row, self.baseline)  # to the last bit: it is the row's score
        walk = self.curves.walk(base)
        if not self.bends:
            return Walk(walk.starts[None], walk.weights[None], walk.slopes[None])
        both = self.curves.walk(np.where(self.switched, self.row, base))
        firsts, seconds = (Walk(walk.starts.copy(), walk.weights.copy(), walk.slopes.copy()) for _ in range(2))
        for i in np.flatnonzero(self.switched):
            one = base.copy()
            one[:, i] = self.row[i]
            alone = self.curves.walk(one)
            for walks, position in ((firsts, 0), (seconds, 1)):
                own = self.pairs[:, position] == i
                walks.starts[:, own] = alone.starts[:, own]
                walks.weights[:, own] = alone.weights[:, own]
                walks.slopes[:, own] = alone.slopes[:, own]
        states = (walk, firsts, seconds, both)
        return Walk(
            np.stack([state.starts for state in states]),
            np.stack([state.weights for state in states]),
            np.stack([state.slopes for state in states]),
        )

    def _matrices(self, times: FloatArray) -> FloatArray:
        out = np.empty((len(times), len(self.constant)))
        walks = self._walks(times)
        mix(walks.starts, walks.weights, _shares(times), self.pairs, self.constant, self.table, out)
        return out

    def _derivatives(self, middle: FloatArray, away: FloatArray) -> FloatArray:
        """Return derivatives by feature, at middle + away, on the segments that the middles are in."""
        walks = self._walks(middle)
        weights = walks.weights + walks.slopes * self.by * away[:, None]
        place = np.full(len(self.row) + 1, -1, np.int64)
        place[self.moving] = np.arange(len(self.moving))
        times = middle + away
        out = np.zeros((len(times), len(self.moving), len(self.constant)))
        differentiate(
            *(walks.starts, weights, walks.slopes, times, _shares(times), self.pairs, self.curves.numeric),
            *(self.curves.direction, self.step, place, self.table, out),
        )
        return out


def _nearer(place: FloatArray) -> FloatArray:
    """Bring coordinates beyond _FARTHEST there together: a pair's directions then see them on the same sides."""
    far = np.abs(place) > _FARTHEST
    return np.where(far, place * (_FARTHEST / np.abs(place).max(where=far, initial=1.0)), place)


def _shares(times: FloatArray) -> FloatArray:
    return np.stack([(1.0 - times) ** 2, times * (1.0 - times), times * (1.0 - times), times**2])
