"""How much of a target one column explains all alone: what a leak gives away."""

from __future__ import annotations

import numpy as np

from model.features import FloatArray

#: Neighbours on either side whose mean predicts a row. More would blur a steep effect, fewer let noise through.
REACH = 2


def explained_alone(column: FloatArray, target: FloatArray, num_classes: int, rng: np.random.Generator) -> float:
    """Share of the target's variance that rows with a similar value predict; at most 1, below 0 for none.

    Sorted by the column, a row is predicted by the mean of its four neighbours: any function with few jumps is
    found, whatever its form, and no row takes part in its own prediction. A noisy column gets less than its
    due (a quarter of the noise is added), which does not matter near 1.

    Args:
        column: (N,) numbers or codes of categories; NaN is a value like others.
        target: (N,) numbers, or class codes.
        num_classes: 0 for numbers; the variance is then that of the indicators of all classes.
        rng: shuffles the rows that have equal values.
    """
    if len(column) <= 4 * REACH:
        return 0.0
    shuffled = rng.permutation(len(column))
    order = shuffled[np.argsort(column[shuffled], kind="stable")]
    sorted_target = np.eye(num_classes)[target[order].astype(int)] if num_classes else target[order][:, None]
    sums = np.cumsum(np.vstack([np.zeros((1, sorted_target.shape[1])), sorted_target]), axis=0)
    inner = np.arange(REACH, len(order) - REACH)
    neighbours = sums[inner + REACH + 1] - sums[inner - REACH] - sorted_target[inner]
    misses = sorted_target[inner] - neighbours / (2 * REACH)
    spread = float(((sorted_target - sorted_target.mean(axis=0)) ** 2).mean())
    return 1.0 - float((misses**2).mean()) / spread if spread > 0 else 0.0
