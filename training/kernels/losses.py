"""Compute losses of one score (or of one score per class) against a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import logsumexp, xlogy

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import part
from eigenserve.model.predictor import Task

SQUARED, HUBER, QUANTILE, LOGISTIC, SOFTMAX, POISSON, SQUARED_RATE, GAMMA, TWEEDIE = range(9)
#: Losses whose score is the logarithm of a mean.
RATE_LOSSES = (POISSON, SQUARED_RATE, GAMMA, TWEEDIE)

RegressionLoss = Literal["auto", "squared", "huber", "absolute", "quantile", "gamma", "tweedie"]
RegressionLink = Literal["auto", "identity", "log"]

#: What a regression minimises: (loss, its parameter). "auto" trains on Huber's loss, whose gradients an outlier
#: cannot drown, and is judged by the squared one; half a standard deviation of the target was measured best.
REGRESSION_LOSSES: dict[RegressionLoss, tuple[int, float]] = {
    "auto": (HUBER, 0.5),
    "squared": (SQUARED, 0.0),
    "huber": (HUBER, 0.5),
    "absolute": (QUANTILE, 0.5),
    "quantile": (QUANTILE, 0.5),
    "gamma": (GAMMA, 2.0),
    "tweedie": (TWEEDIE, 1.5),
}
#: Those that are half the deviance of a distribution of claims' costs: gamma of positive ones, Tweedie's compound of
#: Poisson and gamma of those that may be zero. Their link is the logarithm.
DEVIANCE_LOSSES: tuple[RegressionLoss, ...] = ("gamma", "tweedie")
_TASK_LOSSES: dict[Task, int] = {"binary": LOGISTIC, "multiclass": SOFTMAX, "poisson": POISSON}


@dataclass(frozen=True)
class Objective:
    """Say what members are trained on, and what candidates are judged by: (loss, parameter) each.

    The parameter is Huber's delta in standard deviations of the target, the quantile, or Tweedie's power.
    """

    training: tuple[int, float]
    judging: tuple[int, float]

    @property
    def kind(self) -> int:
        """Return the loss trained on."""
        return self.training[0]

    @property
    def log_link(self) -> bool:
        """Return whether it is a regression's whose score is the logarithm of the prediction."""
        return self.judging[0] in (SQUARED_RATE, GAMMA, TWEEDIE)


def choose_objective(
    task: Task, loss: RegressionLoss, quantile: float, log_link: bool = False, power: float = 1.5
) -> Objective:
    """Choose the objective of a task; the rest matters for regressions only.

    By the logarithmic link a regression is trained on Poisson's loss, which estimates the mean of any target that is
    not negative (Gourieroux, Monfort and Trognon, Pseudo maximum likelihood methods, 1984).
    """
    if loss in DEVIANCE_LOSSES:
        one = (REGRESSION_LOSSES[loss][0], power if loss == "tweedie" else 2.0)
        return Objective(one, one)
    if log_link:
        return Objective((POISSON, 0.0), (SQUARED_RATE, 0.0))
    if task != "regression":
        one = (_TASK_LOSSES[task], 0.0)
        return Objective(one, one)
    kind, parameter = REGRESSION_LOSSES[loss]
    trained = (kind, quantile if loss == "quantile" else parameter)
    return Objective(trained, (SQUARED, 0.0) if loss == "auto" else trained)


def standardised(values: FloatArray, weight: FloatArray, log_link: bool = False) -> tuple[FloatArray, float, float]:
    """Standardise targets of numbers (N,) for training; (shift, scale) take scores back to the target's.

    By the logarithmic link, which counts have, they are divided by their mean, so that the unit of a rate moves the
    intercept alone; else they are centred and divided by their spread.
    """
    mean = float(np.average(values, weights=weight))
    if log_link:
        return values / mean, math.log(mean), 1.0
    # A target that never varies keeps its scale: there is nothing to divide by.
    scale = float(np.sqrt(np.average((values - mean) ** 2, weights=weight))) or 1.0
    return (values - mean) / scale, mean, scale


#: Scores are held below this before exp: e^30 counts per row are not data.
MAX_LOG_RATE = 30.0


@part
def loss_slopes(kind: Any, parameter: Any, scores: Any, target: Any, slopes: Any) -> None:
    """Write d(loss)/d(score) of one row into ``slopes``; both are (O,), ``target`` a number or a class code."""
    if kind == SQUARED:
        slopes[0] = scores[0] - target
    elif kind == HUBER:
        slopes[0] = min(max(scores[0] - target, -parameter), parameter)
    elif kind == QUANTILE:
        slopes[0] = 1.0 - parameter if scores[0] > target else -parameter
    elif kind == LOGISTIC:
        slopes[0] = 1.0 / (1.0 + math.exp(-scores[0])) - target
    elif kind == POISSON:
        slopes[0] = math.exp(min(scores[0], MAX_LOG_RATE)) - target
    elif kind == GAMMA:
        slopes[0] = 1.0 - target * math.exp(min(-scores[0], MAX_LOG_RATE))
    elif kind == TWEEDIE:
        score = min(max(scores[0], -MAX_LOG_RATE), MAX_LOG_RATE)
        slopes[0] = math.exp((2.0 - parameter) * score) - target * math.exp((1.0 - parameter) * score)
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


def losses(kind: int, parameter: float, scores: FloatArray, target: FloatArray) -> FloatArray:
    """Compute the loss of each row: scores (N, O), target (N,) -> (N,)."""
    first = scores[:, 0]
    if kind == SQUARED:
        return 0.5 * (first - target) ** 2
    if kind == HUBER:
        miss = np.abs(first - target)
        return np.where(miss <= parameter, 0.5 * miss**2, parameter * (miss - 0.5 * parameter))
    if kind == QUANTILE:
        return np.where(first > target, 1.0 - parameter, -parameter) * (first - target)
    if kind == LOGISTIC:
        return np.logaddexp(0.0, first) - target * first
    if kind in (POISSON, SQUARED_RATE):
        rate = np.exp(np.minimum(first, MAX_LOG_RATE))
        # Half the deviance: unlike the likelihood it is zero at best, so that shares of it mean something.
        return (
            0.5 * (rate - target) ** 2
            if kind == SQUARED_RATE
            else rate - target * (1.0 + first) + xlogy(target, target)
        )
    if kind == GAMMA:
        return target * np.exp(np.minimum(-first, MAX_LOG_RATE)) + first - 1.0 - np.log(target)
    if kind == TWEEDIE:
        score = np.clip(first, -MAX_LOG_RATE, MAX_LOG_RATE)
        rising = np.exp((2.0 - parameter) * score) / (2.0 - parameter)
        falling = target * np.exp((1.0 - parameter) * score) / (parameter - 1.0)
        return rising + falling - target ** (2.0 - parameter) / ((parameter - 1.0) * (2.0 - parameter))
    return np.asarray(logsumexp(scores, axis=1) - scores[np.arange(len(target)), target.astype(int)])


def best_constant(kind: int, parameter: float, target: FloatArray, weight: FloatArray, num_classes: int) -> FloatArray:
    """Find scores (O,) that fit best where nothing is known of a row."""
    if kind in (SQUARED, HUBER):
        return np.array([np.average(target, weights=weight)])
    if kind == QUANTILE:
        return np.array([np.quantile(target, parameter, weights=weight, method="inverted_cdf")])
    if kind in RATE_LOSSES:
        return np.log(np.array([max(np.average(target, weights=weight), 1e-9)]))
    # Half a row in each class keeps the logarithm finite where a class is missing.
    counts = np.bincount(target.astype(int), weight, minlength=num_classes) + 0.5
    shares = np.log(counts / counts.sum())
    return np.array([shares[1] - shares[0]]) if kind == LOGISTIC else shares
