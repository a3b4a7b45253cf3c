"""Measure how good predictions are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from eigenserve.model.arrays import FloatArray
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.trust import THIRDS, calibration_error, coverage_by_thirds

#: The level of prediction intervals whose coverage is a metric.
JUDGED_LEVEL = 0.9
#: Probabilities are held above this before their logarithm, so that one sure mistake is not an infinite loss.
TINY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Metrics:
    """Hold named figures of one set of rows.

    Attributes:
        rows: how many rows they are of.
        values: name -> figure, in the order in which they matter.
    """

    rows: int
    values: dict[str, float]


def score_metrics(
    model: SpectralModel,
    scores: FloatArray,
    target: Target,
    weight: FloatArray | None = None,
    power: float | None = None,
) -> Metrics:
    """Compute metrics of scores (N, O) that ``model`` gave to rows with this target.

    Args:
        model: turns scores into predictions.
        scores: (N, O).
        target: of the N rows.
        weight: (N,), how much each counts; by default all count the same.
        power: of Tweedie's deviance, for a model of costs; counts have theirs anyway.
    """
    if weight is None:
        weight = np.ones(len(scores))
    if model.classes:
        values = _classifier_metrics(model.probabilities(scores), target.values.astype(int), weight)
    else:
        predicted = model.values(scores)
        power = 1.0 if model.task == "poisson" else power
        values = {} if power is None else _deviance(predicted, target.values, weight, power)
        values |= _errors(predicted, target.values, weight)
        values |= _coverage(model, scores, predicted, target.values, weight)
    return Metrics(rows=len(scores), values=values)


def _errors(predicted: FloatArray, target: FloatArray, weight: FloatArray) -> dict[str, float]:
    miss = predicted - target
    square = float(np.average(miss**2, weights=weight))
    spread = float(np.average((target - np.average(target, weights=weight)) ** 2, weights=weight))
    errors = {"rmse": square**0.5, "mae": float(np.average(np.abs(miss), weights=weight))}
    return {**errors, "r2": 1.0 - square / spread} if spread > 0 else errors


def _coverage(
    model: SpectralModel, scores: FloatArray, predicted: FloatArray, target: FloatArray, weight: FloatArray
) -> dict[str, float]:
    """Coverage of 90% intervals, by thirds of the prediction; nothing where the model keeps none."""
    if JUDGED_LEVEL not in model.interval_levels or len(scores) < len(THIRDS):
        return {}
    shares = coverage_by_thirds(model.intervals(scores, JUDGED_LEVEL), predicted, target, weight)
    return {
        f"coverage_{100 * JUDGED_LEVEL:.0f}_{third}": float(share) for third, share in zip(THIRDS, shares, strict=True)
    }


def _deviance(predicted: FloatArray, target: FloatArray, weight: FloatArray, power: float) -> dict[str, float]:
    def mean_deviance(rate: FloatArray | float) -> float:
        return float(np.average(unit_deviance(target, rate, power), weights=weight))

    values = {"deviance": mean_deviance(predicted)}
    rate = float(np.average(target, weights=weight))
    alone = mean_deviance(rate) if rate > 0 else 0.0
    return {**values, "d2": 1.0 - values["deviance"] / alone} if alone > 0 else values


def unit_deviance(target: FloatArray, rate: FloatArray | float, power: float) -> FloatArray:
    """Return Tweedie's deviance of each target (N,) from a mean: of counts (power 1), costs (1 to 2) or gamma (2).

    Jorgensen, The theory of dispersion models, 1997.
    """
    if power == 1.0:
        return np.asarray(2.0 * (xlogy(target, target / rate) - target + rate))
    if power == 2.0:
        return np.asarray(2.0 * (target / rate - 1.0 - np.log(target / rate)))
    down, up = power - 1.0, 2.0 - power
    return np.asarray(2.0 * (rate**up / up + target * rate**-down / down - target**up / (down * up)))


def _classifier_metrics(probabilities: FloatArray, codes: np.ndarray, weight: FloatArray) -> dict[str, float]:
    # By hand, since a bootstrap asks for them hundreds of times, and scikit-learn checks its input each time.
    given = probabilities[np.arange(len(codes)), codes]
    values = {
        "log_loss": float(np.average(-np.log(np.maximum(given, TINY)), weights=weight)),
        "accuracy": float(np.average(probabilities.argmax(axis=1) == codes, weights=weight)),
    }
    classes = probabilities.shape[1]
    if len(np.unique(codes)) == classes:
        ranked = range(1, 2) if classes == 2 else range(classes)
        values["auc"] = float(np.mean([area_under_roc(probabilities[:, c], codes == c, weight) for c in ranked]))
    if classes == 2:
        values["brier"] = float(np.average((probabilities[:, 1] - codes) ** 2, weights=weight))
        values["ece"] = calibration_error(probabilities[:, 1], codes == 1, weight)
    else:
        values["ece"] = calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == codes, weight)
    return values


def area_under_roc(score: FloatArray, positive: NDArray[np.bool_], weight: FloatArray) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties counting half.

    score, positive and weight are (N,); there must be rows of both kinds.
    """
    order = np.argsort(score)
    score, positive, weight = score[order], positive[order], weight[order]
    negatives = np.concatenate([[0.0], np.cumsum(np.where(positive, 0.0, weight))])
    first = np.searchsorted(score, score[positive], side="left")
    past = np.searchsorted(score, score[positive], side="right")
    below = 0.5 * (negatives[first] + negatives[past])
    return float(np.average(below, weights=weight[positive]) / negatives[-1])
