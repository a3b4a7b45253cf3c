"""Find where along a row's response curves the predicted eigenvalue nearly meets a neighbour.

Between two vertices T(t) = T_a + t D, and the gap of neighbouring eigenvalues has the slope w'Dw - v'Dv, from their
eigenvectors. Two eigenvalues that are near each other and far from others have gap^2 = least^2 + slope^2 (t - t0)^2:
gap times its slope is a straight line in t, whose root, the place of the least gap, the secant finds at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers import EigenResult, eigh_tridiagonal, eigvalsh_tridiagonal
from eigenserve.model.eigensolvers.cpu import solve_eigenpairs_and_gaps
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.predictor import Output, Predictor
from eigenserve.model.rows.baseline import baseline_columns

#: A gap counts as narrow below this share of the mean distance of neighbouring eigenvalues at the first vertex.
NARROW = 0.01
# Steps of the secant, safeguarded by its bracket; the straight line above needs one.
_STEPS = 8
# About the share of the line that is left: the gap is flat at its least, so that this costs little of it.
_SETTLED = 1e-4
_CHUNK_ROWS = 64
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Crossing:
    """Mark a place where a gap has a local minimum below ``NARROW``.

    Attributes:
        value: of the feature that moves.
        gap: of the two eigenvalues there, in units of the score.
        member: which member's eigenvalue it is.
    """

    value: float
    gap: float
    member: int


def find_crossings(
    predictor: Predictor,
    output: Output,
    columns: FloatArray,
    owner: NDArray[np.int64],
    values: FloatArray,
) -> Mapping[int, list[Crossing]]:
    """Find crossings along curves, by feature.

    Args:
        predictor: what scores.
        output: the one whose members' eigenvalues are followed.
        columns: (P, F), the vertices; knots that are none are taken for straight when gaps' slopes are found.
        owner: (P,), ascending: which feature moves; and ``values`` (P,), ascending within each: its value there.
    """
    ensemble, features = predictor.ensemble, predictor.features
    dim = ensemble.pencil.dim
    if dim == 1 or len(columns) < 2:
        return {}
    heads = ensemble.heads(output.index)
    coordinates = features.coordinates(columns)
    diag, off_diag = (np.ascontiguousarray(part[:, heads]) for part in ensemble.pencil.at(coordinates))
    # In units in which no product overflows; a power of two, so that nothing is rounded.
    unit = 0.5 ** np.frexp(max(np.abs(diag).max(), np.abs(off_diag).max(), _TINY))[1]
    diag, off_diag = unit * diag, unit * off_diag
    gaps = _gaps(diag, off_diag, ensemble.eig_idx)
    lowest, highest = (eigvalsh_tridiagonal(diag[0], off_diag[0], eig_idx=k) for k in (0, dim - 1))
    narrow = NARROW * (highest - lowest) / (dim - 1)
    start = np.flatnonzero(owner[1:] == owner[:-1])
    # The gap changes by at most the spread of D's eigenvalues, which Gershgorin's discs hold.
    steps = diag[start + 1] - diag[start], off_diag[start + 1] - off_diag[start]
    reach = np.zeros(steps[0].shape)
    reach[..., 1:] += np.abs(steps[1])
    reach[..., :-1] += np.abs(steps[1])
    rate = (steps[0] + reach).max(axis=2) - (steps[0] - reach).min(axis=2)
    # Gaps are known to one part in 128.
    interval, member = np.nonzero(0.5 * (0.99 * (gaps[start] + gaps[start + 1]) - rate) < narrow)
    spread = [eigvalsh_tridiagonal(*(step[interval, member] for step in steps), eig_idx=k) for k in (dim - 1, 0)]
    near = 0.5 * (0.99 * (gaps[start[interval], member] + gaps[start[interval] + 1, member]) - np.subtract(*spread))
    interval, member = (part[near < narrow[member]] for part in (interval, member))
    first = start[interval]
    line = _Line(
        ensemble,
        unit,
        heads,
        member,
        coordinates[first],
        coordinates[first + 1],
        *(step[interval, member] for step in steps),
    )
    at_ends = line.gaps_at_ends(diag, off_diag, first)
    found: dict[int, list[Crossing]] = {}
    for which, t, gap in line.minima(first, narrow[member], *at_ends):
        moved, least = owner[first[which]], line.places(which, t)
        for place, i, g, m in zip(least, moved.tolist(), gap, member[which], strict=True):
            value = float(features.features[i].value(place[[i]])[0])
            found.setdefault(i, []).append(Crossing(value, float(g / unit), int(m)))
    return {i: sorted(crossings, key=lambda crossing: crossing.value) for i, crossings in found.items()}


def _gaps(diag: FloatArray, off_diag: FloatArray, eig_idx: int) -> FloatArray:
    """Measure gaps (P, G), to one part in 128."""
    count, members, n = diag.shape
    gaps = np.empty((count, members))

    def work(i: int, j: int) -> None:
        values, vectors = np.empty((j - i) * members), np.empty(((j - i) * members, n))
        d, e = diag[i:j].reshape(-1, n), off_diag[i:j].reshape(-1, n - 1)
        solve_eigenpairs_and_gaps(d, e, eig_idx, values, vectors, gaps[i:j].reshape(-1))

    for_ranges(count, _CHUNK_ROWS, work)
    return gaps


@dataclass(frozen=True)
class _Line:
    """Hold C lines z_a + t (z_b - z_a), t in [0, 1], the members looked at, and T(z_b) - T(z_a) of these."""

    ensemble: SpectralEnsemble
    unit: float
    heads: slice
    member: NDArray[np.int64]
    start: FloatArray
    stop: FloatArray
    diag_step: FloatArray
    off_diag_step: FloatArray

    def places(self, which: NDArray[np.int64], t: FloatArray) -> FloatArray:
        """Return coordinates (M, F)."""
        # What stays must stay even if it is missing.
        return np.where(
            self.start[which] == self.stop[which],
            self.start[which],
            self.start[which] + t[:, None] * (self.stop[which] - self.start[which]),
        )

    def matrices(self, which: NDArray[np.int64], t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return T of the members, (M, n) and (M, n - 1)."""
        pencil, own = self.ensemble.pencil, (np.arange(len(t)), self.heads.start + self.member[which])
        diag, off_diag = pencil.at(self.places(which, t))
        return self.unit * diag[own], self.unit * off_diag[own]

    def gaps(self, which: NDArray[np.int64], t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return T's gaps to the neighbours below and above, and their slopes along the lines: (M, 2) each."""
        found = self._solve(*self.matrices(which, t))
        return np.diff(found.eigenvalues, axis=1), self._slopes(which, found.eigenvectors)

    def gaps_at_ends(
        self, diag: FloatArray, off_diag: FloatArray, first: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Return what ``gaps`` does, at both ends of all lines, (2, C, 2): the vertices ``first`` and those after."""
        members = diag.shape[1]
        ends = np.stack([first, first + 1]) * members + self.member
        known, place = np.unique(ends, return_inverse=True)
        found = self._solve(diag[known // members, known % members], off_diag[known // members, known % members])
        gaps, place = np.diff(found.eigenvalues, axis=1), place.reshape(2, -1)
        every = np.arange(len(first))
        return gaps[place], np.stack([self._slopes(every, found.eigenvectors[own]) for own in place])

    def _solve(self, diag: FloatArray, off_diag: FloatArray) -> EigenResult:
        return eigh_tridiagonal(diag, off_diag, eig_idx=self.ensemble.eig_idx, window=1)

    def _slopes(self, which: NDArray[np.int64], v: FloatArray) -> FloatArray:
        d, e = self.diag_step[which], self.off_diag_step[which]
        slopes = (v * v @ d[..., None] + 2.0 * (v[..., 1:] * v[..., :-1]) @ e[..., None])[..., 0]
        return np.diff(slopes, axis=1)

    def minima(
        self, first: NDArray[np.int64], narrow: FloatArray, gaps: FloatArray, slopes: FloatArray
    ) -> Iterator[tuple[NDArray[np.int64], FloatArray, FloatArray]]:
        """Yield which lines have a minimum below ``narrow`` (C,), where (t), and how much: for either neighbour.

        ``first`` (C,) numbers the lines' first vertices: of the same member, one begins where the one before ends.
        ``gaps`` and ``slopes`` (2, C, 2) are those at both ends.
        """
        members = self.ensemble.pencil.num_heads
        own = first * members + self.member
        place = np.minimum(np.searchsorted(own, own + members), len(own) - 1)
        following = np.where(own[place] == own + members, place, -1) if len(own) else place
        exists = np.isfinite(gaps[0])
        inside, side = np.nonzero(exists & (slopes[0] < 0.0) & (slopes[1] > 0.0))
        gap, slope = gaps[:, inside, side], slopes[:, inside, side]
        # The hyperbola, seen from either end, shows about how narrow it gets.
        f = gap * slope
        near = (gap**2 - f**2 / np.maximum(f[1] - f[0], _TINY)).min(axis=0) < (2.0 * narrow[inside]) ** 2
        inside, side = inside[near], side[near]
        t, least = self._least(inside, side, gap[:, near], slope[:, near])
        low = least < narrow[inside]
        yield inside[low], t[low], least[low]
        # At a knot the slope jumps: there a minimum may lie between two lines.
        knot = exists & (slopes[1] < 0.0) & (following >= 0)[:, None] & (gaps[1] < narrow[:, None])
        at, side = np.nonzero(knot & (slopes[0, following] >= 0.0))
        yield at, np.ones(len(at)), gaps[1, at, side]

    def _least(
        self, which: NDArray[np.int64], side: NDArray[np.int64], gap: FloatArray, slope: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Find where gap times slope changes its sign, and the least gap met on the way, from both ends (2, M)."""
        a, b = np.zeros(len(which)), np.ones(len(which))
        at_a, at_b = gap * slope
        least, best = gap.min(axis=0), gap.argmin(axis=0).astype(float)
        moving, rise = np.arange(len(which)), at_b - at_a
        for _ in range(_STEPS):
            t = np.clip(a - at_a * (b - a) / np.maximum(at_b - at_a, _TINY), a, b)[moving]
            if not len(t):
                break
            gaps, slopes = (part[np.arange(len(t)), side[moving]] for part in self.gaps(which[moving], t))
            shrinks = gaps < least[moving]
            best[moving[shrinks]], least[moving[shrinks]] = t[shrinks], gaps[shrinks]
            falls, f = slopes < 0.0, gaps * slopes
            # The end that stays counts half (Illinois), so that both ends come near; neither is ever zero.
            at_a[moving] = np.where(falls, np.minimum(f, -_TINY), 0.5 * at_a[moving])
            at_b[moving] = np.where(falls, 0.5 * at_b[moving], np.maximum(f, _TINY))
            a[moving], b[moving] = np.where(falls, t, a[moving]), np.where(falls, b[moving], t)
            moving = moving[(np.abs(f) > _SETTLED * rise[moving]) & ((b - a)[moving] > _SETTLED)]
        return best, least


def narrow_gap(predictor: Predictor) -> float:
    """Return the gap below which a row's explanation counts as unstable, in units of the score; 0 for dim 1.

    It is the share ``NARROW`` of the least mean distance of neighbouring eigenvalues over the members, at the typical
    row: what counts as a narrow place there, but one number for all rows, so that the check costs nothing.
    """
    dim = predictor.ensemble.pencil.dim
    if dim == 1:
        return 0.0
    diag, off_diag = predictor.matrices(baseline_columns(predictor.features)[None])
    lowest, highest = (eigvalsh_tridiagonal(diag[0], off_diag[0], eig_idx=k) for k in (0, dim - 1))
    return float(NARROW * np.min(highest - lowest) / (dim - 1))
