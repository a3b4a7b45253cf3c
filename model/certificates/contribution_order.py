"""Prove, from the matrices, that inequalities between a row's contributions hold for all rows within radii.

Contributions are c_t = sum over members h of w_h times the mean over s in [0, 1] of v(s)'M_t v(s), with v(s) the
eigenvector of A + sD, D = T(x) - A, M_t the term's matrix less the reference's mean (method ``integrated``); or with
s = 1 alone (method ``eigenvector``). A claim z says that sum_t z_t c_t > 0: with G = sum_t z_t M_t, a mean of v'Gv.

Let x' be a row within the radii, E = T(x') - T(x), and cut [0, 1] into cells. In one of width h and midpoint m the
matrix of x' is T + F with T = A + mD and F = (s - m)(D + E) + mE. Let (lambda, v) be T's eigenpair, w that of T + F,
P = 1 - vv', R the inverse of T - lambda away from v, S(.) the largest less the smallest eigenvalue, w = (v + y) /
|v + y| with y orthogonal to v. Adding a multiple of 1 to F changes neither v nor w: take F - v'Fv. Then

    y = y1 - R(PFPy - dy),  y1 = -RPFv,  d = v'Fy,  and  w'Gw - v'Gv - 2v'Gy = y'Gy - |y|^2 w'Gw,

so that w'Gw is v'Gv - 2a'Fv with a = RPGv, to within 2|a|(S(F) + |PFv||y|)|y| + S(G)|y|^2. The part of F that is odd
in s - m drops out of the mean over the cell; the rest, -2m a'Ev, and v'Ev of the claim's own terms, are linear in E:
summed over cells and members they are one linear function of the row's matrices, which on each group of curves is least
at one of the corners that ``model.certificates.reach`` lists. So to first order the bound is exact; what it loses is of
second order. |y| = tan theta: by the sin 2 theta theorem (Davis and Kahan 1970, see ``model.certificates.stability``)
sin 2 theta <= S(F) / gap where that is below 1, and sin theta <= |PFv| / (gap - S(F)). A cell for which this proves
less than the eigenvalues of G alone, near a crossing of levels, counts with those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import EPS, Group, Reach, changes, groups, reach
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal
from eigenserve.model.matrices.tridiagonal import dense, norm_bound, times
from eigenserve.model.predictor import Predictor

#: Shares of the radii that are tried, down to a thousandth: every second one is half of the one two before.
LADDER = 2.0 ** (-0.5 * np.arange(21))
#: Cells of a line at first, and the shortest. A cell is halved while what its own width loses is more than LOSS of the
#: row's largest contribution: all cells together then lose at most that, but for those at near-crossings.
FIRST_CELLS, SHORTEST, LOSS = 16, 2.0**-11, 0.003


class _Cells(NamedTuple):
    """C cells: their head, midpoint and width, and what the matrices in their midst say of K claims.

    ``forms`` v'Gv (C, K), ``steps`` a (C, K, n), ``apart`` the largest of |lambda_max(G) - v'Gv| and the other end's
    (C, K), ``vector`` v (C, n), ``gap`` (C,), ``slope`` |PDv| (C,).
    """

    head: NDArray[np.int64]
    middle: FloatArray
    width: FloatArray
    forms: FloatArray
    steps: FloatArray
    apart: FloatArray
    vector: FloatArray
    gap: FloatArray
    slope: FloatArray


class OrderProof:
    """Prove claims on the contributions of one row.

    Args:
        predictor: what is explained.
        columns: (F,), the row, as ``FeatureSpace.encode`` gives it.
        weights: (H,), of the heads in what is explained: signed, their sizes with sum 1.
        claims: (K, T), each a combination of contributions that is to be positive.
        margins: (K,), by how much.
        scale: the row's largest contribution.
        means: every term's mean matrix in the reference of integrated contributions, (T, H, n) and (T, H, n - 1); None
            for the eigenvector method.
        check: called between parts of the work; it may raise, to give up.
    """

    def __init__(
        self,
        predictor: Predictor,
        columns: FloatArray,
        weights: FloatArray,
        claims: FloatArray,
        margins: FloatArray,
        scale: float,
        means: tuple[FloatArray, FloatArray] | None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.features, self.columns, self.check = predictor.features, columns, check
        self.pencil, self.eig_idx = predictor.ensemble.pencil, predictor.ensemble.eig_idx
        self.used = np.flatnonzero(weights)
        self.weights, self.claims, self.margins, self.scale = weights[self.used], claims, margins, scale
        row = self.features.coordinates(columns[None])[0]
        diag, off_diag = self.pencil.terms_at(row)
        ends = self.pencil.constant_diag + diag.sum(axis=0), self.pencil.constant_off_diag + off_diag.sum(axis=0)
        starts = ends
        if means is not None:
            diag, off_diag = diag - means[0], off_diag - means[1]
            starts = ends[0] - diag.sum(axis=0), ends[1] - off_diag.sum(axis=0)
        self.start = starts[0][self.used], starts[1][self.used]
        self.change = ends[0][self.used] - self.start[0], ends[1][self.used] - self.start[1]
        # (K, H, n) and (K, H, n - 1): G of each claim.
        self.given = (
            np.tensordot(claims, diag[:, self.used], axes=1),
            np.tensordot(claims, off_diag[:, self.used], axes=1),
        )
        self.lowest, self.highest = _eigenvalues(*self.given, 0), _eigenvalues(*self.given, -1)
        self.spread = _spread(*self.change)
        # An eigenvalue is right to 8 eps of the norm, a vector's residual to 32, sums of C matrices to C.
        self.unit = 64.0 * (len(self.pencil.curves.curves) + self.pencil.dim) * EPS
        self.norms = norm_bound(*self.start) + norm_bound(*self.change)
        self.cells = self._cells(means is not None)

    def share(self, radii: Mapping[str, float]) -> float:
        """Return the largest share of ``LADDER`` of the radii within which all claims are proved; 0 where none is."""
        if ((self.weights[self.cells.head] * self.cells.width) @ self.cells.forms <= self.margins).any():
            return 0.0
        return largest_share(lambda share: self.holds({name: share * radius for name, radius in radii.items()}))

    def holds(self, radii: Mapping[str, float]) -> bool:
        """Return whether all claims are proved for all rows within the radii (see ``score_interval``)."""
        return bool((self.least(radii) > self.margins).all())

    def least(self, radii: Mapping[str, float]) -> FloatArray:
        """Return what the sums of claims (K,) are proved to be at least, for all rows within the radii."""
        within = reach(self.features, self.columns, radii)
        parts = self._corners(within)
        spread, by_claim, norms = self._sizes(parts)
        cells, heads = self.cells, self.cells.head
        weights = self.weights[heads] * cells.width
        lost, sure = self._lost(cells, spread, by_claim, self.unit * (self.norms + norms))
        outer = _forms(cells.vector, cells.vector)
        along = np.zeros((len(self.used), outer.shape[-1]))
        np.add.at(along, heads, weights[:, None] * outer)
        steps = np.where(sure[:, :, None], cells.steps, 0.0)
        across = np.zeros((len(self.used), len(self.claims), outer.shape[-1]))
        np.add.at(
            across, heads, (2.0 * cells.middle * weights)[:, None, None] * _forms(steps, cells.vector[:, None, :])
        )
        least = weights @ cells.forms - np.abs(weights) @ lost
        for group in parts:
            moved = np.zeros((1, len(self.claims)))
            for t, (diag, off_diag) in group.items():
                flat = np.concatenate([diag, off_diag], axis=2)
                own = np.einsum("phi,hi->p", flat, along)
                moved = moved + own[:, None] * self.claims[:, t] - np.einsum("phi,hki->pk", flat, across)
            least += moved.min(axis=0)
        rounding = (
            self.unit
            * np.abs(self.weights)
            @ (norm_bound(*self.given).T + norms[:, None] * np.abs(self.claims).sum(axis=1))
        )
        return np.asarray(least - rounding)

    def _corners(self, within: Reach) -> list[dict[int, tuple[FloatArray, FloatArray]]]:
        """Return for each group of curves, by term, its part of E at the group's corners: (P, H, n), (P, H, n - 1)."""
        curves, parts = self.pencil.curves.curves, []
        self.steep = 1.0
        for group in groups(curves, within):
            self.check()
            self.steep = max(self.steep, group.steep)
            terms = sorted({curves[c].term for c in group.curves})
            own = {}
            for t in terms:
                chosen = tuple(c for c in group.curves if curves[c].term == t)
                diag, off_diag = changes(self.pencil, within.row, Group(chosen, group.points, group.steep))
                own[t] = diag[:, self.used], off_diag[:, self.used]
            parts.append(own)
        return parts

    def _sizes(
        self, parts: list[dict[int, tuple[FloatArray, FloatArray]]]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Bound S(E) (H,), S of each claim's own part of E (H, K), and the norm by which both round (H,)."""
        spread, norms = np.zeros(len(self.used)), np.zeros(len(self.used))
        by_claim = np.zeros((len(self.used), len(self.claims)))
        for group in parts:
            diag = sum((own[0] for own in group.values()), np.zeros(1))
            off_diag = sum((own[1] for own in group.values()), np.zeros(1))
            spread += _spread(diag, off_diag).max(axis=0)
            for t, own in group.items():
                norms += self.steep * norm_bound(*own).max(axis=0)
                by_claim += _spread(*own).max(axis=0)[:, None] * np.abs(self.claims[:, t])
        return spread, by_claim, norms

    def _lost(
        self, cells: _Cells, spread: FloatArray, by_claim: FloatArray, rounding: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Bound by how much each cell's means miss the linear function (C, K), and say where its steps count (C, K)."""
        heads, half, middle = cells.head, 0.5 * cells.width, cells.middle
        e, own, slack = spread[heads], by_claim[heads], rounding[heads]
        turned = half * (self.spread[heads] + e) + middle * e + 2.0 * slack
        residual = half * (cells.slope + 0.5 * e) + middle * 0.5 * e + slack
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = turned / cells.gap
            safe = ratio < 1.0
            sine = np.minimum(
                np.sin(0.5 * np.arcsin(np.where(safe, ratio, 0.0))), residual / np.where(safe, cells.gap - turned, 1.0)
            )
            safe &= sine < 1.0
            sine = np.where(safe, sine, 0.0)
            y = sine / np.sqrt(1.0 - sine**2)
            second = (turned + residual * y) * y
            length = np.linalg.norm(cells.steps, axis=2)
            wide = (self.highest - self.lowest).T[heads]
            lost = 2.0 * length * (second + slack)[:, None] + wide * (y**2)[:, None]
            lost += own * np.minimum(sine, middle * 0.5 * e / cells.gap + second / cells.gap + y**2)[:, None]
            trivial = cells.apart + own
            sure = safe[:, None] & (lost + length * (middle * e)[:, None] < trivial)
        return np.where(sure, lost, trivial), sure

    def _cells(self, path: bool) -> _Cells:
        """Cut the lines into cells, ever shorter ones where they lose much."""
        count = len(self.used)
        if not path:
            return self._solved(np.arange(count), np.ones(count), np.zeros(count))._replace(width=np.ones(count))
        heads = np.repeat(np.arange(count), FIRST_CELLS)
        width = np.full(len(heads), 1.0 / FIRST_CELLS)
        middle = np.tile((np.arange(FIRST_CELLS) + 0.5) / FIRST_CELLS, count)
        still, rounding = np.zeros(count), self.unit * self.norms
        kept = []
        while len(heads):
            self.check()
            cells = self._solved(heads, middle, width)
            lost, _ = self._lost(cells, still, np.zeros((count, len(self.claims))), rounding)
            split = (lost.max(axis=1) > LOSS * self.scale) & (width > SHORTEST)
            kept.append([part[~split] for part in cells])
            heads, width = np.repeat(heads[split], 2), np.repeat(0.5 * width[split], 2)
            middle = np.repeat(middle[split], 2) + 0.5 * width * np.tile([-1.0, 1.0], int(split.sum()))
        return _Cells(*(np.concatenate(part) for part in zip(*kept, strict=True)))

    def _solved(self, heads: NDArray[np.int64], middle: FloatArray, width: FloatArray) -> _Cells:
        change = self.change[0][heads], self.change[1][heads]
        at = self.start[0][heads] + middle[:, None] * change[0], self.start[1][heads] + middle[:, None] * change[1]
        values, vectors = np.linalg.eigh(dense(*at))
        k = self.eig_idx
        v = vectors[:, :, k]
        away = values - values[:, [k]]
        away[:, k] = np.inf
        slope = times(*change, v)
        slope -= (slope * v).sum(axis=1, keepdims=True) * v
        diag, off_diag = self.given[0][:, heads].swapaxes(0, 1), self.given[1][:, heads].swapaxes(0, 1)
        image = times(diag, off_diag, np.repeat(v[:, None, :], len(self.claims), axis=1))
        forms = np.einsum("ckn,cn->ck", image, v)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.einsum("ckn,cnj->ckj", image, vectors) / away[:, None, :]
            steps = np.einsum("ckj,cnj->ckn", steps, vectors)
        steps = np.where(np.isfinite(steps), steps, np.inf)
        apart = np.maximum(self.highest.T[heads] - forms, forms - self.lowest.T[heads])
        gap = np.abs(away).min(axis=1)
        return _Cells(heads, middle, width, forms, steps, apart, v, gap, np.linalg.norm(slope, axis=1))


def largest_share(holds: Callable[[float], bool]) -> float:
    """Return the largest share of ``LADDER`` that holds, given that smaller ones then do; 0 where none does."""
    if holds(float(LADDER[0])):
        return float(LADDER[0])
    first, last = 1, len(LADDER)
    while first < last:
        at = (first + last) // 2
        if holds(float(LADDER[at])):
            last = at
        else:
            first = at + 1
    return float(LADDER[last]) if last < len(LADDER) else 0.0


def _forms(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return what gives l'Er of a symmetric tridiagonal E as a sum over its entries: (..., 2n - 1)."""
    off = left[..., :-1] * right[..., 1:] + left[..., 1:] * right[..., :-1]
    return np.concatenate([left * right, off], axis=-1)


def _eigenvalues(diag: FloatArray, off_diag: FloatArray, end: int) -> FloatArray:
    return np.asarray(eigvalsh_tridiagonal(diag, off_diag, eig_idx=range(diag.shape[-1])[end]))


def _spread(diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """Return S: the largest less the smallest eigenvalue, (...)."""
    return _eigenvalues(diag, off_diag, -1) - _eigenvalues(diag, off_diag, 0)
