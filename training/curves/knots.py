"""Choose the knots of curves."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.training.data.schema import MAX_LEVELS

#: Levels of a column with many ties that get a separate knot.
MAX_SPIKES = 128
#: Levels of such a column that stand out, and quantiles of its other values, where it is kept simple (spambase: the
#: squared penalty's best loss of one member is .139 by them, .150 by a knot on each frequent level).
FEW_SPIKES, FEW_QUANTILES = 3, 5
#: Values nearer to each other than this share of the largest differ by rounding alone, such as the sums of two numbers
#: on the diagonals of a grid: with a knot on each, curves would jump between them.
ROUNDING = 1e-12


def choose_knots(values: FloatArray, count: int, spikes: bool = True) -> FloatArray:
    """Choose ascending knots: every level where there are few, else about ``count`` quantiles.

    Where ties swallow quantiles (a column that is mostly zero, say) each frequent level gets a knot, too, and
    the most frequent ones get knots on their neighbours, so that they can stand out as spikes. Without ``spikes`` only
    a few of the most frequent do, and the rest shares a few quantiles.
    """
    values = values[np.isfinite(values)]
    levels, counts = np.unique(values, return_counts=True)
    apart = np.diff(levels, prepend=-np.inf) > ROUNDING * np.abs(levels).max(initial=0.0)
    if not apart.all():
        first = levels[apart]
        values = first[np.searchsorted(first, values, side="right") - 1]
        levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= MAX_LEVELS:
        return levels
    knots = np.unique(np.quantile(values, np.linspace(0.0, 1.0, count)))
    if len(knots) >= 0.85 * count:
        return knots
    if not spikes:
        often = np.argsort(-counts, kind="stable")[:FEW_SPIKES]
        often = often[counts[often] > 0.02 * len(values)]
        rest = np.quantile(values[~np.isin(values, levels[often])], np.linspace(0.0, 1.0, FEW_QUANTILES))
        place = np.concatenate([often - 1, often, often + 1])
        return np.unique(np.concatenate([levels[np.clip(place, 0, len(levels) - 1)], levels[[0, -1]], rest]))
    frequent = levels[counts > max(5, 0.0005 * len(values))]
    if len(frequent) > MAX_SPIKES:
        frequent = levels[np.argsort(-counts, kind="stable")[:MAX_SPIKES]]
    top = np.flatnonzero(counts > 0.02 * len(values))
    adjacent = levels[np.clip(np.concatenate([top - 1, top + 1]), 0, len(levels) - 1)]
    spread = np.quantile(levels, np.linspace(0.0, 1.0, count))
    return np.unique(np.concatenate([knots, frequent, levels[top], adjacent, spread]))


def main_knots(rows: int) -> int:
    """Choose knots on the curve of a single feature. Measured: more harm small tables, fewer cost on large ones."""
    return 8 if rows < 1000 else 12 if rows < 5000 else 16
