"""Group the categories of a feature that has many by their effect on the target, estimated without leaking it.

The effect of a category is its mean target less that of all rows, shrunken towards zero as empirical Bayes has it: by
n / (n + m), with m the variance within categories over that between them. Categories are ordered by it and cut into
groups of about equally many rows; an unknown category has the effect zero and goes where that is. A row is trained on
in the group that the other folds' rows give its category, so a row's target never decides its group. Where fewer rows
are trained on than there are, a census of all of them says what the categories are worth
(``training.data.categories.census``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.data.categories.census import Census

#: Features with more categories are grouped, and those with fewer where there are fewer rows for each.
MANY_CATEGORIES = 64
FEW_CATEGORIES, ROWS_PER_CATEGORY = 16, 8
#: Classes whose shares order a feature's categories.
MAX_INDICATORS = 16
#: Groups at most, and the rows that there are for each at least.
MAX_GROUPS, ROWS_PER_GROUP = 32, 30
#: Shrinkage where categories differ no more than chance has them: then all effects are nearly zero.
MOST_SHRUNKEN = 1e6


@dataclass(frozen=True)
class Grouping:
    """Hold how the codes of a feature are grouped.

    Attributes:
        groups: of each code, the unknown one's last.
        of_rows: (N,), the group in which each row is trained on; NaN where it is missing.
    """

    groups: tuple[int, ...]
    of_rows: FloatArray


def group_categories(
    space: FeatureSpace,
    columns: FloatArray,
    target: FloatArray,
    fold: NDArray[np.int64],
    single: Collection[str] = (),
    census: Census | None = None,
) -> tuple[FeatureSpace, dict[int, FloatArray]]:
    """Give features with many categories groups.

    Args:
        space: the features.
        columns: (N, F), encoded.
        target: (N, O), numbers, or indicators of classes.
        fold: (N,), by which effects are cross-fitted.
        single: names of features that are left as they are.
        census: of all rows, these included, with targets as ``target`` has them; None where there are no others.

    Returns:
        The features with groups, and by position the coordinates in which the rows are trained on.
    """
    features, coordinates = list(space.features), {}
    for i, feature in enumerate(space.features):
        if not are_many(feature, len(columns)) or feature.name in single:
            continue
        found = _grouping(columns[:, i], feature, target, fold, census)
        features[i] = replace(feature, groups=found.groups)
        coordinates[i] = found.of_rows
    return FeatureSpace(tuple(features)), coordinates


def are_many(feature: Feature, rows: int) -> bool:
    """Return whether the categories of a feature, if it has any, are grouped."""
    count = len(feature.categories)
    return count > MANY_CATEGORIES or (count > FEW_CATEGORIES and rows < ROWS_PER_CATEGORY * count)


def indicator_classes(target: FloatArray, classes: int) -> NDArray[np.int64]:
    """Return the most frequent of several classes, ascending, whose indicators order categories."""
    often = np.argsort(-np.bincount(target.astype(np.int64), minlength=classes), kind="stable")
    return np.sort(often[:MAX_INDICATORS])


def _grouping(
    codes: FloatArray, feature: Feature, target: FloatArray, fold: NDArray[np.int64], census: Census | None = None
) -> Grouping:
    present, categories, name = ~np.isnan(codes), len(feature.categories), feature.name
    # A missing value counts as unknown where it does not have a matrix.
    code = np.where(present, codes, float(categories)).astype(np.int64)
    counted = present & (code < categories)
    folds = int(fold.max()) + 1
    counts = np.zeros((folds, categories + 1))
    sums = np.zeros((folds, categories + 1, target.shape[1]))
    np.add.at(counts, (fold[counted], code[counted]), 1.0)
    mean = target[counted].mean(axis=0)
    if census is not None:
        mean = census.sums[name].sum(axis=0) / max(1.0, census.counts[name].sum())
    np.add.at(sums, (fold[counted], code[counted]), target[counted] - mean)
    every, sums_of_all = counts.sum(axis=0), sums.sum(axis=0)
    squares, least = float(((target[counted] - mean) ** 2).sum()), 0.0
    if census is not None:
        # Of more rows than these, which need not be a uniform sample of them.
        every, sums_of_all = census.counts[name], census.sums[name] - mean * census.counts[name][:, None]
        squares = float((census.squares[name] - every.sum() * mean**2).sum())
        least = census.least.get(name, 0.0)
    shrinkage = _shrinkage(every, sums_of_all, squares)
    whole = _effects(every, sums_of_all, shrinkage)
    # Of several classes: along the direction in which the categories differ most.
    along = _main_direction(whole, every)
    effects = whole @ along
    wanted = max(1, min(MAX_GROUPS, int(counted.sum()) // ROWS_PER_GROUP, categories))
    order = np.argsort(effects, kind="stable")
    share = np.cumsum(every[order]) / max(1.0, every.sum())
    at = np.searchsorted(share, np.arange(1, wanted) / wanted)
    cuts = np.unique(effects[order][np.minimum(at, len(order) - 1)])
    groups = np.searchsorted(cuts, effects, side="left")
    of_rows = np.empty(len(codes))
    for f in range(folds):
        held = fold == f
        rest, sums_of_rest = every - counts[f], sums_of_all - sums[f]
        if census is not None:
            # Those that are held out need not be a uniform sample: the others have another mean.
            sums_of_rest = sums_of_rest - rest[:, None] * (sums_of_rest.sum(axis=0) / max(1.0, rest.sum()))
        # As a fresh row's, a category is known by other rows alone.
        others = np.where(rest >= least, _effects(rest, sums_of_rest, shrinkage) @ along, 0.0)
        of_rows[held] = np.searchsorted(cuts, others, side="left")[code[held]]
    # Groups in which no category is left have no number.
    used = np.unique(np.append(groups, of_rows.astype(np.int64)))
    groups, of_rows = np.searchsorted(used, groups), np.searchsorted(used, of_rows).astype(np.float64)
    if feature.missing:
        of_rows[~present] = np.nan
    return Grouping(tuple(groups.tolist()), of_rows)


def _effects(counts: FloatArray, sums: FloatArray, shrinkage: float) -> FloatArray:
    """Return shrunken means of the categories, (categories + 1, O); zero for the unknown one and those without rows."""
    return sums / (counts + shrinkage)[:, None]


def _shrinkage(counts: FloatArray, sums: FloatArray, total: float) -> float:
    """Return m, the variance within categories over that between them, by analysis of variance of all outputs.

    ``total`` is the sum of squares of the targets less their means, ``sums`` that of each category.
    """
    rows, levels = counts.sum(), int((counts > 0).sum())
    if levels < 2 or rows <= levels:
        return MOST_SHRUNKEN
    between = float((sums**2 / np.maximum(counts, 1.0)[:, None]).sum())
    within = max(total - between, 1e-12 * total) / (rows - levels)
    size = (rows - (counts**2).sum() / rows) / (levels - 1)
    variance = (between / (levels - 1) - within) / size
    return float(min(within / variance, MOST_SHRUNKEN)) if variance > 0.0 else MOST_SHRUNKEN


def _main_direction(effects: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the direction in which effects vary most over the rows, (O,); its largest entry is positive."""
    if effects.shape[1] == 1:
        return np.ones(1)
    _, vectors = np.linalg.eigh(effects.T @ (counts[:, None] * effects))
    along = vectors[:, -1]
    return np.asarray(along * np.sign(along[np.abs(along).argmax()]))
