"""What out-of-fold scores say about a finished model: its calibration and its prediction intervals."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from model.features import FloatArray
from training.losses import LOGISTIC, SOFTMAX, losses

#: Rows below which a calibration would fit noise.
MIN_ROWS = 1000
#: A classifier's scores are stretched or shrunk by no more than this.
STRETCH = (0.5, 2.0)
#: Levels at which intervals are kept.
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


def calibration(kind: int, scores: FloatArray, target: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """(scale, shift) that make a classifier's scores (N, O) fit best; (1, 0) for other losses and few rows.

    A binary score gets both (Platt, 1999), those of several classes a common scale (temperature). Both are
    affine, so explanations stay exact.
    """
    if kind not in (LOGISTIC, SOFTMAX) or len(scores) < MIN_ROWS:
        return 1.0, 0.0
    moves = kind == LOGISTIC

    def loss(x: FloatArray) -> float:
        return float((weight * losses(kind, 0.0, x[0] * scores + (x[1] if moves else 0.0), target)).mean())

    bounds = [STRETCH, (-1.0, 1.0)] if moves else [STRETCH]
    found = minimize(loss, np.array([1.0, 0.0])[: len(bounds)], bounds=bounds, method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1]) if moves else 0.0


def interval_radii(predicted: FloatArray, target: FloatArray, weight: FloatArray) -> dict[str, float]:
    """Level -> radius of the interval about a prediction that holds the target with that probability.

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
