"""Score intervals: what a row's score can be when its features move within radii, proved from the matrices.

Let x' be any row whose features are within their radii of x, T and T + E the matrices of x and x' of one member, and Q
an orthonormal basis of the eigenvectors 0 ... k of T, so that Q'TQ = D is diagonal. The range of Q has k + 1
dimensions, so by Courant and Fischer

    lambda_k(T + E) - lambda_k(T) <= lambda_max(Q'EQ + S),    S = D - lambda_k(T), whose diagonal is at most 0.

This is exact to first order (v'Ev), what it loses is the part of the second order that lies above lambda_k, and it is
never more than Weyl's lambda_max(E). E is a sum over groups of curves (``model.reach``), and lambda_max of a sum is at
most the sum of lambda_max: with shares alpha_i >= 0 that add up to 1,

    lambda_max(Q'EQ + S) <= sum over groups i of lambda_max(Q'E_i Q + alpha_i S).

Each summand is convex in E_i, and so is its mean over members: it is largest at a corner of a linear piece, of which
``model.reach`` lists all. So finitely many eigenvalues prove the upper end; the lower is that of -T. Any shares are
sound; those here are in the ratio of ||P E_i v||, P away from v, the size of the second-order part of a group.

In floating point a small matrix' eigenvalue is right to some n eps of its norm, and sums of C matrices to C eps of the
norms: the interval is widened by 64 (C + n) eps times the sum of all norms that took part (times what
``Group.steep`` says of a corner's place), and rounded outwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model.ensemble import SpectralEnsemble
from model.features import FeatureSpace, FloatArray
from model.projected_changes import largest_projected
from model.reach import EPS, MAX_LINES, changes, groups, reach

#: Of the search for a radius: how many proofs are tried, and the shares at which it ends.
_MAX_PROOFS = 16
MAX_SHARE, _LEAST_SHARE = 2.0**20, 2.0**-20
# Below this a double has no full precision: what sums and squares of such numbers lose.
_UNDERFLOW = 1e-130


@dataclass(frozen=True, eq=False)
class ScoreInterval:
    """A proved interval of the scores of one row.

    Attributes:
        score: (O,), of the row itself.
        low, high: (O,), what no score falls below, or exceeds, within the radii.
    """

    score: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class _Moves:
    """What the scores of a row can move by: sums over groups of the largest over each group's points.

    Attributes:
        score: (O,).
        up, down: for each group (P, O), bounds of the members' mean at its points.
        slack: (O,), for rounding.
    """

    score: FloatArray
    up: list[FloatArray]
    down: list[FloatArray]
    slack: FloatArray


def score_interval(
    features: FeatureSpace,
    ensemble: SpectralEnsemble,
    columns: FloatArray,
    radii: Mapping[str, float],
    effort: float = 1.0,
) -> ScoreInterval:
    """The interval of the scores of a row (F,) of columns.

    Args:
        features: the features of the columns.
        ensemble: what scores.
        columns: (F,), as ``FeatureSpace.encode`` gives them.
        radii: by feature, in its own unit (days for a date): a number may be anything within x - r ... x + r. A
            positive radius lets a categorical or boolean feature take any value. What is missing stays missing.
        effort: how many times ``MAX_LINES`` knots of a pair's curves may be within reach for them to be bounded
            together; the work grows with its square, and only where there are so many.

    Raises:
        ValueError: an unknown feature, a radius that is negative or not finite, an effort that is not positive and
            finite.
    """
    found = _moves(features, ensemble, columns, radii, effort)
    high = sum((up.max(axis=0) for up in found.up), found.slack)
    low = sum((down.max(axis=0) for down in found.down), found.slack)
    return ScoreInterval(
        found.score, np.nextafter(found.score - low, -np.inf), np.nextafter(found.score + high, np.inf)
    )


def _moves(
    features: FeatureSpace,
    ensemble: SpectralEnsemble,
    columns: FloatArray,
    radii: Mapping[str, float],
    effort: float,
) -> _Moves:
    if not 0.0 < effort < np.inf:
        raise ValueError(f"effort must be positive and finite; got {effort!r}")
    within = reach(features, columns, radii)
    pencil, k = ensemble.pencil, ensemble.eig_idx
    diag, off_diag = pencil.matrices(pencil.curves.walk(within.row[None]))
    values, vectors = np.linalg.eigh(_dense(diag[0], off_diag[0]))
    unit = 64.0 * (len(pencil.curves.curves) + pencil.dim) * EPS
    slack = unit * (_norms(ensemble, diag, off_diag)[0] + np.abs(ensemble.offset)) + _UNDERFLOW
    moved = []
    for group in groups(pencil.curves.curves, within, max_lines=int(MAX_LINES * effort)):
        own = changes(pencil, within.row, group)
        slack = slack + unit * group.steep * _norms(ensemble, *own).max(axis=0)
        moved.append(own)
    shares = _shares(moved, vectors[:, :, k])
    above, below = np.ascontiguousarray(vectors[:, :, k:]), np.ascontiguousarray(vectors[:, :, : k + 1])
    to_above, to_below = values[:, k:] - values[:, [k]], values[:, : k + 1] - values[:, [k]]
    shape = (-1, ensemble.num_outputs, len(ensemble.member_weights))
    up, down = [], []
    for (own_diag, own_off), share in zip(moved, shares, strict=True):
        rise = largest_projected(own_diag, own_off, below, share[:, None] * to_below, 1.0)
        fall = largest_projected(own_diag, own_off, above, -share[:, None] * to_above, -1.0)
        up.append(rise.reshape(shape) @ ensemble.member_weights)
        down.append(fall.reshape(shape) @ ensemble.member_weights)
    return _Moves(ensemble.scores(within.row[None])[0], up, down, slack)


def _shares(moved: list[tuple[FloatArray, FloatArray]], vectors: FloatArray) -> FloatArray:
    """Of each group and head, (G, H), positive with sum 1."""
    sizes = np.empty((len(moved), len(vectors)))
    for size, (diag, off_diag) in zip(sizes, moved, strict=True):
        image = diag * vectors
        image[..., :-1] += off_diag * vectors[:, 1:]
        image[..., 1:] += off_diag * vectors[:, :-1]
        image -= (image * vectors).sum(axis=2, keepdims=True) * vectors
        size[:] = np.sqrt((image**2).sum(axis=2).max(axis=0))
    total = sizes.sum(axis=0)
    return np.where(total > 0.0, sizes / np.where(total > 0.0, total, 1.0), 1.0 / max(1, len(moved)))


def _dense(diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """(H, n) and (H, n - 1) -> (H, n, n)."""
    n = diag.shape[1]
    full = np.zeros((*diag.shape, n))
    i = np.arange(n)
    full[:, i, i] = diag
    full[:, i[1:], i[:-1]] = full[:, i[:-1], i[1:]] = off_diag
    return full


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
    effort: float = 1.0,
) -> float:
    """A share r such that no row within radii r * scales of the row is on the other side of the threshold.

    One output: the score stays on its side. Several: the class with the largest score stays so (no threshold); then
    what the best class loses and another gains is bounded together. What is proved for r holds for every smaller one,
    whose rows are among those of r. The largest r found by interpolation, until 97% of the way to another decision are
    used or an r 3% larger fails; 0 where none was proved, at most MAX_SHARE.
    """

    def used(share: float) -> float:
        """The share of the distance to another decision that scores can move: less than 1 proves."""
        within = {name: share * scale for name, scale in scales.items()}
        found = _moves(features, ensemble, columns, within, effort)
        if len(found.score) == 1:
            above = found.score[0] > threshold
            most = sum((m.max() for m in (found.down if above else found.up)), start=found.slack[0])
            margin = np.abs(found.score - threshold)
        else:
            best = int(found.score.argmax())
            closer = [up + down[:, [best]] for up, down in zip(found.up, found.down, strict=True)]
            most = np.delete(sum((m.max(axis=0) for m in closer), start=found.slack + found.slack[best]), best)
            margin = np.delete(found.score[best] - found.score, best)
        if not (margin > 0.0).all():
            return np.inf
        return float((most * (1.0 + 8.0 * EPS) / margin).max())

    # What is used grows about like the share to some power: interpolate between the last that proves and the last
    # that does not, and never leave their middle half (of logarithms) for long.
    low, high, share = 0.0, np.inf, 1.0
    used_low, used_high = 0.0, np.inf
    for step in range(_MAX_PROOFS):
        now = used(share)
        if now < 1.0:
            low, used_low = share, now
        else:
            high, used_high = share, now
        if low >= MAX_SHARE or high <= _LEAST_SHARE or high <= 1.03 * low or used_low >= 0.97:
            break
        if low == 0.0:
            share = high * max(0.5 / used_high, 2.0**-6)
        elif np.isinf(high):
            share = min(low * min(1.5 / max(used_low, 1e-6), 2.0**6), MAX_SHARE)
        elif step % 3 == 2 or np.isinf(used_high) or used_low <= 0.0:
            share = np.sqrt(low * high)
        else:
            way = np.log(0.985 / used_low) / np.log(used_high / used_low)
            share = low * (high / low) ** min(max(way, 0.05), 0.95)
    return float(low)
