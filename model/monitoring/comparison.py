"""Compare two models on the same rows: their predictions, decisions and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import explain
from eigenserve.model.monitoring.sketch import METHOD, spread
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.cells import category_key

#: Rows that are explained by both models.
EXPLAINED_ROWS = 5_000
#: Differences of prediction that are given: shares of rows whose difference is at most so large.
QUANTILES = (0.5, 0.9, 0.99, 1.0)
#: A feature with less than this share of a model's contributions, and ten times it of the other's, is not used by it.
UNUSED_SHARE = 0.005
#: Rows that are shown.
SHOWN_ROWS = 5


class FeatureShare(NamedTuple):
    """Compare how much of two models' contributions a feature has.

    Attributes:
        name: of the feature.
        first, second: its share of all contributions' size, pairs shared equally; None where a model does not have it.
    """

    name: str
    first: float | None
    second: float | None

    @property
    def change(self) -> float:
        """Return how far the shares are apart."""
        return abs((self.first or 0.0) - (self.second or 0.0))


class DifferentRow(NamedTuple):
    """Show a row on which two models differ: its position, their predictions, and the feature that differs most."""

    row: int
    first: float
    second: float
    feature: str


@dataclass(frozen=True)
class Comparison:
    """Hold how a second model differs from a first on N rows.

    Attributes:
        rows: N.
        unit: what predictions are: the target, or the probability of a class.
        spread: standard deviation of the first's predictions.
        mean: mean of second minus first.
        quantiles: of the size of the difference, at ``QUANTILES``.
        correlation: of the predictions; None where one is constant.
        cutoff: where the decision is made; None for several classes, of which the most probable is the decision.
        sides: rows (not below it by both, by the first alone, by the second alone, by neither); of several classes the
            same class in place of the first, and the others together in the second, with zeros behind.
        explained: how many rows were explained.
        same_leading: share of rows whose largest contribution is the same feature's.
        shares: of features, those that differ most first.
        only_first, only_second: features that the other model was trained without.
        unused_first, unused_second: features of both that one makes no use of.
        different: rows that differ most.
    """

    rows: int
    unit: str
    spread: float
    mean: float
    quantiles: tuple[float, ...]
    correlation: float | None
    cutoff: float | None
    sides: tuple[int, int, int, int]
    explained: int
    same_leading: float
    shares: tuple[FeatureShare, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    unused_first: tuple[str, ...]
    unused_second: tuple[str, ...]
    different: tuple[DifferentRow, ...]

    @property
    def changed_sides(self) -> float:
        """Return the share of rows that are decided differently."""
        return (self.sides[1] + self.sides[2]) / self.rows

    def document(self) -> dict[str, Any]:
        """Return its JSON form."""
        return {
            **{key: value for key, value in vars(self).items() if key not in ("quantiles", "shares", "different")},
            "quantiles": {f"{share:g}": size for share, size in zip(QUANTILES, self.quantiles, strict=True)},
            "changed_sides": self.changed_sides,
            "shares": [share._asdict() for share in self.shares],
            "different": [row._asdict() for row in self.different],
        }


def compare(
    first: Predictor, second: Predictor, columns: tuple[FloatArray, FloatArray], cutoff: float | None = None
) -> Comparison:
    """Compare two models on rows, given as each model's own columns.

    Args:
        first, second: models of the same task and classes.
        columns: of the same N rows, (N, F) of the first and (N, F') of the second.
        cutoff: of the prediction: of two classes the second one's probability, 0.5 by default; else of the target, by
            default the median of the first's predictions.

    Raises:
        ValueError: the models cannot be compared, or there are no rows.
    """
    check_comparable(first, second)
    if not len(columns[0]):
        raise ValueError("at least one row is needed to compare models; got none")
    scores = first.scores(columns[0]), second.scores(columns[1])
    order = _class_order(first, second)
    values = _values(first, scores[0], None), _values(second, scores[1], order)
    if first.task == "multiclass":
        labels = [each.argmax(axis=1) for each in values]
        same = int((labels[0] == labels[1]).sum())
        sides, cutoff = (same, len(labels[0]) - same, 0, 0), None
        # The probability of the class that the first predicts.
        rows = np.arange(len(labels[0]))
        one, two = values[0][rows, labels[0]], values[1][rows, labels[0]]
        unit = "probability of the first model's class"
    else:
        one, two = values
        unit = f"probability of {first.classes[1]!r}" if first.classes else first.target
        if cutoff is None:
            cutoff = 0.5 if first.classes else float(np.median(one))
        above = one >= cutoff, two >= cutoff
        sides = (
            int((above[0] & above[1]).sum()),
            int((above[0] & ~above[1]).sum()),
            int((~above[0] & above[1]).sum()),
            int((~above[0] & ~above[1]).sum()),
        )
    names, parts = _reasons(first, second, (spread(columns[0], EXPLAINED_ROWS), spread(columns[1], EXPLAINED_ROWS)))
    shares = _shares(names, parts, (first, second))
    difference = np.abs(two - one)
    return Comparison(
        rows=len(one),
        unit=unit,
        spread=float(one.std()),
        mean=float((two - one).mean()),
        quantiles=tuple(float(size) for size in np.quantile(difference, QUANTILES)),
        correlation=float(np.corrcoef(one, two)[0, 1]) if one.std() > 0.0 and two.std() > 0.0 else None,
        cutoff=cutoff,
        sides=sides,
        explained=len(parts[0]),
        same_leading=float((np.abs(parts[0]).argmax(axis=1) == np.abs(parts[1]).argmax(axis=1)).mean()),
        shares=shares,
        only_first=_without(first, second),
        only_second=_without(second, first),
        unused_first=tuple(s.name for s in shares if _is_unused(s.first, s.second)),
        unused_second=tuple(s.name for s in shares if _is_unused(s.second, s.first)),
        different=_different(first, second, columns, (one, two), difference),
    )


def check_comparable(first: Predictor, second: Predictor) -> None:
    """Refuse models whose predictions mean different things.

    Raises:
        ValueError: saying how they differ.
    """
    if first.task != second.task:
        raise ValueError(f"models must have the same task to be compared; got {first.task} and {second.task}")
    if set(map(category_key, first.classes)) != set(map(category_key, second.classes)):
        raise ValueError(f"models must have the same classes; got {first.classes} and {second.classes}")


def _class_order(first: Predictor, second: Predictor) -> list[int]:
    """Return where each class of the first stands among those of the second."""
    keys = list(map(category_key, second.classes))
    return [keys.index(category_key(label)) for label in first.classes]


def _values(model: Predictor, scores: FloatArray, order: Sequence[int] | None) -> FloatArray:
    """Return predictions (N,): numbers, or the last of two classes' probability; or (N, classes) for several."""
    if not model.classes:
        return model.values(scores)
    probabilities = model.probabilities(scores)
    probabilities = probabilities if order is None else probabilities[:, list(order)]
    return probabilities if model.task == "multiclass" else probabilities[:, 1]


def _reasons(
    first: Predictor, second: Predictor, columns: tuple[FloatArray, FloatArray]
) -> tuple[list[str], tuple[FloatArray, FloatArray]]:
    """Return the features of either model, and (N, features) contributions of each, those of pairs shared equally."""
    names = list(dict.fromkeys([*first.features.names, *second.features.names]))
    target = first.classes[1] if first.task == "binary" else None
    parts = []
    for model, rows in zip((first, second), columns, strict=True):
        labels = {category_key(label): label for label in model.classes}
        chosen = None if target is None else labels[category_key(target)]
        explained = explain(model, rows, METHOD, chosen)
        by_feature = np.zeros((len(rows), len(names)))
        for t, term in enumerate(model.ensemble.pencil.terms):
            for position in term.features:
                place = names.index(model.features.names[position])
                by_feature[:, place] += explained.contributions[:, t] / len(term.features)
        parts.append(by_feature)
    return names, (parts[0], parts[1])


def _shares(
    names: Sequence[str], parts: tuple[FloatArray, FloatArray], models: tuple[Predictor, Predictor]
) -> tuple[FeatureShare, ...]:
    sizes = [np.abs(part).mean(axis=0) for part in parts]
    whole = [float(size.sum()) or 1.0 for size in sizes]
    shares = [
        FeatureShare(
            name,
            *(
                float(size[i] / total) if name in model.features.names else None
                for size, total, model in zip(sizes, whole, models, strict=True)
            ),
        )
        for i, name in enumerate(names)
    ]
    return tuple(sorted(shares, key=lambda share: share.change, reverse=True))


def _without(model: Predictor, other: Predictor) -> tuple[str, ...]:
    return tuple(name for name in model.features.input_names if name not in other.features.names)


def _is_unused(share: float | None, other: float | None) -> bool:
    return share is not None and other is not None and share < UNUSED_SHARE and other >= 10.0 * UNUSED_SHARE


def _different(
    first: Predictor,
    second: Predictor,
    columns: tuple[FloatArray, FloatArray],
    values: tuple[FloatArray, FloatArray],
    difference: FloatArray,
) -> tuple[DifferentRow, ...]:
    chosen: NDArray[np.int64] = np.argsort(-difference, kind="stable")[:SHOWN_ROWS]
    names, parts = _reasons(first, second, (columns[0][chosen], columns[1][chosen]))
    leading = np.abs(parts[0] - parts[1]).argmax(axis=1)
    return tuple(
        DifferentRow(int(row), float(values[0][row]), float(values[1][row]), names[feature])
        for row, feature in zip(chosen.tolist(), leading.tolist(), strict=True)
    )
