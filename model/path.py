"""Aumann-Shapley values of a score: its slope integrated along the straight line from the baseline to the row.

z(t) = z0 + t (z1 - z0) in coordinates.  phi_i = integral over t in [0, 1] of  d s(z(t)) / d z_i  (z1 - z0)_i

The derivative is the eigenvector's, v' (dT/dz_i) v: it exists wherever the line crosses no kink and no repeated
eigenvalue. The integral is complete: s is continuous and piecewise smooth in t, so the values add up to
s(z1) - s(z0).

A feature through which no line leads (a categorical or boolean one, or one that is missing in just one of the two
rows) is switched instead: between its two states the matrix of each curve is interpolated, M = (1 - t) M(baseline's
state) + t M(row's state), and bilinearly where both features of a pair are switched. For a coordinate that walks
along one segment of a curve this is the very same line. It keeps the axioms: the path is one for all features
(symmetry), a feature that is equal in both rows or in no curve gets zero (dummy), and the ends of the path are the
two rows (completeness).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.curves import Walk
from model.eigensolvers.cpu import solve_eigenpairs
from model.ensemble import CHUNK_ROWS, SpectralEnsemble
from model.features import FeatureSpace, FloatArray
from model.threads import for_ranges

# Kronrod's seven nodes about Gauss' three on [-1, 1] (QUADPACK's construction; abscissae and weights of G3K7).
_NODES = np.array([0.0, 0.4342437493468026, 0.7745966692414834, 0.9604912687080203])
_KRONROD = np.array([0.4509165386584741, 0.4013974147759622, 0.2684880898683334, 0.1046562260264673])
_GAUSS = np.array([8.0 / 9.0, 0.0, 5.0 / 9.0, 0.0])
NODES = np.concatenate([-_NODES[:0:-1], _NODES])
KRONROD = np.concatenate([_KRONROD[:0:-1], _KRONROD])
GAUSS = np.concatenate([_GAUSS[:0:-1], _GAUSS])

#: A segment is split while three nodes and seven differ by more than this share of the score's scale. Where the slope
#: is smooth, seven nodes err by far less than that: about the difference's square.
TOLERANCE = 1e-7
#: How far the sum of a segment's values may be from the change of the score along it, which is known.
SUM_TOLERANCE = 1e-11
# The eigenvalue is Lipschitz in t: beyond this depth a segment holds 2^-40 of the path, less than 1e-12 of the change.
_SMALLEST = 2.0**-40
# As in model.pencil.
_SUM_FLAGS = {"reassoc", "contract", "nsz"}


def path_values(
    features: FeatureSpace,
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    baseline: FloatArray,
    outputs: FloatArray,
) -> FloatArray:
    """Aumann-Shapley values (N, F) of N rows.

    They add up to the change of the score to rounding: what the quadrature leaves over (at most SUM_TOLERANCE of
    the scale for each segment) is shared out in proportion to the values of that segment.

    Args:
        features: tell which coordinates are numbers.
        ensemble: what scores.
        coordinates: (N, F).
        baseline: (F,), coordinates of the row to start from.
        outputs: (N, O), for each row the unit vector of the output to explain, or minus it.
    """
    walkable = np.array([feature.kind in ("numeric", "datetime") for feature in features.features], bool)
    values = np.empty(coordinates.shape)

    def work(start: int, stop: int) -> None:
        for j in range(start, stop):
            values[j] = _Line(ensemble, walkable, baseline, coordinates[j], outputs[j]).integrate()

    for_ranges(len(coordinates), 1, work)
    return values


class _Corners(NamedTuple):
    """Where the nodes of a line stand: curve c is the mean of its walks in up to four states of its features."""

    walks: tuple[Walk, ...]  # the first alone where nothing is switched
    shares: FloatArray  # (4, N), of: neither feature switched, the first, the second, both


class _Line:
    """The line from a baseline to one row."""

    def __init__(
        self,
        ensemble: SpectralEnsemble,
        walkable: NDArray[np.bool_],
        baseline: FloatArray,
        row: FloatArray,
        outputs: FloatArray,
    ) -> None:
        self.ensemble, self.curves = ensemble, ensemble.pencil.curves
        self.baseline, self.row = baseline, row
        self.output = int(np.abs(outputs).argmax())
        self.sign = outputs[self.output]
        missing = np.isnan(baseline), np.isnan(row)
        same = (baseline == row) | (missing[0] & missing[1])
        self.walks = walkable & ~same & ~missing[0] & ~missing[1]
        self.switched = ~same & ~self.walks
        self.step = np.where(self.walks, row - baseline, 0.0)
        # First and second switched feature of each curve, -1 for none.
        self.pairs = np.full((len(self.curves.curves), 2), -1, np.int64)
        for c, curve in enumerate(self.curves.curves):
            own = [i for i in dict.fromkeys(curve.numeric + curve.categorical) if self.switched[i]]
            self.pairs[c, : len(own)] = own
        members = len(ensemble.member_weights)
        self.heads = slice(self.output * members, (self.output + 1) * members)
        pencil = ensemble.pencil
        self.tables = tuple(
            np.ascontiguousarray(table[:, self.heads]).reshape(len(table), -1)
            for table in (pencil.diag, pencil.off_diag)
        )
        self.constants = tuple(
            np.ascontiguousarray(constant[self.heads]).reshape(-1)
            for constant in (pencil.constant_diag, pencil.constant_off_diag)
        )

    def integrate(self) -> FloatArray:
        """The values of all features, (F,)."""
        ends = self.breakpoints()
        edge_scores = self.scores_and_slopes(ends)[0]
        scale = max(float(np.abs(edge_scores).max()), float(np.ptp(edge_scores)), np.finfo(float).tiny)
        low, high = ends[:-1], ends[1:]
        change = np.diff(edge_scores)
        low_scores = edge_scores[:-1]
        total = np.zeros(len(self.row))
        while len(low):
            half = 0.5 * (high - low)
            nodes = ((low + half)[:, None] + half[:, None] * NODES).reshape(-1)
            slopes = self.scores_and_slopes(nodes)[1].reshape(len(low), len(NODES), -1) * half[:, None, None]
            found = np.einsum("k,skf->sf", KRONROD, slopes)
            doubt = np.abs(np.einsum("k,skf->sf", KRONROD - GAUSS, slopes)).max(axis=1, initial=0.0)
            left = change - found.sum(axis=1)
            good = (doubt <= TOLERANCE * scale) & (np.abs(left) <= SUM_TOLERANCE * scale)
            good |= half <= _SMALLEST
            size = np.abs(found).sum(axis=1)
            found += np.abs(found) * np.divide(left, size, out=np.zeros_like(left), where=size > 0.0)[:, None]
            total += found[good].sum(axis=0)
            low, high, change, low_scores = low[~good], high[~good], change[~good], low_scores[~good]
            middle = 0.5 * (low + high)
            middle_scores = self.scores_and_slopes(middle)[0] if len(middle) else middle
            first = middle_scores - low_scores
            low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
            change = np.concatenate([first, change - first])
            low_scores = np.concatenate([low_scores, middle_scores])
        return self.sign * total

    def breakpoints(self) -> FloatArray:
        """0, 1, and where the line crosses a knot: between them the slope is smooth but for crossings."""
        found = [np.array([0.0, 1.0])]
        for curve in self.curves.curves:
            by = sum(w * self.step[i] for i, w in zip(curve.numeric, curve.direction, strict=True))
            if by == 0.0:
                continue
            # A switched feature holds still while the others walk, in either of its states.
            for ends in (self.baseline, np.where(self.switched, self.row, self.baseline)):
                start = sum(w * ends[i] for i, w in zip(curve.numeric, curve.direction, strict=True))
                found.append((np.array(curve.knots) - start) / by)
        times = np.unique(np.concatenate(found))
        return times[(times >= 0.0) & (times <= 1.0)]

    def corners(self, times: FloatArray) -> _Corners:
        """Where the points of the line stand on every curve."""
        base = np.where(self.walks, self.baseline + times[:, None] * self.step, self.baseline)
        walk = self.curves.walk(base)
        if not self.switched.any():
            return _Corners((walk,), _shares(times))
        both = self.curves.walk(np.where(self.switched, self.row, base))
        firsts, seconds = _copy(walk), _copy(walk)
        for i in np.flatnonzero(self.switched):
            one = base.copy()
            one[:, i] = self.row[i]
            alone = self.curves.walk(one)
            for walks, position in ((firsts, 0), (seconds, 1)):
                own = self.pairs[:, position] == i
                walks.starts[:, own] = alone.starts[:, own]
                walks.weights[:, own] = alone.weights[:, own]
                walks.slopes[:, own] = alone.slopes[:, own]
        return _Corners((walk, firsts, seconds, both), _shares(times))

    def scores_and_slopes(self, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Score (N,), without offset, and (N, F) its slope by t, feature by feature, at points of the line."""
        scores, slopes = np.empty(len(times)), np.zeros((len(times), len(self.row)))
        for first in range(0, len(times), CHUNK_ROWS):
            rows = slice(first, first + CHUNK_ROWS)
            self._chunk(times[rows], scores[rows], slopes[rows])
        return scores, slopes

    def _chunk(self, times: FloatArray, scores: FloatArray, slopes: FloatArray) -> None:
        pencil, weights = self.ensemble.pencil, self.ensemble.member_weights
        count, members, dim = len(times), len(weights), pencil.dim
        walks, shares = self.corners(times)
        stacked = Walk(*(np.stack(parts) for parts in zip(*walks, strict=True)))
        diag, off_diag = np.empty((count, members * dim)), np.empty((count, members * (dim - 1)))
        for table, constant, out in zip(self.tables, self.constants, (diag, off_diag), strict=True):
            _mix(stacked.starts, stacked.weights, shares, self.pairs, constant, table, out)
        values, vectors = np.empty(count * members), np.empty((count * members, dim))
        solve_eigenpairs(
            diag.reshape(-1, dim), off_diag.reshape(len(values), dim - 1), self.ensemble.eig_idx, values, vectors
        )
        scores[:] = values.reshape(count, members) @ weights
        v = vectors.reshape(count, members, dim)
        squares = (weights[:, None] * v**2).reshape(count, -1)
        products = (2.0 * weights[:, None] * v[..., 1:] * v[..., :-1]).reshape(count, -1)
        _slopes(
            *stacked,
            times,
            shares,
            self.pairs,
            self.curves.numeric,
            self.curves.direction,
            self.step,
            *self.tables,
            squares,
            products,
            slopes,
        )


def _shares(times: FloatArray) -> FloatArray:
    return np.stack([(1.0 - times) ** 2, times * (1.0 - times), times * (1.0 - times), times**2])


def _copy(walk: Walk) -> Walk:
    return Walk(walk.starts.copy(), walk.weights.copy(), walk.slopes.copy())


@njit(nogil=True, cache=True, error_model="numpy")
def _share(corner: Any, shares: Any, j: Any, pairs: Any, c: Any) -> Any:
    """How much a corner counts on curve c: only those of its switched features do."""
    if pairs[c, 0] < 0:
        return 1.0 if corner == 0 else 0.0
    if pairs[c, 1] < 0:
        if corner == 0:
            return shares[0, j] + shares[2, j]
        return shares[1, j] + shares[3, j] if corner == 1 else 0.0
    return shares[corner, j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_SUM_FLAGS)
def _mix(starts: Any, weights: Any, shares: Any, pairs: Any, constant: Any, table: Any, out: Any) -> None:
    for j in range(len(out)):
        row = out[j]
        row[:] = constant
        for c in range(starts.shape[2]):
            for corner in range(len(starts)):
                share = _share(corner, shares, j, pairs, c)
                if share == 0.0:
                    continue
                first = table[starts[corner, j, c]]
                w = weights[corner, j, c]
                if w == 0.0:
                    for i in range(len(row)):
                        row[i] += share * first[i]
                else:
                    second = table[starts[corner, j, c] + 1]
                    for i in range(len(row)):
                        row[i] += share * (first[i] + w * (second[i] - first[i]))


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_SUM_FLAGS)
def _form(diag: Any, off_diag: Any, squares: Any, products: Any) -> Any:
    total = 0.0
    for i in range(len(squares)):
        total += diag[i] * squares[i]
    for i in range(len(products)):
        total += off_diag[i] * products[i]
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def _slopes(
    starts: Any,
    weights: Any,
    rates: Any,
    times: Any,
    shares: Any,
    pairs: Any,
    numeric: Any,
    direction: Any,
    step: Any,
    diag: Any,
    off_diag: Any,
    squares: Any,
    products: Any,
    slopes: Any,
) -> None:
    values = np.zeros(4)
    for j in range(len(slopes)):
        t = times[j]
        for c in range(starts.shape[2]):
            along = 0.0
            for k in range(2):
                if numeric[c, k] >= 0:
                    along += abs(direction[c, k] * step[numeric[c, k]])
            switched = pairs[c, 0] >= 0
            if along == 0.0 and not switched:
                continue
            for corner in range(len(starts)):
                share = _share(corner, shares, j, pairs, c)
                values[corner] = 0.0
                if (not switched and corner > 0) or (corner > 1 and pairs[c, 1] < 0):
                    continue
                r, rate = starts[corner, j, c], rates[corner, j, c]
                if switched:
                    values[corner] = _form(diag[r], off_diag[r], squares[j], products[j])
                if rate == 0.0:
                    continue
                by = _form(diag[r + 1], off_diag[r + 1], squares[j], products[j])
                by -= values[corner] if switched else _form(diag[r], off_diag[r], squares[j], products[j])
                values[corner] += weights[corner, j, c] * by
                for k in range(2):
                    i = numeric[c, k]
                    if i >= 0:
                        slopes[j, i] += share * direction[c, k] * step[i] * rate * by
            if not switched:
                continue
            p, q = pairs[c]
            if q < 0:
                slopes[j, p] += values[1] - values[0]
            else:
                slopes[j, p] += (1.0 - t) * (values[1] - values[0]) + t * (values[3] - values[2])
                slopes[j, q] += (1.0 - t) * (values[2] - values[0]) + t * (values[3] - values[1])
