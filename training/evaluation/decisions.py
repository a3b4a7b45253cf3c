"""Measure decisions of two classes: KS, lift, and what each cutoff of the probability would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray

#: Cutoffs of the table.
CUTOFFS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
#: Share of the rows with the highest probabilities of which the lift is given.
LIFTED = 0.1


@dataclass(frozen=True)
class Cutoff:
    """Say what deciding by a cutoff does.

    Attributes:
        cutoff: of the second class's probability; rows at it or above it are flagged.
        flagged: share of the rows.
        precision: share of the flagged rows that are of the second class; NaN where none is flagged.
        recall: share of the second class's rows that are flagged.
        false_alarms: share of the first class's rows that are flagged.
    """

    cutoff: float
    flagged: float
    precision: float
    recall: float
    false_alarms: float


def kolmogorov_smirnov(probability: FloatArray, hit: FloatArray, weight: FloatArray) -> float:
    """Return the largest distance between the classes' distributions of the probability; NaN for one class alone."""
    order = np.argsort(probability, kind="stable")
    last = np.append(np.diff(probability[order]) > 0.0, True)
    shares = []
    for part in (weight * hit, weight * (1.0 - hit)):
        total = part.sum()
        if total <= 0.0:
            return float("nan")
        shares.append(np.cumsum(part[order])[last] / total)
    return float(np.abs(shares[0] - shares[1]).max())


def lift(probability: FloatArray, hit: FloatArray, weight: FloatArray, share: float = LIFTED) -> float:
    """Return how much more frequent the second class is among the highest probabilities than among all rows."""
    order = np.argsort(-probability, kind="stable")
    top = order[np.cumsum(weight[order]) <= share * weight.sum()]
    mean = np.average(hit, weights=weight)
    return float(np.average(hit[top], weights=weight[top]) / mean) if len(top) and mean > 0.0 else float("nan")


def cutoff_table(probability: FloatArray, hit: FloatArray, weight: FloatArray) -> list[Cutoff]:
    """Return what each of ``CUTOFFS`` does."""
    table = []
    for cutoff in CUTOFFS:
        flagged = probability >= cutoff
        caught, alarms = (weight * hit)[flagged].sum(), (weight * (1.0 - hit))[flagged].sum()
        whole, rest = (weight * hit).sum(), (weight * (1.0 - hit)).sum()
        table.append(
            Cutoff(
                cutoff,
                float(weight[flagged].sum() / weight.sum()),
                float(caught / (caught + alarms)) if caught + alarms > 0.0 else float("nan"),
                float(caught / whole) if whole > 0.0 else float("nan"),
                float(alarms / rest) if rest > 0.0 else float("nan"),
            )
        )
    return table
