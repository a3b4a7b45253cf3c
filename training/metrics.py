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


def score_metrics(model: SpectralModel, scores: FloatArray, target: Target) -> Metrics:
    """Metrics of scores (N, O) that ``model`` gave to rows with this target."""
    if model.classes:
        values = _classifier_metrics(model.probabilities(scores), target.values.astype(int))
    elif model.task == "poisson":
        predicted = model.values(scores)
        values = {
            "deviance": float(mean_poisson_deviance(target.values, predicted)),
            "d2": float(d2_tweedie_score(target.values, predicted, power=1)),
            **_errors(predicted, target.values),
        }
    else:
        values = _errors(model.values(scores), target.values)
    return Metrics(rows=len(scores), values=values)


def _errors(predicted: FloatArray, target: FloatArray) -> dict[str, float]:
    miss = predicted - target
    spread = float(((target - target.mean()) ** 2).mean())
    return {
        "rmse": float(np.sqrt((miss**2).mean())),
        "mae": float(np.abs(miss).mean()),
        "r2": 1.0 - float((miss**2).mean()) / spread if spread > 0 else float("nan"),
    }


def _classifier_metrics(probabilities: FloatArray, codes: np.ndarray) -> dict[str, float]:
    classes = np.arange(probabilities.shape[1])
    values = {
        "log_loss": float(log_loss(codes, probabilities, labels=classes)),
        "accuracy": float((probabilities.argmax(axis=1) == codes).mean()),
    }
    if len(np.unique(codes)) == len(classes):
        ranking = probabilities[:, 1] if len(classes) == 2 else probabilities
        values["auc"] = float(roc_auc_score(codes, ranking, multi_class="ovr", labels=classes))
    if len(classes) == 2:
        values["brier"] = float(((probabilities[:, 1] - codes) ** 2).mean())
    return values
