"""Compute the response of a score to one feature, or to two, through a given row.

Between two neighbouring knots every matrix is affine in the coordinate that moves, so that the score is smooth there:
knots are vertices of a response curve, and more are added in between until straight lines are faithful.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.near_crossings import Crossing, find_crossings
from eigenserve.model.explanations.plots import draw_curves
from eigenserve.model.explanations.tables import row_values
from eigenserve.model.predictor import Output, Predictor
from eigenserve.model.rows.features import Feature

#: A straight line may miss the curve where it is checked by this share of the curve's height: one or two pixels.
FAITHFUL = 0.01
#: Vertices before any is added, in addition to the knots: enough for no hump to hide between them.
FIRST_VERTICES = 33
#: Up to so many knots are vertices all. The two features of a pair may have a thousand, too many to see:
#: of more, those are vertices at which the curve visibly bends.
ALL_KNOTS = 64
#: Each round splits where it must: the finest step is about 2^-5 of the coarsest, a pixel of a thousand.
ROUNDS = 5
#: Steps of a surface in each direction.
SURFACE_STEPS = 33


@dataclass(frozen=True)
class ResponseCurve:
    """Hold a row's scores and predictions as one of its features takes other values.

    Attributes:
        feature: its name.
        values: (P,), ascending, in the feature's unit (days since 1970 for a date); categories, or False and True.
        scores: (P,), of the output looked at.
        predictions: (P,), on the target's scale: the class's probability, or the value.
        kinks: the knots among the values, where the slope jumps.
        crossings: where a member's eigenvalue nearly meets a neighbour.
        missing: (score, prediction) of the row without the feature, if the model treats that separately.
    """

    feature: str
    values: NDArray[Any]
    scores: FloatArray
    predictions: FloatArray
    kinks: FloatArray
    crossings: tuple[Crossing, ...]
    missing: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class ResponseCurves(Mapping[str, ResponseCurve]):
    """Hold the response curves through one row, by feature.

    Attributes:
        curves: feature -> its curve.
        row: the row by feature name, None for missing values.
        prediction: of the row itself.
    """

    curves: Mapping[str, ResponseCurve]
    row: Mapping[str, Any]
    prediction: float

    def __getitem__(self, feature: str) -> ResponseCurve:
        return self.curves[feature]

    def __iter__(self) -> Iterator[str]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    def plot(self) -> Any:
        """Draw how the prediction answers to each feature, with matplotlib.

        The row's own value is a dot, kinks are ticks, crossings are crosses, and a dotted line is the prediction
        without the feature.

        Returns:
            The figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return draw_curves(self.curves, self.row, self.prediction)


@dataclass(frozen=True)
class ResponseSurface:
    """Hold a row's scores and predictions (P, Q) as two of its features take other values."""

    features: tuple[str, str]
    values: tuple[NDArray[Any], NDArray[Any]]
    scores: FloatArray
    predictions: FloatArray


def response_curves(predictor: Predictor, output: Output, row: FloatArray, which: Sequence[int]) -> ResponseCurves:
    """Compute response curves of some features through a row, each over the training range and the row's own value.

    Args:
        predictor: what scores.
        output: what is looked at.
        row: columns (F,) as ``FeatureSpace.encode`` gives them.
        which: positions of the features.
    """
    numeric = [i for i in which if not predictor.features.features[i].num_codes]
    found = _numeric_curves(predictor, output, row, numeric)
    found |= {i: _table(predictor, output, row, i) for i in which if i not in found}
    features = predictor.features
    prediction = float(output.predict(predictor.scores(row[None]))[0])
    return ResponseCurves({features.names[i]: found[i] for i in which}, row_values(features, row), prediction)


def response_surface(predictor: Predictor, output: Output, row: FloatArray, pair: tuple[int, int]) -> ResponseSurface:
    """Score a grid of two features' values, each over the training range; nothing is added between them."""
    axes = []
    for i in pair:
        feature = predictor.features.features[i]
        axes.append(
            np.arange(_num_choices(feature), dtype=np.float64)
            if feature.num_codes
            else np.unique(np.append(np.linspace(*_range(feature, row[i]), SURFACE_STEPS), _own(row[i])))
        )
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    columns = np.tile(row, (grid[..., 0].size, 1))
    columns[:, list(pair)] = grid.reshape(-1, 2)
    scores, predictions = _look(predictor, output, columns)
    a, b = (_shown(predictor.features.features[i], axis) for i, axis in zip(pair, axes, strict=True))
    names = predictor.features.names[pair[0]], predictor.features.names[pair[1]]
    return ResponseSurface(names, (a, b), scores.reshape(grid.shape[:2]), predictions.reshape(grid.shape[:2]))


def _numeric_curves(
    predictor: Predictor, output: Output, row: FloatArray, which: Sequence[int]
) -> dict[int, ResponseCurve]:
    knots, grids = {}, []
    place = predictor.features.coordinates(row[None])[0]
    for i in which:
        low, high = _range(predictor.features.features[i], row[i])
        inside = np.unique(predictor.features.features[i].value(predictor.ensemble.pencil.curves.knots_along(place, i)))
        knots[i] = inside[(inside > low) & (inside < high)]
        even = _even(predictor.features.features[i], low, high)
        first = knots[i] if len(knots[i]) <= ALL_KNOTS else np.empty(0)
        grids.append(np.unique(np.concatenate([even, first, _own(row[i])])))
    if not grids:
        return {}
    owner, values = np.repeat(which, [len(grid) for grid in grids]), np.concatenate(grids)
    owner, values, scores, predictions = _refined(predictor, output, row, owner, values, knots)
    crossings = find_crossings(predictor, output, _moved(row, owner, values), owner, values)
    found = {}
    for i in which:
        own = owner == i
        found[i] = ResponseCurve(
            feature=predictor.features.names[i],
            values=values[own],
            scores=scores[own],
            predictions=predictions[own],
            kinks=np.intersect1d(knots[i], values[own]),
            crossings=tuple(crossings.get(i, ())),
            missing=_missing(predictor, output, row, i),
        )
    return found


def _refined(
    predictor: Predictor,
    output: Output,
    row: FloatArray,
    owner: NDArray[np.int64],
    values: FloatArray,
    knots: Mapping[int, FloatArray],
) -> tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray]:
    """Return all curves' vertices and those between them that straight lines would miss: by owner and value."""
    heights = _look(predictor, output, _moved(row, owner, values))
    allowed = np.empty(heights.shape)
    for i in np.unique(owner):
        own = heights[:, owner == i]
        # A flat curve is its own rounding: there is nothing to refine.
        least = np.maximum(FAITHFUL * np.ptp(own, axis=1), 1e-9 * np.abs(own).max(axis=1))
        allowed[:, owner == i] = least[:, None]
    kept = [(owner, values, heights)]
    left = np.flatnonzero(owner[1:] == owner[:-1])
    of, ends = owner[left], np.stack([values[left], values[left + 1]])
    at_ends, allowed = np.stack([heights[:, left], heights[:, left + 1]]), allowed[:, left]
    for _ in range(ROUNDS):
        middle = _splits(of, ends, knots)
        share = (middle - ends[0]) / (ends[1] - ends[0])
        at_middle = _look(predictor, output, _moved(row, of, middle))
        bent = (np.abs(at_middle - at_ends[0] - share * (at_ends[1] - at_ends[0])) > allowed).any(axis=0)
        bent &= (middle > ends[0]) & (middle < ends[1])
        if not bent.any():
            break
        of, middle, at_middle = of[bent], middle[bent], at_middle[:, bent]
        ends, at_ends, allowed = ends[:, bent], at_ends[..., bent], np.tile(allowed[:, bent], 2)
        kept.append((of, middle, at_middle))
        of = np.tile(of, 2)
        ends = np.stack([np.append(ends[0], middle), np.append(middle, ends[1])])
        at_ends = np.stack([np.append(at_ends[0], at_middle, axis=1), np.append(at_middle, at_ends[1], axis=1)])
    owner, values = (np.concatenate([part[k] for part in kept]) for k in range(2))
    scores, predictions = np.concatenate([part[2] for part in kept], axis=1)
    order = np.lexsort((values, owner))
    return owner[order], values[order], scores[order], predictions[order]


def _splits(of: NDArray[np.int64], ends: FloatArray, knots: Mapping[int, FloatArray]) -> FloatArray:
    """Choose where to split each interval: at the knot nearest to its middle, or there if none is near."""
    middle = ends.mean(axis=0)
    for i in np.unique(of):
        own, places = np.flatnonzero(of == i), knots[int(i)]
        if not len(places):
            continue
        after = np.searchsorted(places, middle[own])
        for side in (after - 1, after):
            nearest = places[np.clip(side, 0, len(places) - 1)]
            near = np.abs(nearest - ends[:, own].mean(axis=0)) < 0.25 * (ends[1, own] - ends[0, own])
            middle[own[near]] = nearest[near]
    return middle


def _table(predictor: Predictor, output: Output, row: FloatArray, index: int) -> ResponseCurve:
    feature = predictor.features.features[index]
    codes = np.arange(_num_choices(feature), dtype=np.float64)
    scores, predictions = _look(predictor, output, _moved(row, np.full(len(codes), index), codes))
    missing = _missing(predictor, output, row, index)
    return ResponseCurve(feature.name, _shown(feature, codes), scores, predictions, np.empty(0), (), missing)


def _missing(predictor: Predictor, output: Output, row: FloatArray, index: int) -> tuple[float, float] | None:
    if not predictor.features.features[index].missing:
        return None
    (score,), (prediction,) = _look(predictor, output, _moved(row, np.array([index]), np.array([np.nan])))
    return float(score), float(prediction)


def _look(predictor: Predictor, output: Output, columns: FloatArray) -> FloatArray:
    """Return scores and predictions, (2, P)."""
    scores = predictor.scores(columns)
    return np.stack([output.score(scores), output.predict(scores)])


def _moved(row: FloatArray, owner: NDArray[np.int64], values: FloatArray) -> FloatArray:
    columns = np.tile(row, (len(values), 1))
    columns[np.arange(len(values)), owner] = values
    return columns


def _own(value: float) -> FloatArray:
    return np.empty(0) if np.isnan(value) else np.array([value])


def _range(feature: Feature, value: float) -> tuple[float, float]:
    return (feature.low, feature.high) if np.isnan(value) else (min(feature.low, value), max(feature.high, value))


def _even(feature: Feature, low: float, high: float) -> FloatArray:
    """Space values evenly; where the model takes logarithms, half of them evenly spaced in these."""
    if feature.transform == "identity":
        return np.linspace(low, high, FIRST_VERTICES)
    first, last = feature.coordinate(np.array([low, high])).tolist()
    half = FIRST_VERTICES // 2 + 1
    # Not the ends, which rounding might move.
    inner = feature.value(np.linspace(first, last, half))[1:-1]
    return np.append(np.linspace(low, high, half), inner[(inner > low) & (inner < high)])


def _num_choices(feature: Feature) -> int:
    """Count the categories that training knew; the code for all others cannot be chosen."""
    return len(feature.categories) if feature.kind == "categorical" else 2


def _shown(feature: Feature, values: FloatArray) -> NDArray[Any]:
    """Return values as a request writes them."""
    if feature.kind == "categorical":
        return np.array([feature.categories[int(code)] for code in values], object)
    return values.astype(bool) if feature.kind == "boolean" else values
