"""Estimate how sure a metric is, by bootstrap confidence intervals."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.metrics import Metrics, score_metrics

#: Confidence of the intervals.
CONFIDENCE = 0.95
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
    another training would have turned out. The same rows give the same intervals.

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
    # A calibration error is a sum of absolute gaps, which grow by resampling.
    draws: dict[str, list[float]] = {name: [] for name in metrics.values if name != "ece"}
    for _ in range(RESAMPLES):
        rows = rng.integers(count, size=size)
        part = Target(target.name, target.task, target.values[rows], target.classes)
        found = score_metrics(model, scores[rows], part, None if weight is None else weight[rows], power)
        for name, value in found.values.items():
            # A metric that needs all classes is not there where a resample lacks one.
            if name in draws:
                draws[name].append(value)
    tails = [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0]
    intervals = {}
    for name, values in draws.items():
        if values:
            ends = metrics.values[name] + (size / count) ** 0.5 * (np.quantile(values, tails) - metrics.values[name])
            intervals[name] = (float(ends[0]), float(ends[1]))
    return intervals
