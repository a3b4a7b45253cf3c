"""Set the prediction intervals of a model from its out-of-fold scores: of one width, or wider where errors are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Levels at which intervals are kept.
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
#: Parts of like predictions whose errors are compared, at most, and rows that each needs.
MAX_PARTS, PART_ROWS = 12, 50
#: The least width, as a share of the mean one: residuals of zero in one part must not promise certainty.
LEAST_SCALE = 0.05
#: Intervals follow the prediction where that takes this share, and two standard errors, off their mean score.
MIN_GAIN = 0.01
#: The level by whose score that is judged.
JUDGED = 0.9


@dataclass(frozen=True)
class Scale:
    """Hold how wide intervals are along the prediction: (K,) places, ascending, and widths there, 1 on average."""

    at: FloatArray
    width: FloatArray

    def __call__(self, predicted: FloatArray) -> FloatArray:
        """Return the width at each prediction, between the places on a line, beyond them as at the last."""
        return np.interp(predicted, self.at, self.width)


def prediction_intervals(predicted: FloatArray, target: FloatArray, weight: FloatArray) -> dict[str, Any]:
    """Return what the card keeps: a radius by level, and the scale that multiplies it where intervals follow the row.

    Split-conformal (Vovk et al., 2005; Lei et al., 2018) on out-of-fold residuals: valid on average over rows
    like those trained on (weighted as they were), and on the safe side by as much as training on all rows helps.
    Locally weighted (Lei et al., 2018, section 5.2) by the mean absolute residual of like predictions, where the
    interval score (Gneiting and Raftery, 2007) is better for it; each half of the rows is judged by the other's scale.
    """
    misses = np.abs(predicted - target)
    plain = _radii(misses, weight)
    scale = _scale(predicted, misses, weight)
    if scale is None or f"{JUDGED:g}" not in plain:
        return {"intervals": plain}
    half = np.zeros(len(misses), bool)
    half[np.argsort(predicted, kind="stable")[::2]] = True
    widths = np.empty(len(misses))
    for part in (half, ~half):
        other = _scale(predicted[~part], misses[~part], weight[~part])
        widths[part] = 1.0 if other is None else other(predicted[part])
    radii = _radii(misses / widths, weight)
    before = _scores(misses, np.full(len(misses), plain[f"{JUDGED:g}"]))
    gains = before - _scores(misses, widths * radii[f"{JUDGED:g}"])
    gain = np.average(gains, weights=weight)
    error = np.sqrt(np.average((gains - gain) ** 2, weights=weight) / len(gains))
    if gain < max(MIN_GAIN * np.average(before, weights=weight), 2.0 * error):
        return {"intervals": plain}
    return {"intervals": radii, "interval_scale": {"at": scale.at.tolist(), "width": scale.width.tolist()}}


def _scale(predicted: FloatArray, misses: FloatArray, weight: FloatArray) -> Scale | None:
    """Measure the mean absolute residual of parts of like predictions; None for too few rows."""
    count = min(MAX_PARTS, len(misses) // PART_ROWS)
    if count < 2:
        return None
    parts: list[NDArray[np.int64]] = np.array_split(np.argsort(predicted, kind="stable"), count)
    at = np.array([np.median(predicted[part]) for part in parts])
    errors = np.array([np.average(misses[part], weights=weight[part]) for part in parts])
    at, first = np.unique(at, return_index=True)
    mean = float(np.average(misses, weights=weight))
    if len(at) < 2 or mean <= 0.0:
        return None
    return Scale(at, np.maximum(errors[first] / mean, LEAST_SCALE))


def _radii(misses: FloatArray, weight: FloatArray) -> dict[str, float]:
    order = np.argsort(misses, kind="stable")
    # The next row counts as one more, as far away as can be: a row of the mean weight.
    covered = np.cumsum(weight[order]) / (weight.sum() + weight.mean())
    radii = {}
    for level in LEVELS:
        rank = int(np.searchsorted(covered, level))
        if rank < len(misses):
            radii[f"{level:g}"] = float(misses[order[rank]])
    return radii


def _scores(misses: FloatArray, radius: FloatArray) -> FloatArray:
    """Return the interval score of each row, (N,): the width, and what lies outside as often as it should not."""
    return 2.0 * radius + 2.0 / (1.0 - JUDGED) * np.maximum(misses - radius, 0.0)
