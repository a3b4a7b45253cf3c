"""Distances of two samples' counts in the same bins, and how large each gets by chance alone."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring.channels import Counts

#: Bins whose expected count is smaller are joined before the stability index is taken: below, its distribution has a
#: heavier tail than chi-squared (measured: at a level of 1e-4 three times as many exceed the limit with 4 as with 10).
LEAST_EXPECTED = 10.0


def kolmogorov(training: Counts, window: Counts) -> float:
    """Return the largest difference of the cumulative shares of ordered bins, in [0, 1]."""
    return float(np.abs(np.cumsum(training) / training.sum() - np.cumsum(window) / window.sum()).max())


def kolmogorov_limit(training: int, window: int, chance: float) -> float:
    """Return what the distance of two samples of one distribution exceeds with at most this probability.

    Dvoretzky, Kiefer and Wolfowitz with Massart's constant, for two samples (Wei and Dudley 2012). Bins only lower it.
    """
    return math.sqrt(math.log(2.0 / chance) / 2.0 * (1.0 / training + 1.0 / window))


def stability(training: Counts, window: Counts) -> tuple[float, int]:
    """Return the population stability index, sum of (p - q) ln(p / q), and the degrees of freedom of its bins.

    Bins with few expected rows are joined with their neighbours; half a row is added to each bin, so that an empty one
    gives a finite index.
    """
    training, window = joined(training, window)
    p, q = _shares(window), _shares(training)
    return float(((p - q) * np.log(p / q)).sum()), len(training) - 1


def stability_limit(training: int, window: int, freedom: int, chance: float) -> float:
    """Return what the index of two samples of one distribution exceeds with this probability.

    To first order the index is (1/n + 1/m) chi-squared; its quantile by Wilson and Hilferty (1931).
    """
    if freedom < 1:
        return 0.0
    deviation = NormalDist().inv_cdf(1.0 - chance)
    third = 2.0 / (9.0 * freedom)
    return freedom * (1.0 - third + deviation * math.sqrt(third)) ** 3 * (1.0 / training + 1.0 / window)


def joined(training: Counts, window: Counts) -> tuple[Counts, Counts]:
    """Join neighbouring bins until each but the last has the expected count of the window that it needs."""
    expected = (training + window) * (window.sum() / (training.sum() + window.sum()))
    groups = np.empty(len(expected), np.int64)
    group, total = 0, 0.0
    for i, count in enumerate(expected.tolist()):
        groups[i] = group
        total += count
        if total >= LEAST_EXPECTED:
            group, total = group + 1, 0.0
    if total < LEAST_EXPECTED and group:
        groups[groups == group] = group - 1
    size = int(groups[-1]) + 1
    return (
        np.bincount(groups, training, size).astype(np.int64),
        np.bincount(groups, window, size).astype(np.int64),
    )


def share_evidence(training: Counts, window: Counts) -> FloatArray:
    """Return for every bin the log-likelihood ratio of two shares against one: how surely its share has changed."""
    m, n = training.sum(), window.sum()
    pooled = (training + window) / (m + n)
    return n * _divergence(window / n, pooled) + m * _divergence(training / m, pooled)


def share_limit(bins: int, chance: float) -> float:
    """Return what the evidence of any of so many bins exceeds with about this probability.

    Twice the evidence is chi-squared of one degree of freedom (Wilks 1938). Chernoff's bound holds for any counts, but
    asks for a third more: measured, a category of 3% that doubles in 2,000 rows was then missed every fourth time.
    """
    return NormalDist().inv_cdf(1.0 - chance / (2.0 * max(1, bins))) ** 2 / 2.0


def _shares(counts: Counts) -> FloatArray:
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def _divergence(share: FloatArray, other: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence of two Bernoulli shares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(share > 0.0, share * np.log(share / other), 0.0)
        miss = np.where(share < 1.0, (1.0 - share) * np.log((1.0 - share) / (1.0 - other)), 0.0)
    return np.asarray(hit + miss)
