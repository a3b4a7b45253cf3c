"""Losses of one score (or of one score per class) against a target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from scipy.special import logsumexp

from model.features import FloatArray
from model.spectral import Task

SQUARED, HUBER, LOGISTIC, SOFTMAX, POISSON = range(5)

#: Each task's loss, on scores that its link takes to predictions.
TASK_LOSSES: dict[Task, int] = {
    "regression": HUBER,
    "binary": LOGISTIC,
    "multiclass": SOFTMAX,
    "poisson": POISSON,
}
#: Scores are held below this before exp: e^30 counts per row are no data.
MAX_LOG_RATE = 30.0


@njit(inline="never", error_model="numpy")
def loss_slopes(kind: Any, delta: Any, scores: Any, target: Any, slopes: Any) -> None:
    """d(loss)/d(score) of one row into ``slopes``; both are (O,), ``target`` a number or a class code."""
    if kind == SQUARED:
        slopes[0] = scores[0] - target
    elif kind == HUBER:
        slopes[0] = min(max(scores[0] - target, -delta), delta)
    elif kind == LOGISTIC:
        slopes[0] = 1.0 / (1.0 + math.exp(-scores[0])) - target
    elif kind == POISSON:
        slopes[0] = math.exp(min(scores[0], MAX_LOG_RATE)) - target
    else:
        highest = scores[0]
        for o in range(1, len(scores)):
            highest = max(highest, scores[o])
        total = 0.0
        for o in range(len(scores)):
            slopes[o] = math.exp(scores[o] - highest)
            total += slopes[o]
        for o in range(len(scores)):
            slopes[o] = slopes[o] / total - (1.0 if o == int(target) else 0.0)


def losses(kind: int, delta: float, scores: FloatArray, target: FloatArray) -> FloatArray:
    """Loss of each row: scores (N, O), target (N,) -> (N,)."""
    first = scores[:, 0]
    if kind == SQUARED:
        return 0.5 * (first - target) ** 2
    if kind == HUBER:
        miss = np.abs(first - target)
        return np.where(miss <= delta, 0.5 * miss**2, delta * (miss - 0.5 * delta))
    if kind == LOGISTIC:
        return np.logaddexp(0.0, first) - target * first
    if kind == POISSON:
        return np.exp(np.minimum(first, MAX_LOG_RATE)) - target * first
    return np.asarray(logsumexp(scores, axis=1) - scores[np.arange(len(target)), target.astype(int)])


def best_constant(kind: int, target: FloatArray, num_classes: int) -> FloatArray:
    """Scores (O,) that fit best where nothing is known of a row."""
    if kind in (SQUARED, HUBER):
        return np.array([target.mean()])
    if kind == POISSON:
        return np.log(np.array([max(target.mean(), 1e-9)]))
    # Half a row in each class keeps the logarithm finite where a class is missing.
    counts = np.bincount(target.astype(int), minlength=num_classes) + 0.5
    shares = np.log(counts / counts.sum())
    return np.array([shares[1] - shares[0]]) if kind == LOGISTIC else shares
