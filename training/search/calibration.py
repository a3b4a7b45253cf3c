"""Calibrate a finished model by its out-of-fold scores."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from eigenserve.model.arrays import FloatArray
from eigenserve.training.kernels.losses import LOGISTIC, SOFTMAX, SQUARED, SQUARED_RATE, losses

#: Rows below which a calibration would fit noise.
MIN_ROWS = 1000
#: Scores are stretched or shrunk by no more than this.
STRETCH = (0.5, 2.0)


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
