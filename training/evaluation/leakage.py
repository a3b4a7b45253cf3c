"""Measure how much of a target one column explains all alone: what a leak gives away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Neighbours on either side whose mean predicts a row. More would blur a steep effect, fewer let noise through.
REACH = 2
#: Where a value occurs in this many rows on average, those rows predict each other.
ROWS_PER_LEVEL = 10


def explained_alone(column: FloatArray, target: FloatArray, num_classes: int, rng: np.random.Generator) -> float:
    """Measure the target's variance that rows with equal or similar values predict: at most 1, below 0 for none.

    Whatever the form of an effect, it is found: a row is predicted by the mean of the others that have its value
    where values repeat, else by that of its four neighbours when sorted by the column. No row takes part in its
    own prediction. A noisy column gets less than its due (a quarter of the noise is added, with four
    neighbours), which does not matter near 1.

    Args:
        column: (N,) numbers or codes of categories; NaN is a value like others.
        target: (N,) numbers, or class codes.
        num_classes: 0 for numbers; the variance is then that of the indicators of all classes.
        rng: shuffles the rows that have equal values.
    """
    spread = _indicators_spread(target) if num_classes else float(target.var())
    if len(column) <= 4 * REACH or spread == 0:
        return 0.0
    levels, level = np.unique(column, return_inverse=True)
    if len(levels) * ROWS_PER_LEVEL <= len(column):
        squares = _class_misses_of_levels(level, target) if num_classes else _misses_of_levels(level, target)
    else:
        shuffled = rng.permutation(len(level))
        ordered = target[shuffled[np.argsort(level[shuffled], kind="stable")]]
        squares = _class_misses_of_neighbours(ordered) if num_classes else _misses_of_neighbours(ordered)
    return 1.0 - float(squares.mean()) / spread


def _misses_of_levels(level: NDArray[np.int64], target: FloatArray) -> FloatArray:
    """Return (N,) squared misses of numbers by the mean of the other rows of their level; of all rows where none is."""
    others = np.bincount(level)[level] - 1
    sums = np.bincount(level, target)[level] - target
    mean = np.where(others > 0, sums / np.maximum(others, 1), target.mean())
    return np.asarray((target - mean) ** 2)


def _misses_of_neighbours(ordered: FloatArray) -> FloatArray:
    """Return squared misses of numbers by the mean of their neighbours, without the first and last rows."""
    around = _neighbours(ordered)
    return np.asarray((ordered[REACH:-REACH] - sum(around) / len(around)) ** 2)


# Of classes, the squared misses of the indicators of all of them, which are never made: with p_c the share of class c
# in what predicts a row of class y, their sum is 1 - 2 p_y + sum of p_c^2.


def _indicators_spread(target: FloatArray) -> float:
    shares = np.bincount(target.astype(np.int64)) / len(target)
    return 1.0 - float((shares**2).sum())


def _class_misses_of_levels(level: NDArray[np.int64], target: FloatArray) -> FloatArray:
    codes = target.astype(np.int64)
    classes = int(codes.max()) + 1
    pairs, pair, counts = np.unique(level * classes + codes, return_inverse=True, return_counts=True)
    squares = np.bincount(pairs // classes, counts.astype(np.float64) ** 2)[level]
    same, others = counts[pair], np.bincount(level)[level] - 1
    rest = np.maximum(others, 1)
    shares = np.bincount(codes) / len(codes)
    alone = 1.0 - 2.0 * shares[codes] + (shares**2).sum()
    return np.where(others > 0, 1.0 - 2.0 * (same - 1) / rest + (squares - 2.0 * same + 1.0) / rest**2, alone)


def _class_misses_of_neighbours(ordered: FloatArray) -> FloatArray:
    around = _neighbours(ordered)
    own = ordered[REACH:-REACH]
    same = sum((other == own).astype(np.float64) for other in around)
    squares = sum((one == other).astype(np.float64) for one in around for other in around)
    return np.asarray(1.0 - 2.0 * same / len(around) + squares / len(around) ** 2)


def _neighbours(ordered: FloatArray) -> list[FloatArray]:
    """Return the neighbours, REACH on either side, of all rows that have so many."""
    stop = len(ordered) - 2 * REACH
    return [ordered[first : first + stop] for first in range(2 * REACH + 1) if first != REACH]
