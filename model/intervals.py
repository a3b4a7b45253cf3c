"""Score intervals: what a row's score can be when its features move within radii, proved from the matrices.

Let x' be any row whose features are within their radii of x, E = T(x') - T(x) for a member. Weyl's inequality gives

    lambda_min(E) <= lambda_k(T(x')) - lambda_k(T(x)) <= lambda_max(E)

E is a sum over curves, and lambda_max of a sum is at most the sum of lambda_max: the curves may be bounded one by one.
Curves that move with one and the same feature alone (the others held still) are bounded together instead: their sum is
one piecewise-linear path in that coordinate, with the knots of all of them. On each linear piece of a path lambda_max
is convex and lambda_min concave, and so is their mean over members: the extremes lie at the pieces' ends, which are
the knots within reach and the ends of the reach. So finitely many eigenvalues prove the interval. A categorical or
boolean feature that may move takes any of its codes; the interval then is that over all of its paths.

In floating point every eigenvalue is right to 16 eps of its matrix' norm, and sums of C matrices to C eps of the norms:
the interval is widened by 64 (C + 1) eps times the sum of all norms that took part (times |u| over the least distance
of knots, since a place between knots is known to eps |u|), and rounded outwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from model.eigensolvers import eigvalsh_tridiagonal
from model.ensemble import SpectralEnsemble
from model.features import FeatureSpace, FloatArray

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class ScoreInterval:
    """A proved interval of the scores of one row.

    Attributes:
        score: (O,), of the row itself.
        low, high: (O,), what no score falls below, or exceeds, within the radii.
    """

    score: FloatArray
    low: FloatArray
    high: FloatArray


def score_interval(
    features: FeatureSpace, ensemble: SpectralEnsemble, columns: FloatArray, radii: Mapping[str, float]
) -> ScoreInterval:
    """The interval of the scores of a row (F,) of columns.

    Args:
        features: the features of the columns.
        ensemble: what scores.
        columns: (F,), as ``FeatureSpace.encode`` gives them.
        radii: by feature, in its own unit (days for a date): a number may be anything within x - r ... x + r. A
            positive radius lets a categorical or boolean feature take any value. What is missing stays missing.

    Raises:
        ValueError: an unknown feature, or a radius that is negative or not finite.
    """
    row = features.coordinates(columns[None])[0]
    reach = [_reach(features, columns, row, i, radii) for i in range(len(features))]
    for name, radius in radii.items():
        if name not in features.names:
            raise ValueError(f"no feature {name!r}; the features are {', '.join(features.names)}")
        if not 0.0 <= radius < np.inf:
            raise ValueError(f"a radius must be finite and at least 0; got {radius!r} for {name!r}")
    moving = {i for i, values in enumerate(reach) if len(values) > 1}
    pencil = ensemble.pencil
    groups: dict[tuple[int, ...], list[int]] = {}
    alone = -1
    for c, curve in enumerate(pencil.curves.curves):
        own = tuple(sorted(moving & set(curve.numeric + curve.categorical)))
        if len(own) == 1:
            groups.setdefault(own, []).append(c)
        elif own:
            groups[(*own, alone)] = [c]
            alone -= 1
    score = ensemble.scores(row[None])[0]
    low = np.zeros(len(score))
    high = np.zeros(len(score))
    norms = _norms(ensemble, *pencil.matrices(pencil.curves.walk(row[None])))[0] + np.abs(ensemble.offset)
    for own, curves in groups.items():
        least, most, norm = _group(ensemble, row, reach, [i for i in own if i >= 0], curves)
        low, high, norms = low + least, high + most, norms + norm
    slack = 64.0 * (len(pencil.curves.curves) + 1) * _EPS * norms
    return ScoreInterval(score, np.nextafter(score + low - slack, -np.inf), np.nextafter(score + high + slack, np.inf))


def _reach(
    features: FeatureSpace, columns: FloatArray, row: FloatArray, index: int, radii: Mapping[str, float]
) -> FloatArray:
    """The ends of a numeric coordinate's reach, or all codes that one may have; one value where it stays."""
    feature, radius = features.features[index], radii.get(features.names[index], 0.0)
    if not radius > 0.0 or np.isnan(row[index]):
        return row[[index]]
    if feature.num_codes:
        codes = np.arange(feature.num_codes, dtype=np.float64)
        return codes if feature.kind == "categorical" else feature.coordinate(codes)
    here = columns[index]
    if np.isnan(here):  # no matrix of its own: it stands for the median, and stays
        return row[[index]]
    ends = feature.coordinate(np.array([np.nextafter(here - radius, -np.inf), np.nextafter(here + radius, np.inf)]))
    # The logarithm and the standardising round, too.
    wider = 4.0 * _EPS * (np.abs(ends) + abs(feature.center / feature.scale))
    return np.array([ends[0] - wider[0], ends[1] + wider[1]])


def _group(
    ensemble: SpectralEnsemble, row: FloatArray, reach: list[FloatArray], own: list[int], curves: list[int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least and largest of the members' mean of lambda_min(E), lambda_max(E), over what the curves can reach."""
    pencil = ensemble.pencil
    of_codes = [i for i in own if any(i in pencil.curves.curves[c].categorical for c in curves)]
    walked = [i for i in own if i not in of_codes]
    points = [row]
    for codes in product(*(reach[i] for i in of_codes)):
        start = row.copy()
        start[of_codes] = codes
        points += _points(ensemble, start, reach, walked, curves)
    diag, off_diag = _sums(ensemble, np.array(points), curves)
    least, most, norm = _extremes(ensemble, diag[1:] - diag[:1], off_diag[1:] - off_diag[:1], diag, off_diag)
    # u is right to eps |u|: between close knots this is a larger share of the way.
    steep = 1.0
    for c in curves:
        knots = np.array(pencil.curves.curves[c].knots)
        if len(knots) > 1:
            steep = max(steep, float((np.abs(knots).max() + np.nanmax(np.abs(points))) / np.diff(knots).min()))
    return least, most, norm * (1.0 + steep)


def _points(
    ensemble: SpectralEnsemble, start: FloatArray, reach: list[FloatArray], walked: list[int], curves: list[int]
) -> list[FloatArray]:
    """Coordinates at all ends of linear pieces within reach: of one feature, or of one curve's u."""
    if not walked:
        return [start]
    ends = []
    for corner in product(*(reach[i][[0, -1]] for i in walked)):
        end = start.copy()
        end[walked] = corner
        ends.append(end)
    found = list(ends)
    for c in curves:
        curve = ensemble.pencil.curves.curves[c]
        u = [sum(w * end[i] for i, w in zip(curve.numeric, curve.direction, strict=True)) for end in ends]
        first, last = ends[int(np.argmin(u))], ends[int(np.argmax(u))]
        if not min(u) < max(u):
            continue
        for knot in curve.knots:
            share = (knot - min(u)) / (max(u) - min(u))
            if 0.0 < share < 1.0:
                found.append(first + share * (last - first))
    return found


def _sums(ensemble: SpectralEnsemble, points: FloatArray, curves: list[int]) -> tuple[FloatArray, FloatArray]:
    """The sum of some curves' matrices at points: (P, H, n) and (P, H, n - 1)."""
    pencil = ensemble.pencil
    walk = pencil.curves.walk(points)
    sums = []
    for table in (pencil.diag, pencil.off_diag):
        total = np.zeros((len(points), *table.shape[1:]))
        for c in curves:
            starts, weights = walk.starts[:, c], walk.weights[:, c, None, None]
            second = table[np.where(walk.weights[:, c] != 0.0, starts + 1, starts)]
            total += table[starts] + weights * (second - table[starts])
        sums.append(total)
    return sums[0], sums[1]


def _extremes(
    ensemble: SpectralEnsemble, diag: FloatArray, off_diag: FloatArray, all_diag: FloatArray, all_off: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    shape = (len(diag), ensemble.num_outputs, -1)
    weights = ensemble.member_weights
    least = eigvalsh_tridiagonal(diag, off_diag, eig_idx=0).reshape(shape) @ weights
    most = eigvalsh_tridiagonal(diag, off_diag, eig_idx=diag.shape[-1] - 1).reshape(shape) @ weights
    return least.min(axis=0), most.max(axis=0), 2.0 * _norms(ensemble, all_diag, all_off).max(axis=0)


def _norms(ensemble: SpectralEnsemble, diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """(P, O): the members' mean of a bound of the norm."""
    norm = np.abs(diag).max(axis=-1) + 2.0 * np.abs(off_diag).max(axis=-1, initial=0.0)
    return norm.reshape(len(diag), ensemble.num_outputs, -1) @ ensemble.member_weights


def certified_radius(
    features: FeatureSpace,
    ensemble: SpectralEnsemble,
    columns: FloatArray,
    scales: Mapping[str, float],
    threshold: float = 0.0,
) -> float:
    """A share r such that no row within radii r * scales of the row is on the other side of the threshold.

    One output: the score stays on its side. Several: the class with the largest score stays so (no threshold). What is
    proved for r holds for every smaller one, whose rows are among those of r. The largest r that was proved by
    doubling and halving; 0 where none was, at most 2^20.
    """

    def proved(share: float) -> bool:
        found = score_interval(features, ensemble, columns, {name: share * scale for name, scale in scales.items()})
        if len(found.score) == 1:
            return bool(found.low[0] > threshold if found.score[0] > threshold else found.high[0] < threshold)
        best = int(found.score.argmax())
        return bool(found.low[best] > np.delete(found.high, best).max())

    low, high = 0.0, 2.0**-20
    while high <= 2.0**20 and proved(high):
        low, high = high, 2.0 * high
    for _ in range(30 if low < 2.0**20 else 0):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if proved(middle) else (low, middle)
    return low
