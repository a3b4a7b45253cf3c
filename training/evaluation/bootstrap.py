"""Estimate how sure a metric is, by bootstrap confidence intervals."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.metrics import Metrics, area_influence, score_metrics, values_by_row

#: Confidence of the intervals.
CONFIDENCE = 0.95
#: Standard errors to either side of a normal mean that hold so much.
NORMAL_QUANTILE = NormalDist().inv_cdf((1.0 + CONFIDENCE) / 2.0)
#: Resamples. The ends of an interval are then known to a tenth of its length, and the intervals of
#: 1,000,000 rows take a second.
RESAMPLES = 200
#: Rows of a resample, at most; the spread is scaled to that of all rows.
MAX_ROWS = 5_000

Interval = tuple[float, float]


def metric_intervals(
    model: SpectralModel,
    scores: FloatArray,
    target: Target,
    metrics: Metrics,
    weight: FloatArray | None = None,
    power: float | None = None,
) -> dict[str, Interval]:
    """Estimate (low, high) for every metric of N rows, over what other rows there might have been.

    Percentiles of the metric of m rows drawn with replacement, their distance to the metric itself shrunk by
    sqrt(m/N) (the m-out-of-n bootstrap; Bickel, Götze and van Zwet, 1997). It says nothing about how
    another training would have turned out. The same rows give the same intervals. The area under the ROC curve of more
    than two classes, the mean of one for each, has its interval by its standard error (``area_influence``): a resample
    would need rows of all classes, and a sort for each.

    Args:
        model: turns scores into predictions.
        scores: (N, O).
        target: of the N rows.
        metrics: of the N rows.
        weight: (N,); by default all rows count the same.
        power: as for ``score_metrics``.
    """
    rng = np.random.default_rng(0)
    count = len(scores)
    size = min(count, MAX_ROWS)
    weight = np.ones(count) if weight is None else weight
    resamples = (rng.integers(count, size=size) for _ in range(RESAMPLES))
    area: dict[str, Interval] = {}
    # A calibration error is a sum of absolute gaps, which grow by resampling.
    draws: dict[str, list[float]] = {name: [] for name in metrics.values if name != "ece"}
    if model.task == "multiclass":
        chances, codes = model.probabilities(scores), target.values.astype(int)
        if draws.pop("auc", None) is not None:
            area["auc"] = _area_interval(chances, codes, weight, metrics.values["auc"])
        by_row = values_by_row(chances, codes)
        for rows in resamples:
            for name, values in by_row.items():
                draws[name].append(float(np.average(values[rows], weights=weight[rows])))
    else:
        for rows in resamples:
            part = Target(target.name, target.task, target.values[rows], target.classes)
            found = score_metrics(model, scores[rows], part, weight[rows], power)
            for name, value in found.values.items():
                # A metric that needs both classes is not there where a resample lacks one.
                if name in draws:
                    draws[name].append(value)
    tails = [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0]
    intervals = {}
    for name, drawn in draws.items():
        if drawn:
            ends = metrics.values[name] + (size / count) ** 0.5 * (np.quantile(drawn, tails) - metrics.values[name])
            intervals[name] = (float(ends[0]), float(ends[1]))
    return intervals | area


def _area_interval(chances: FloatArray, codes: np.ndarray, weight: FloatArray, area: float) -> Interval:
    """Return the interval of the mean area under the ROC curve of each class, by its standard error."""
    classes = chances.shape[1]
    moved = sum(area_influence(chances[:, c], codes == c, weight) for c in range(classes)) / classes
    reach = NORMAL_QUANTILE * float((np.asarray(moved) ** 2).sum()) ** 0.5
    return max(0.0, area - reach), min(1.0, area + reach)
