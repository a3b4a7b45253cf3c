"""Calibrate a finished model and set its prediction intervals, from its out-of-fold scores."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from eigenserve.model.arrays import FloatArray
from eigenserve.training.kernels.losses import LOGISTIC, SOFTMAX, SQUARED, SQUARED_RATE, losses

#: Rows below which a calibration would fit noise.
MIN_ROWS = 1000
#: Scores are stretched or shrunk by no more than this.
STRETCH = (0.5, 2.0)
#: Levels at which intervals are kept.
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


def calibration(kind: int, scores: FloatArray, target: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Find (scale, shift) that make scores (N, O) fit best by the loss that judges them; (1, 0) for few rows.

    A single score gets both (of a binary one: Platt, 1999), those of several classes a common scale (temperature).
    That also takes from a mean what Huber's loss makes of skewed residuals. Both are affine, so explanations stay
    exact. Absolute, quantile and Huber's own loss, and Poisson's, stay as they were trained.
    """
    if kind not in (LOGISTIC, SOFTMAX, SQUARED, SQUARED_RATE) or len(scores) < MIN_ROWS:
        return 1.0, 0.0
    moves = kind != SOFTMAX

    def loss(x: FloatArray) -> float:
        return float((weight * losses(kind, 0.0, x[0] * scores + (x[1] if moves else 0.0), target)).mean())

    bounds = [STRETCH, (-1.0, 1.0)] if moves else [STRETCH]
    found = minimize(loss, np.array([1.0, 0.0])[: len(bounds)], bounds=bounds, method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1]) if moves else 0.0


def interval_radii(predicted: FloatArray, target: FloatArray, weight: FloatArray) -> dict[str, float]:
    """Map each level to the radius of the interval about a prediction that holds the target with that probability.

    Split-conformal (Vovk et al., 2005; Lei et al., 2018) on out-of-fold residuals: valid on average over rows
    like those trained on (weighted as they were), and on the safe side by as much as training on all rows helps.
    """
    misses = np.abs(predicted - target)
    order = np.argsort(misses, kind="stable")
    # The next row counts as one more, as far away as can be: a row of the mean weight.
    covered = np.cumsum(weight[order]) / (weight.sum() + weight.mean())
    radii = {}
    for level in LEVELS:
        rank = int(np.searchsorted(covered, level))
        if rank < len(misses):
            radii[f"{level:g}"] = float(misses[order[rank]])
    return radii
