"""Make levels: the curves of single features in several resolutions, of which the search takes what proves itself.

The knots of a finer curve hold those of the coarser ones, so that a coarse curve is a fine one exactly: members of all
levels lie on the finest, and a search can go on from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.training.curves.basis import CurveBasis, ramp_basis
from eigenserve.training.curves.knots import choose_knots, main_knots
from eigenserve.training.kernels.layout import RAMPS

#: Knots of each level, in multiples of the usual number; the first is there for curves without spikes. Measured out of
#: fold: of eight tables three were best at the first, three at the second and two at the third.
FACTORS = (1, 3, 8)
#: Rows that there must be for each knot (concrete, 824 rows: 64 knots still gain).
ROWS_PER_KNOT = 12
#: A level must have this many times the knots of the one below it.
LEAST_FACTOR = 1.3
#: Places of rows on curves of more than the first level, at most: 8 bytes each.
MAX_PLACES = 30_000_000


@dataclass(frozen=True)
class Levels:
    """Say which curves a level uses, and which of them are finer forms of others.

    Attributes:
        first, last: (C,), the levels from and to which a curve is in use.
        base_of: (C,), position of the coarsest form of the same curve, its own for most.
        count: how many levels there are.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    base_of: NDArray[np.int64]
    count: int

    def used(self, level: int) -> NDArray[np.bool_]:
        """Return (C,): whether a curve is in use at this level."""
        return (self.first <= level) & (level <= self.last)


def one_level(curves: int) -> Levels:
    """Make the levels of curves that have one form each."""
    return Levels(np.zeros(curves, np.int64), np.zeros(curves, np.int64), np.arange(curves), 1)


def with_finer_curves(
    bases: Sequence[CurveBasis], coordinates: FloatArray, main: int, spikes: bool = True
) -> tuple[list[CurveBasis], Levels]:
    """Add to all curves finer forms of the first ``main`` of them where rows and values allow.

    Curves that must keep a shape stay as they are.

    Args:
        bases: all curves of the first level.
        coordinates: (N, F), the training rows.
        main: how many of them are of single features and may have finer forms.
        spikes: whether they have a knot on each frequent level already.
    """
    rows = len(coordinates)
    every = list(bases)
    factors = FACTORS[1:] if spikes else FACTORS
    first, last = [0] * len(every), [len(factors)] * len(every)
    base_of = list(range(len(every)))
    for c, basis in enumerate(bases[:main]):
        coarser = c
        for level, factor in enumerate(factors, 1):
            count = factor * main_knots(rows)
            full = (len(every) - len(bases) + 1) * rows > MAX_PLACES
            if basis.form != RAMPS or (factor > 1 and count * ROWS_PER_KNOT > rows) or full:
                break
            before = np.array(every[coarser].curve.knots)
            knots = np.union1d(before, choose_knots(coordinates[:, basis.curve.numeric[0]], count))
            if len(knots) < LEAST_FACTOR * len(before):
                continue
            last[coarser] = level - 1
            coarser = len(every)
            every.append(ramp_basis(replace(basis.curve, knots=tuple(knots.tolist()))))
            first.append(level)
            last.append(len(factors))
            base_of.append(c)
    count = max(first) + 1
    return every, Levels(np.array(first), np.minimum(last, count - 1), np.array(base_of), count)


def finer_coefficients(coarse: CurveBasis, fine: CurveBasis, coefficients: FloatArray) -> FloatArray:
    """Parameters (P, ...) of a line and ramps -> those (P', ...) of the same path with more knots."""
    old, new = np.array(coarse.curve.knots), np.array(fine.curve.knots)
    step = np.clip(np.searchsorted(old, new[:-1], side="right") - 1, 0, len(old) - 2)
    share = np.diff(new) / np.diff(old)[step]
    ramps = coefficients[1 : len(old)][step] * share.reshape(-1, *(1 for _ in coefficients.shape[1:]))
    return np.concatenate([coefficients[:1], ramps, coefficients[len(old) :]])


def interpolation(coarse: CurveBasis, fine: CurveBasis) -> FloatArray:
    """Return (R', R): matrices of the finer form from those of the coarser one, the one for "missing" included."""
    old, new = np.array(coarse.curve.knots), np.array(fine.curve.knots)
    at = np.clip(np.searchsorted(old, new, side="right") - 1, 0, len(old) - 2)
    weight = (new - old[at]) / (old[at + 1] - old[at])
    matrix = np.zeros((fine.curve.num_matrices, coarse.curve.num_matrices))
    matrix[np.arange(len(new)), at] = 1.0 - weight
    matrix[np.arange(len(new)), at + 1] += weight
    if coarse.curve.missing:
        matrix[-1, -1] = 1.0
    return matrix
