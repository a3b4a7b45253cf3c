"""Measure how good a model is on rows: metrics with their confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from eigenserve.model.arrays import FloatArray
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.exposure import per_unit
from eigenserve.training.data.target import Target, positive_column
from eigenserve.training.evaluation.bootstrap import Interval, metric_intervals
from eigenserve.training.evaluation.labelled_rows import labelled_rows
from eigenserve.training.evaluation.metrics import Metrics, score_metrics
from eigenserve.training.evaluation.seen_rows import seen_share


@dataclass(frozen=True)
class Evaluation:
    """Hold a model's scores of N rows against their targets.

    Attributes:
        target: of the N rows.
        scores: (N, O).
        weight: (N,), how much each row counts.
        metrics: of these scores.
        intervals: metric -> (low, high), at 95% confidence.
        seen: share of the rows that the model was trained on, estimated; None where its card cannot say.
    """

    target: Target
    scores: FloatArray
    weight: FloatArray
    metrics: Metrics
    intervals: dict[str, Interval]
    seen: float | None = None

    @property
    def card(self) -> dict[str, Any]:
        """Return the metrics as model.json holds them."""
        return {"rows": self.metrics.rows, **self.metrics.values}


def evaluate_scores(
    model: SpectralModel,
    scores: FloatArray,
    target: Target,
    weight: FloatArray | None = None,
    power: float | None = None,
) -> Evaluation:
    """Judge scores (N, O) that ``model``, or members like its own, gave to rows with this target."""
    weight = np.ones(len(scores)) if weight is None else weight
    metrics = score_metrics(model, scores, target, weight, power)
    intervals = metric_intervals(model, scores, target, metrics, weight, power)
    return Evaluation(target, scores, weight, metrics, intervals)


def evaluate(model: SpectralModel, frame: pd.DataFrame) -> Evaluation:
    """Judge ``model`` on a table with its target's column, and its weights' and exposures' if it was trained with any.

    Raises:
        UserError: a missing column, or values that are none of this model's.
        InvalidRowsError: rows that are not rows of this model.
    """
    features, target, weight = judged_rows(model, frame)
    columns = model.features.encode(features)
    found = evaluate_scores(model, model.scores(columns), target, weight, deviance_power(model))
    return replace(found, seen=seen_share(model.card, columns, target.values))


def judged_rows(model: SpectralModel, frame: pd.DataFrame) -> tuple[pd.DataFrame, Target, FloatArray]:
    """Return the features of the rows that have a target, indexed by their positions, and targets as trained on.

    Returns:
        The features; the targets, per unit of the exposure and offset that the model was trained with, if any; and
        how much each of these rows counts, (N,).

    Raises:
        UserError: a missing column, or values that are none of this model's.
    """
    settings = model.card.get("training", {}).get("settings", {})
    features, target = labelled_rows(model, frame)
    weight = np.ones(len(features))
    if settings.get("weight") is not None:
        weight = positive_column(features, settings["weight"])
    exposure, offset = settings.get("exposure"), settings.get("offset")
    return features, *per_unit(features, target, weight, exposure, offset, deviance_power(model) or 1.0)


def deviance_power(model: SpectralModel) -> float | None:
    """Return the power of Tweedie's deviance that ``model`` was trained to minimise; None where it was another loss."""
    settings = model.card.get("training", {}).get("settings", {})
    if model.task != "regression" or settings.get("loss") not in ("gamma", "tweedie"):
        return 1.0 if model.task == "poisson" else None
    return 2.0 if settings["loss"] == "gamma" else float(settings["power"])
