"""Measure each term of a model over the rows it was trained on: its importance and the course of its effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.features import Feature
from eigenserve.model.spectral import SpectralModel

#: Rows explained, at most; a mean of 4,000 is known to 2% of the spread of a row.
MAX_ROWS = 4_000
#: Parts of a feature's range, with equally many rows each; along each side of a pair, fewer.
BINS = 24
PAIR_BINS = 14
#: Categories shown, the most frequent ones.
MAX_CATEGORIES = 20
#: What is not drawn, the importance table still lists.
MAX_EFFECTS = 40
#: Classes of which effects are drawn.
MAX_CLASSES = 6

Axis = Literal["linear", "log", "date", "category"]


@dataclass(frozen=True)
class Bins:
    """Group rows by the value of one feature.

    Attributes:
        labels: of the B groups, as shown: numbers' means, dates in ISO 8601, or texts.
        axis: what they stand on.
        of_row: (N,), each row's group; -1 where it is in none.
        left_out: how many rarer categories have none.
    """

    labels: tuple[float | str, ...]
    axis: Axis
    of_row: NDArray[np.int64]
    left_out: int = 0


@dataclass(frozen=True)
class Effect:
    """Hold the contribution of one term by groups of rows.

    Attributes:
        term: its name.
        features: names of its one or two features.
        bins: the groups, one entry per feature.
        rows: (B,) or (B2, B1), rows in each group.
        mean, low, high: (C, B): mean and 10% and 90% quantiles of the contribution for each of C classes (1
            unless there are several); for a pair the mean alone, (C, B2, B1). NaN where no row is.
        missing: (C,), the mean where a single number is missing; NaN where it never is.
    """

    term: str
    features: tuple[str, ...]
    bins: tuple[Bins, ...]
    rows: NDArray[np.int64]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    missing: FloatArray


@dataclass(frozen=True)
class Effects:
    """Hold what the terms of a model do.

    Attributes:
        rows: rows that were explained.
        classes: labels of the classes that effects are of; empty unless there are more than two.
        importance: (term, mean |contribution|), from the largest.
        drawn: of the most important terms.
    """

    rows: int
    classes: tuple[str, ...]
    importance: tuple[tuple[str, float], ...]
    drawn: tuple[Effect, ...]


def measure_effects(model: SpectralModel, columns: FloatArray) -> Effects:
    """Explain rows, given as encoded columns (N, F), and group the contributions by the features' values.

    Many rows are sampled, always the same ones. Of several classes the importance is the mean over them.
    """
    part = np.sort(np.random.default_rng(0).permutation(len(columns))[:MAX_ROWS])
    columns = columns[part]
    several = model.task == "multiclass"
    chosen = model.classes[:MAX_CLASSES] if several else ()
    # A model of each class, so that the matrices of hundreds of others are not solved.
    scorers = [
        Predictor("regression", model.target, model.features, model.ensemble.alone(k)) for k in range(len(chosen))
    ]
    contributions = np.stack([explain_by_eigenvector(s, columns).contributions for s in scorers or [model]])
    terms = model.ensemble.pencil.terms
    importance = np.abs(contributions).mean(axis=(0, 1))
    order = np.argsort(-importance, kind="stable")
    drawn = []
    for t in order[:MAX_EFFECTS]:
        features = [model.features.features[i] for i in terms[t].features]
        values = [columns[:, i] for i in terms[t].features]
        drawn.append(_effect(terms[t].name, features, values, contributions[:, :, t]))
    return Effects(
        rows=len(columns),
        classes=tuple(map(str, chosen)) if several else (),
        importance=tuple((terms[t].name, float(importance[t])) for t in order),
        drawn=tuple(drawn),
    )


def _effect(term: str, features: Sequence[Feature], values: Sequence[FloatArray], contributions: FloatArray) -> Effect:
    count = BINS if len(features) == 1 else PAIR_BINS
    bins = tuple(group_values(f, v, count) for f, v in zip(features, values, strict=True))
    names = tuple(feature.name for feature in features)
    shape = tuple(len(b.labels) for b in reversed(bins))
    inside = np.all([b.of_row >= 0 for b in bins], axis=0)
    cell = np.ravel_multi_index(tuple(b.of_row[inside] for b in reversed(bins)), shape)
    cells = int(np.prod(shape))
    mean, low, high = (np.full((len(contributions), cells), np.nan) for _ in range(3))
    for k in np.unique(cell):
        found = contributions[:, inside][:, cell == k]
        mean[:, k] = found.mean(axis=1)
        if len(features) == 1:
            low[:, k], high[:, k] = np.quantile(found, [0.1, 0.9], axis=1)
    rows = np.bincount(cell, minlength=cells)
    full = (len(contributions), *shape)
    missing = np.full(len(contributions), np.nan)
    if len(features) == 1 and bins[0].axis != "category" and not inside.all():
        missing = contributions[:, ~inside].mean(axis=1)
    return Effect(
        term=term,
        features=names,
        bins=bins,
        rows=rows.reshape(shape),
        mean=mean.reshape(full),
        low=low.reshape(full),
        high=high.reshape(full),
        missing=missing,
    )


def group_values(feature: Feature, values: FloatArray, count: int) -> Bins:
    """Group rows by the value of a feature: by category, by level where there are few, else ``count`` equal parts.

    Args:
        feature: of these values.
        values: (N,) as encoded; NaN is missing.
        count: parts of a numeric feature's range.
    """
    missing = np.isnan(values)
    if feature.kind in ("categorical", "boolean"):
        labels = [*feature.categories, "unknown"] if feature.kind == "categorical" else ["false", "true"]
        codes = np.where(missing, len(labels), values).astype(np.int64)
        counts = np.bincount(codes, minlength=len(labels) + 1)
        present = np.flatnonzero(counts)
        kept = sorted(present, key=lambda k: -counts[k])[:MAX_CATEGORIES]
        if feature.kind == "categorical" and feature.ordered:
            kept = sorted(kept)
        position = np.full(len(counts), -1)
        position[kept] = np.arange(len(kept))
        shown = [*labels, "missing"]
        return Bins(tuple(shown[k] for k in kept), "category", position[codes], len(present) - len(kept))
    levels = np.unique(values[~missing])
    of_row = np.full(len(values), -1)
    if len(levels) <= count:
        of_row[~missing] = np.searchsorted(levels, values[~missing])
        return Bins(_labels(feature, levels), _axis(feature), of_row)
    edges = np.unique(np.quantile(values[~missing], np.linspace(0.0, 1.0, count + 1)[1:-1]))
    part = np.unique(np.searchsorted(edges, values[~missing], side="right"), return_inverse=True)[1]
    of_row[~missing] = part
    means = np.bincount(part, values[~missing]) / np.bincount(part)
    return Bins(_labels(feature, means), _axis(feature), of_row)


def _axis(feature: Feature) -> Axis:
    if feature.kind == "datetime":
        return "date"
    return "log" if feature.transform == "log" else "linear"


def _labels(feature: Feature, values: FloatArray) -> tuple[float | str, ...]:
    if feature.kind != "datetime":
        return tuple(values.tolist())
    seconds = np.round(values * 86_400).astype("datetime64[s]")
    return tuple(np.datetime_as_string(seconds).tolist())
