"""Prove, from the matrices, what a row's score can be when its features move within radii.

Let x' be any row whose features are within their radii of x, T and T + E the matrices of x and x' of one member, and Q
an orthonormal basis of the eigenvectors 0 ... k of T, so that Q'TQ = D is diagonal. The range of Q has k + 1
dimensions, so by Courant and Fischer

    lambda_k(T + E) - lambda_k(T) <= lambda_max(Q'EQ + S),    S = D - lambda_k(T), whose diagonal is at most 0.

This is exact to first order (v'Ev), what it loses is the part of the second order that lies above lambda_k, and it is
never more than Weyl's lambda_max(E). E is a sum over groups of curves (``model.certificates.reach``), and lambda_max
of a sum is at most the sum of lambda_max: with shares alpha_i >= 0 that add up to 1,

    lambda_max(Q'EQ + S) <= sum over groups i of lambda_max(Q'E_i Q + alpha_i S).

Each summand is convex in E_i, and so is its mean over members: it is largest at a corner of a linear piece, of which
``model.certificates.reach`` lists all. So finitely many eigenvalues prove the upper end; the lower is that of -T. Any
shares are sound; those here are in the ratio of ||P E_i v||, P away from v, the size of the second-order part of a
group.

In floating point a small matrix' eigenvalue is right to some n eps of its norm, and sums of C matrices to C eps of the
norms: the interval is widened by 64 (C + n) eps times the sum of all norms that took part (times what
``Group.steep`` says of a corner's place), and rounded outwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.projected_changes import largest_projected
from eigenserve.model.certificates.reach import EPS, MAX_LINES, changes, groups, reach
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.tridiagonal import dense, norm_bound, times
from eigenserve.model.predictor import Predictor

# Below this a double has no full precision: what sums and squares of such numbers lose.
_UNDERFLOW = 1e-130


@dataclass(frozen=True, eq=False)
class ScoreInterval:
    """Hold a proved interval of the scores of one row.

    Attributes:
        score: (O,), of the row itself.
        low, high: (O,), what no score falls below, or exceeds, within the radii.
    """

    score: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class ScoreMoves:
    """Bound what the scores of a row can move by: sums over groups of the largest over each group's points.

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
    predictor: Predictor,
    columns: FloatArray,
    radii: Mapping[str, float],
    effort: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> ScoreInterval:
    """Prove the interval of the scores of a row (F,) of columns.

    Args:
        predictor: what scores.
        columns: (F,), as ``FeatureSpace.encode`` gives them.
        radii: by feature, in its own unit (days for a date): a number may be anything within x - r ... x + r. A
            positive radius lets a categorical or boolean feature take any value. What is missing stays missing.
        effort: how many times ``MAX_LINES`` knots of a pair's curves may be within reach for them to be bounded
            together; the work grows with its square, and only where there are so many.
        check: called before every group of curves; it may raise, to give up.

    Raises:
        ValueError: an unknown feature, a radius that is negative or not finite, an effort that is not positive and
            finite.
    """
    found = score_moves(predictor, columns, radii, effort, check)
    high = sum((up.max(axis=0) for up in found.up), found.slack)
    low = sum((down.max(axis=0) for down in found.down), found.slack)
    return ScoreInterval(
        found.score, np.nextafter(found.score - low, -np.inf), np.nextafter(found.score + high, np.inf)
    )


def score_moves(
    predictor: Predictor,
    columns: FloatArray,
    radii: Mapping[str, float],
    effort: float,
    check: Callable[[], None] = lambda: None,
) -> ScoreMoves:
    """Bound what scores can move by within radii; arguments and errors as of ``score_interval``."""
    if not 0.0 < effort < np.inf:
        raise ValueError(f"effort must be positive and finite; got {effort!r}")
    within = reach(predictor.features, columns, radii)
    ensemble = predictor.ensemble
    pencil, k = ensemble.pencil, ensemble.eig_idx
    diag, off_diag = pencil.at(within.row[None])
    values, vectors = np.linalg.eigh(dense(diag[0], off_diag[0]))
    unit = 64.0 * (len(pencil.curves.curves) + pencil.dim) * EPS
    slack = unit * (_norms(ensemble, diag, off_diag)[0] + np.abs(ensemble.offset)) + _UNDERFLOW
    moved = []
    for group in groups(pencil.curves.curves, within, max_lines=int(MAX_LINES * effort)):
        check()
        own = changes(pencil, within.row, group)
        slack = slack + unit * group.steep * _norms(ensemble, *own).max(axis=0)
        moved.append(own)
    shares = _shares(moved, vectors[:, :, k])
    above, below = np.ascontiguousarray(vectors[:, :, k:]), np.ascontiguousarray(vectors[:, :, : k + 1])
    to_above, to_below = values[:, k:] - values[:, [k]], values[:, : k + 1] - values[:, [k]]
    shape = (-1, ensemble.num_outputs, len(ensemble.member_weights))
    up, down = [], []
    for (own_diag, own_off), share in zip(moved, shares, strict=True):
        check()
        rise = largest_projected(own_diag, own_off, below, share[:, None] * to_below, 1.0)
        fall = largest_projected(own_diag, own_off, above, -share[:, None] * to_above, -1.0)
        up.append(rise.reshape(shape) @ ensemble.member_weights)
        down.append(fall.reshape(shape) @ ensemble.member_weights)
    return ScoreMoves(ensemble.scores(within.row[None])[0], up, down, slack)


def _shares(moved: list[tuple[FloatArray, FloatArray]], vectors: FloatArray) -> FloatArray:
    """Return each group's and head's share, (G, H), positive with sum 1."""
    sizes = np.empty((len(moved), len(vectors)))
    for size, (diag, off_diag) in zip(sizes, moved, strict=True):
        image = times(diag, off_diag, vectors)
        image -= (image * vectors).sum(axis=2, keepdims=True) * vectors
        size[:] = np.sqrt((image**2).sum(axis=2).max(axis=0))
    total = sizes.sum(axis=0)
    return np.where(total > 0.0, sizes / np.where(total > 0.0, total, 1.0), 1.0 / max(1, len(moved)))


def _norms(ensemble: SpectralEnsemble, diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """Return the members' mean of a bound of the norm, (P, O)."""
    return norm_bound(diag, off_diag).reshape(len(diag), ensemble.num_outputs, -1) @ ensemble.member_weights
