"""Assign rows to folds: each with its share of the target's range, whole groups together, or the latest rows apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Groups of a larger share of a fold are spread by their sizes, smaller ones by their targets.
LARGE_SHARE = 0.05


def assign_folds(
    values: FloatArray,
    folds: int,
    rng: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
    moments: FloatArray | None = None,
) -> NDArray[np.int64]:
    """Assign a fold to each row, (N,).

    Args:
        values: (N,) targets; every fold has its share of all parts of their range.
        folds: how many.
        rng: draws them.
        groups: (N,) numbers from 0 on; rows of one number are in one fold.
        moments: (N,) times; fold 0 has the latest rows, so that what is trained without it knows only earlier ones.
            The others are in the order of their times, too.
    """
    if moments is not None:
        return _in_order(moments, folds, groups)
    if groups is None:
        return _spread(values, folds, rng)
    sizes = np.bincount(groups)
    if sizes.max() > LARGE_SHARE * len(values) / folds:
        return _by_sizes(sizes, min(folds, len(sizes)), rng)[groups]
    means = np.bincount(groups, values) / sizes
    return _spread(means, min(folds, len(sizes)), rng)[groups]


def _spread(values: FloatArray, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    shuffled = rng.permutation(len(values))
    ranked = shuffled[np.argsort(values[shuffled], kind="stable")]
    fold = np.empty(len(values), np.int64)
    for start in range(0, len(values), folds):
        group = ranked[start : start + folds]
        fold[group] = rng.permutation(folds)[: len(group)]
    return fold


def _by_sizes(sizes: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign groups to folds, the largest first, each to the fold with the fewest rows so far."""
    shuffled = rng.permutation(len(sizes))
    fold, filled = np.empty(len(sizes), np.int64), np.zeros(folds)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold[group] = int(np.argmin(filled))
        filled[fold[group]] += sizes[group]
    return fold


def _in_order(moments: FloatArray, folds: int, groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Assign consecutive times to folds, the latest to fold 0; a group is as late as its latest row."""
    if groups is not None:
        latest = np.full(int(groups.max()) + 1, -np.inf)
        np.maximum.at(latest, groups, moments)
        moments = latest[groups]
    # Rows of one moment stay together.
    ends = np.quantile(moments, np.arange(1, folds) / folds, method="lower")
    block = np.searchsorted(ends, moments, side="left")
    _, block = np.unique(block, return_inverse=True)
    return np.asarray(block.max() - block, np.int64)
