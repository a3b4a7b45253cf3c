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
    wanted = np.eye(num_classes)[target.astype(int)] if num_classes else target[:, None]
    spread = float(((wanted - wanted.mean(axis=0)) ** 2).mean())
    if len(column) <= 4 * REACH or spread == 0:
        return 0.0
    levels, level = np.unique(column, return_inverse=True)
    if len(levels) * ROWS_PER_LEVEL <= len(column):
        misses = _misses_of_levels(level, wanted)
    else:
        misses = _misses_of_neighbours(level, wanted, rng)
    return 1.0 - float((misses**2).mean()) / spread


def _misses_of_levels(level: NDArray[np.int64], wanted: FloatArray) -> FloatArray:
    counts = np.bincount(level)
    sums = np.stack([np.bincount(level, column) for column in wanted.T], axis=1)
    others = counts[level, None] - 1
    overall = np.broadcast_to(wanted.mean(axis=0), wanted.shape)
    mean = np.where(others > 0, (sums[level] - wanted) / np.maximum(others, 1), overall)
    return np.asarray(wanted - mean)


def _misses_of_neighbours(level: NDArray[np.int64], wanted: FloatArray, rng: np.random.Generator) -> FloatArray:
    shuffled = rng.permutation(len(level))
    ordered = wanted[shuffled[np.argsort(level[shuffled], kind="stable")]]
    sums = np.cumsum(np.vstack([np.zeros((1, ordered.shape[1])), ordered]), axis=0)
    inner = np.arange(REACH, len(ordered) - REACH)
    neighbours = sums[inner + REACH + 1] - sums[inner - REACH] - ordered[inner]
    return np.asarray(ordered[inner] - neighbours / (2 * REACH))
