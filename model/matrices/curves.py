"""Find where a row stands on each curve of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.lanes import LANES_F64, count_lanes, load
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest


@dataclass(frozen=True)
class Term:
    """Name one feature, or one pair of features: what a contribution is named after.

    Attributes:
        name: the feature's name, or "a & b".
        features: positions in the feature space, one or two.
    """

    name: str
    features: tuple[int, ...]


@dataclass(frozen=True)
class Curve:
    """Hold a piecewise-linear path through matrices, one matrix per knot, walked by one number.

    The number is u = sum(direction * z[numeric]). With categorical features there is one such path for each
    combination of their codes; without numeric ones (``knots`` then is a single zero) the curve is a table
    with a matrix per combination. Its matrices lie in this order: paths by code (the first categorical
    feature varies slowest), knots ascending within each, and the matrix for "missing" last.

    Attributes:
        term: position of the term that the curve belongs to.
        numeric, direction: features that make up u, and their weights.
        categorical, num_codes: features that choose the path, and how many codes each has.
        knots: strictly ascending values of u.
        extend: beyond the outer knots the path goes on as a straight line (otherwise it stays).
        missing: there is a matrix for rows in which one of the features is missing.
    """

    term: int
    numeric: tuple[int, ...] = ()
    direction: tuple[float, ...] = ()
    categorical: tuple[int, ...] = ()
    num_codes: tuple[int, ...] = ()
    knots: tuple[float, ...] = (0.0,)
    extend: bool = False
    missing: bool = False

    @property
    def num_paths(self) -> int:
        """Count the paths the categorical features choose from; 1 without any."""
        count = 1
        for codes in self.num_codes:
            count *= codes
        return count

    @property
    def num_matrices(self) -> int:
        """Count the curve's matrices, the one for "missing" included."""
        return self.num_paths * len(self.knots) + self.missing

    @cached_property
    def least_distance(self) -> float:
        """Return the least distance of two neighbouring knots; infinite where there is one alone."""
        return min((b - a for a, b in pairwise(self.knots)), default=inf)


class Walk(NamedTuple):
    """Hold where rows stand: M(x) = (1 - weights) * matrices[starts] + weights * matrices[starts + 1], per curve.

    Attributes:
        starts: (N, C) int32, positions in the stacked matrices of all curves.
        weights: (N, C) float64; in [0, 1] except beyond the ends of a curve that extends.
        slopes: (N, C) float64, d(weights)/du: 1 / (distance of the two knots), zero where the path stays.
    """

    starts: NDArray[np.int32]
    weights: FloatArray
    slopes: FloatArray

    def at(self, rows: NDArray[np.int64]) -> Walk:
        """Return that of some rows."""
        return Walk(self.starts[rows], self.weights[rows], self.slopes[rows])

    def first(self, count: int) -> Walk:
        """Return the first rows."""
        return Walk(self.starts[:count], self.weights[:count], self.slopes[:count])


@dataclass(frozen=True)
class CurveSet:
    """Stack all curves of a model."""

    curves: tuple[Curve, ...]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Return (C + 1,): the matrices of curve c are offsets[c]:offsets[c + 1]."""
        return np.concatenate([[0], np.cumsum([curve.num_matrices for curve in self.curves], dtype=np.int64)])

    @property
    def num_matrices(self) -> int:
        """Count the matrices of all curves together."""
        return int(self.offsets[-1])

    def room(self, count: int) -> Walk:
        """Return room for `walk`: memory that is used again costs no page faults (a tenth of a prediction)."""
        shape = (count, len(self.curves))
        return Walk(np.empty(shape, np.int32), np.empty(shape), np.empty(shape))

    def walk(self, coordinates: FloatArray, into: Walk | None = None) -> Walk:
        """Find where each row of coordinates (N, F) stands on each curve, and write it ``into`` room if given.

        Raises:
            ValueError: a category's code is not one of its feature's.
        """
        walk = self.room(len(coordinates)) if into is None else into.first(len(coordinates))
        row = _walk(
            coordinates, self.numeric, self.direction, *self._choice, *self._knots, *self._inner, self.offsets, *walk
        )
        if row >= 0:
            raise ValueError(
                f"codes of categories must be whole numbers from 0 to the number of categories; row {row} has others: "
                "make columns with FeatureSpace.encode"
            )
        return walk

    def knots_of(self, curve: int) -> FloatArray:
        """Return the knots of a curve."""
        knots, _, first, _ = self._knots
        return knots[first[curve] : first[curve + 1]]

    def knots_along(self, place: FloatArray, feature: int) -> FloatArray:
        """Return coordinates, in no order, where a numeric feature meets knots, the others staying at (F,)."""
        alone, shared = self._knots_by[feature] if feature in self._knots_by else (np.empty(0), ())
        found = [alone]
        for knots, along, other, weight, categorical in shared:
            rest = weight * place[other] if other >= 0 else 0.0
            # A curve that misses a feature stands on its matrix for that.
            if not np.isnan(rest) and not np.isnan(place[categorical]).any():
                found.append((knots - rest) / along)
        return np.concatenate(found)

    @cached_property
    def _knots_by(self) -> dict[int, tuple[FloatArray, list[tuple[FloatArray, float, int, float, list[int]]]]]:
        """Return by numeric feature: knots of curves it walks alone, and the other curves' with what moves them."""
        alone: dict[int, list[FloatArray]] = {}
        shared: dict[int, list[tuple[FloatArray, float, int, float, list[int]]]] = {}
        for curve in self.curves:
            for k, feature in enumerate(curve.numeric):
                along = curve.direction[k]
                own = alone.setdefault(feature, [np.empty(0)])
                others = shared.setdefault(feature, [])
                if len(curve.knots) < 2 or along == 0.0:
                    continue
                if len(curve.numeric) == 1 and not curve.categorical:
                    own.append(np.array(curve.knots) / along)
                    continue
                other, weight = -1, 0.0
                if len(curve.numeric) == 2:
                    other, weight = curve.numeric[1 - k], curve.direction[1 - k]
                others.append((np.array(curve.knots), along, other, weight, list(curve.categorical)))
        return {feature: (np.concatenate(alone[feature]), shared[feature]) for feature in alone}

    @cached_property
    def term(self) -> NDArray[np.int64]:
        """Return the term of each curve, (C,)."""
        return np.array([curve.term for curve in self.curves], np.int64)

    @cached_property
    def numeric(self) -> NDArray[np.int64]:
        """Return the numeric features of each curve, (C, 2), -1 where it has fewer than two."""
        return _pairs([curve.numeric for curve in self.curves], -1, np.int64)

    @cached_property
    def direction(self) -> FloatArray:
        """Return their weights, (C, 2), 0 where it has fewer than two."""
        return _pairs([curve.direction for curve in self.curves], 0.0, np.float64)

    @cached_property
    def _choice(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return (
            _pairs([curve.categorical for curve in self.curves], -1, np.int64),
            _pairs([curve.num_codes for curve in self.curves], 1, np.int64),
        )

    @cached_property
    def _knots(self) -> tuple[FloatArray, FloatArray, NDArray[np.int64], NDArray[np.bool_]]:
        lengths = [len(curve.knots) for curve in self.curves]
        knots = np.array([knot for curve in self.curves for knot in curve.knots], np.float64)
        with np.errstate(divide="ignore"):  # from the last knot of one curve to the first of another, unused
            slopes = 1.0 / np.diff(knots, append=np.inf)
        return (
            knots,
            slopes,
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            np.array([curve.extend for curve in self.curves], np.bool_),
        )

    @cached_property
    def _inner(self) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return the knots between each curve's first and last in rows of Lanes, (B, LANES_F64), and where each starts.

        Rows are filled up with NaN, which no number reaches.
        """
        rows, first = [np.empty((0, LANES_F64))], [0]
        for curve in self.curves:
            inner = np.full((-(-max(len(curve.knots) - 2, 0) // LANES_F64), LANES_F64), np.nan)
            inner.flat[: max(len(curve.knots) - 2, 0)] = curve.knots[1:-1]
            rows.append(inner)
            first.append(first[-1] + len(inner))
        return np.concatenate(rows), np.array(first, np.int64)


def _pairs(rows: Sequence[tuple], fill: float, dtype: type) -> NDArray:
    return np.array([(*row, fill, fill)[:2] for row in rows], dtype).reshape(-1, 2)


def _cached(sources: int) -> Any:
    """Return the kernel, which captures the digest of the ``sources`` that it calls."""

    @kernel
    def walk(
        coordinates: Any,
        numeric: Any,
        direction: Any,
        categorical: Any,
        num_codes: Any,
        knots: Any,
        knot_slopes: Any,
        first_knot: Any,
        extend: Any,
        inner: Any,
        first_inner: Any,
        offsets: Any,
        starts: Any,
        weights: Any,
        slopes: Any,
    ) -> int:
        """Fill starts, weights and slopes (N, C); return the first row with a code that there is not, or -1."""
        if sources < 0:  # only so that the digest is captured
            return -1
        for j in range(len(coordinates)):
            for c in range(len(numeric)):
                k0, k1 = first_knot[c], first_knot[c + 1]
                last = k1 - k0 - 1
                a, b = numeric[c]
                p, q = categorical[c]
                u = 0.0
                if a >= 0:
                    u = direction[c, 0] * coordinates[j, a]
                if b >= 0:
                    u += direction[c, 1] * coordinates[j, b]
                code = 0.0
                if p >= 0:
                    code = coordinates[j, p]
                    if not (np.isnan(code) or (0 <= code < num_codes[c, 0] and code == np.floor(code))):
                        return j
                if q >= 0:
                    second = coordinates[j, q]
                    if not (np.isnan(second) or (0 <= second < num_codes[c, 1] and second == np.floor(second))):
                        return j
                    code = code * num_codes[c, 1] + second
                weight = slope = 0.0
                if np.isnan(u) or np.isnan(code):
                    start = offsets[c + 1] - 1
                else:
                    start = offsets[c] + np.int64(code) * (last + 1)
                    if last > 0:
                        inside = knots[k0] <= u < knots[k1 - 1]
                        if inside or extend[c]:
                            # All inner knots at once: which way a search turns cannot be predicted, and LLVM makes
                            # branches of it (measured, 10,000 rows of 17 curves: 0.39 us a row so, 0.1 with this).
                            low = 0
                            for row in range(first_inner[c], first_inner[c + 1]):
                                low += count_lanes(load(inner, row) <= u)
                            slope = knot_slopes[k0 + low]
                            weight = (u - knots[k0 + low]) * slope
                            start += low
                        elif u >= knots[k1 - 1]:
                            start += last
                starts[j, c] = start
                weights[j, c] = weight
                slopes[j, c] = slope
        return -1

    return walk


_walk = _cached(source_digest(*SOLVER_SOURCES))
