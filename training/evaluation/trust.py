"""Measure how far predictions can be taken at their word: calibration error of probabilities, coverage of intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Bins of equal weight for the calibration error; fewer where there would be fewer rows than this in one.
BINS, MIN_BIN_ROWS = 15, 20
#: How thirds of the rows by prediction are named.
THIRDS = ("low", "middle", "high")


def calibration_error(chance: FloatArray, happened: NDArray[np.bool_], weight: FloatArray) -> float:
    """Return the expected calibration error: how far chances are from shares, in bins of like chances, on average.

    Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, 2015. Chance alone
    makes it about 0.4 / sqrt(rows in a bin) where probabilities are near a half.

    Args:
        chance: (N,), the probability of what is predicted.
        happened: (N,), whether it was so.
        weight: (N,).
    """
    bins = int(np.clip(len(chance) // MIN_BIN_ROWS, 1, BINS))
    order = np.argsort(chance, kind="stable")
    reached = np.cumsum(weight[order])
    place = np.minimum((bins * (reached - 0.5 * weight[order]) / reached[-1]).astype(int), bins - 1)
    gap = np.bincount(place, weight[order] * (chance[order] - happened[order]), minlength=bins)
    return float(np.abs(gap).sum() / reached[-1])


def coverage_by_thirds(
    intervals: FloatArray, predicted: FloatArray, target: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return the share of targets that lie in their intervals among the lowest, middle and highest predictions, (3,).

    Args:
        intervals: (N, 2); N is at least 3.
        predicted: (N,), by which the rows are split.
        target: (N,).
        weight: (N,).
    """
    inside = (intervals[:, 0] <= target) & (target <= intervals[:, 1])
    parts = np.array_split(np.argsort(predicted, kind="stable"), len(THIRDS))
    return np.array([np.average(inside[part], weights=weight[part]) for part in parts])
