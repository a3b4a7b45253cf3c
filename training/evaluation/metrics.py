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
    values = {name: float(np.average(v, weights=weight)) for name, v in values_by_row(probabilities, codes).items()}
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


def values_by_row(probabilities: FloatArray, codes: np.ndarray) -> dict[str, FloatArray]:
    """Return by name the values (N,) of probabilities (N, classes) whose mean over the rows is a metric."""
    given = probabilities[np.arange(len(codes)), codes]
    return {
        "log_loss": -np.log(np.maximum(given, TINY)),
        "accuracy": (probabilities.argmax(axis=1) == codes).astype(np.float64),
    }


def area_under_roc(score: FloatArray, positive: NDArray[np.bool_], weight: FloatArray) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties counting half.

    score, positive and weight are (N,); there must be rows of both kinds.
    """
    _, below = _shares_below(score, positive, weight)
    return float(np.average(below[positive], weights=weight[positive]))


def area_influence(score: FloatArray, positive: NDArray[np.bool_], weight: FloatArray) -> FloatArray:
    """Return what each row adds to the area under the ROC curve above its value, (N,); their sum is zero.

    The root of the sum of their squares is the standard error of the area: DeLong, DeLong and Clarke-Pearson,
    Comparing the areas under two or more correlated receiver operating characteristic curves, 1988.
    """
    above, below = _shares_below(score, positive, weight)
    share = np.where(positive, below, 1.0 - above)
    area = np.average(below[positive], weights=weight[positive])
    return weight * (share - area) / np.where(positive, weight[positive].sum(), weight[~positive].sum())


def _shares_below(score: FloatArray, positive: NDArray[np.bool_], weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the shares of the positive and of the negative rows below each row, (N,) each, ties counting half."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.concatenate([first, [len(score)]]))
    shares = []
    for chosen in (positive, ~positive):
        reached = np.concatenate([[0.0], np.cumsum(np.where(chosen, weight, 0.0)[order])])
        share = np.empty(len(score))
        share[order] = np.repeat(0.5 * (reached[first] + reached[first + sizes]), sizes) / reached[-1]
        shares.append(share)
    return shares[0], shares[1]
