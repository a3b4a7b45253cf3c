"""How good predictions are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import d2_tweedie_score, log_loss, mean_poisson_deviance, roc_auc_score

from model.features import FloatArray
from model.spectral import SpectralModel
from training.table import Target, split_target


@dataclass(frozen=True)
class Metrics:
    """Named figures of one set of rows.

    Attributes:
        rows: how many rows they are of.
        values: name -> figure, in the order in which they matter.
    """

    rows: int
    values: dict[str, float]


def evaluate(model: SpectralModel, frame: pd.DataFrame) -> Metrics:
    """Metrics of ``model`` on a table with its target's column.

    Raises:
        UserError: no target column, or one that is none of this model.
        InvalidRowsError: rows that are not rows of this model.
    """
    features, target, _ = split_target(frame, model.target, model.task, model.classes)
    return score_metrics(model, model.scores(model.features.encode(features)), target)


def score_metrics(
    model: SpectralModel, scores: FloatArray, target: Target, weight: FloatArray | None = None
) -> Metrics:
    """Metrics of scores (N, O) that ``model`` gave to rows with this target, weighted by ``weight`` (N,)."""
    if weight is None:
        weight = np.ones(len(scores))
    if model.classes:
        values = _classifier_metrics(model.probabilities(scores), target.values.astype(int), weight)
    elif model.task == "poisson":
        predicted = model.values(scores)
        values = {
            "deviance": float(mean_poisson_deviance(target.values, predicted, sample_weight=weight)),
            "d2": float(d2_tweedie_score(target.values, predicted, power=1, sample_weight=weight)),
            **_errors(predicted, target.values, weight),
        }
    else:
        values = _errors(model.values(scores), target.values, weight)
    return Metrics(rows=len(scores), values=values)


def _errors(predicted: FloatArray, target: FloatArray, weight: FloatArray) -> dict[str, float]:
    miss = predicted - target
    square = float(np.average(miss**2, weights=weight))
    spread = float(np.average((target - np.average(target, weights=weight)) ** 2, weights=weight))
    errors = {"rmse": square**0.5, "mae": float(np.average(np.abs(miss), weights=weight))}
    return {**errors, "r2": 1.0 - square / spread} if spread > 0 else errors


def _classifier_metrics(probabilities: FloatArray, codes: np.ndarray, weight: FloatArray) -> dict[str, float]:
    classes = np.arange(probabilities.shape[1])
    values = {
        "log_loss": float(log_loss(codes, probabilities, labels=classes, sample_weight=weight)),
        "accuracy": float(np.average(probabilities.argmax(axis=1) == codes, weights=weight)),
    }
    if len(np.unique(codes)) == len(classes):
        ranking = probabilities[:, 1] if len(classes) == 2 else probabilities
        values["auc"] = float(roc_auc_score(codes, ranking, multi_class="ovr", labels=classes, sample_weight=weight))
    if len(classes) == 2:
        values["brier"] = float(np.average((probabilities[:, 1] - codes) ** 2, weights=weight))
    return values
