"""SpectralModel: rows in, predictions and explanations out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from model.attributions import attribute
from model.baseline import baseline_columns
from model.ensemble import SpectralEnsemble
from model.explain import METHODS, Explanation, explain
from model.features import FeatureSpace, FloatArray
from model.intervals import ScoreInterval, certified_radius, score_interval

Task = Literal["regression", "binary", "multiclass", "poisson"]
Link = Literal["identity", "logistic", "softmax", "exp"]
ClassLabel = str | int | float | bool

#: A task's prediction is link_inverse(score).
LINKS: dict[Task, Link] = dict(zip(get_args(Task), get_args(Link), strict=True))


@dataclass(frozen=True)
class SpectralModel:
    """A trained tridiagonal spectral model.

    Attributes:
        task: regression, binary, multiclass or poisson.
        target: name of the predicted column.
        features: the features it takes.
        ensemble: the members that score.
        classes: labels of a classifier in the order of its outputs; a binary model scores the second one.
        card: what else its checkpoint says of it: name, version, metrics, training settings.
    """

    task: Task
    target: str
    features: FeatureSpace
    ensemble: SpectralEnsemble
    classes: tuple[ClassLabel, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = {"binary": 2, "multiclass": len(self.classes)}.get(self.task, 0)
        if len(self.classes) != expected or (self.task == "multiclass" and expected < 2):
            raise ValueError(f"a {self.task} model must have {expected or 'no'} classes; got {self.classes}")
        outputs = len(self.classes) if self.task == "multiclass" else 1
        if self.ensemble.num_outputs != outputs:
            raise ValueError(f"a {self.task} model has {outputs} outputs; got {self.ensemble.num_outputs}")
        _check_curves(self.features, self.ensemble)

    @property
    def link(self) -> Link:
        """The link of the task."""
        return LINKS[self.task]

    def scores(self, columns: FloatArray) -> FloatArray:
        """Columns (N, F) as ``features.encode`` gives them -> scores (N, O)."""
        return self.ensemble.scores(self.features.coordinates(columns))

    def predict(self, rows: Any) -> NDArray[Any]:
        """Rows (see ``FeatureSpace.encode``) -> (N,) predictions: numbers, or class labels.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
        """
        scores = self.scores(self.features.encode(rows))
        return self.labels(self.probabilities(scores)) if self.classes else self.values(scores)

    def predict_proba(self, rows: Any) -> FloatArray:
        """Rows -> (N, classes) probabilities, in the order of ``classes``.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: the model is no classifier.
        """
        if not self.classes:
            raise ValueError(f"only classifiers have probabilities; this is a {self.task} model")
        return self.probabilities(self.scores(self.features.encode(rows)))

    @cached_property
    def interval_levels(self) -> tuple[float, ...]:
        """Levels at which the card keeps radii of prediction intervals, ascending; none for classifiers."""
        return tuple(sorted(self._radii))

    def predict_interval(self, rows: Any, level: float = 0.9) -> FloatArray:
        """Rows -> (N, 2): intervals that hold the target with probability ``level``, on average over rows.

        Split-conformal: of equal width for all rows, which must be like those trained on.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: a level that the model keeps no intervals of.
        """
        return self.intervals(self.scores(self.features.encode(rows)), level)

    def intervals(self, scores: FloatArray, level: float) -> FloatArray:
        """As ``predict_interval``, for scores (N, 1)."""
        if level not in self._radii:
            levels = ", ".join(f"{have:g}" for have in self.interval_levels) or "none: no intervals are kept"
            raise ValueError(f"level must be one of {levels}; got {level}")
        predicted, radius = self.values(scores), self._radii[level]
        return np.stack([predicted - radius, predicted + radius], axis=1)

    @cached_property
    def _radii(self) -> dict[float, float]:
        kept = {} if self.classes else self.card.get("intervals") or {}
        return {float(level): float(radius) for level, radius in kept.items()}

    def explain(
        self,
        rows: Any,
        method: str = "eigenvector",
        target: ClassLabel | None = None,
        *,
        baseline: Any = None,
        seed: int = 0,
    ) -> Explanation:
        """Rows -> their scores taken apart (see ``Explanation``).

        Args:
            rows: as for ``predict``.
            method: "eigenvector", by term; or, by feature and against a baseline row, "path" (Aumann-Shapley,
                see ``model.path``) or "shapley" (all coalitions, see ``model.shapley``).
            target: the class whose score to explain; by default the second of two, the predicted of several.
            baseline: the row that "path" and "shapley" compare with; the training medians and modes by default.
            seed: of the permutations that "shapley" draws where a row has too many features for all coalitions.

        Raises:
            InvalidRowsError: rows, or a baseline, that are not rows of this model.
            ValueError: unknown method or class, or a baseline for "eigenvector", which has its own.
        """
        if baseline is not None:
            if method == "eigenvector":
                raise ValueError('baseline must be left out for the method "eigenvector", which has its own')
            baseline = baseline_columns(self.features, baseline)
        columns = self.features.encode(rows)
        return self.explain_columns(columns, method=method, target=target, baseline=baseline, seed=seed)

    def explain_columns(
        self,
        columns: FloatArray,
        method: str = "eigenvector",
        target: ClassLabel | None = None,
        baseline: FloatArray | None = None,
        seed: int = 0,
    ) -> Explanation:
        """As ``explain``, for encoded columns (N, F) and an encoded baseline (F,)."""
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
        outputs = self._outputs(columns, target)
        found = explain(self.features, self.ensemble, columns, outputs)
        if method == "eigenvector":
            return found
        if baseline is None:
            baseline = baseline_columns(self.features)
        return attribute(self.features, self.ensemble, found, method, columns, baseline, outputs, seed)

    def certify(self, row: Any, radii: Mapping[str, float]) -> ScoreInterval:
        """A proved interval of the scores of all rows within ``radii`` of a row (see ``model.intervals``).

        Args:
            row: a mapping by feature name, or a sequence in column order.
            radii: by feature, in its own unit; positive for "any value" of a categorical or boolean feature.

        Raises:
            InvalidRowsError: a row that is not one of this model.
            ValueError: an unknown feature, or a radius that is negative or not finite.
        """
        return score_interval(self.features, self.ensemble, baseline_columns(self.features, row), radii)

    def certified_radius(self, row: Any, scales: Mapping[str, float], threshold: float = 0.0) -> float:
        """A share of ``scales`` within which the row's decision is proved not to change (see ``model.intervals``)."""
        columns = baseline_columns(self.features, row)
        return certified_radius(self.features, self.ensemble, columns, scales, threshold)

    def values(self, scores: FloatArray) -> FloatArray:
        """Scores (N, 1) -> predictions (N,) of a model without classes."""
        return np.exp(scores[:, 0]) if self.link == "exp" else scores[:, 0]

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Scores (N, O) -> (N, classes)."""
        if self.link == "softmax":
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        # The smaller one is computed as such, not as 1 - p, which would lose its digits. By hand, not by scipy.special:
        # importing it costs a server 30 MB and 0.2 s.
        power = np.exp(-np.abs(scores[:, 0]))
        larger, smaller = 1 / (1 + power), power / (1 + power)
        positive = scores[:, 0] > 0
        return np.stack([np.where(positive, smaller, larger), np.where(positive, larger, smaller)], axis=1)

    def labels(self, probabilities: FloatArray) -> NDArray[Any]:
        """(N, classes) -> the most probable class of each row (of equal ones the first)."""
        return np.array(self.classes)[probabilities.argmax(axis=1)]

    def _outputs(self, columns: FloatArray, target: ClassLabel | None) -> FloatArray:
        """The combination of outputs that scores the class ``target``, for each row."""
        if target is not None:
            if target not in self.classes:
                allowed = f"one of {', '.join(map(repr, self.classes))}" if self.classes else "left out: no classes"
                raise ValueError(f"target must be {allowed}; got {target!r}")
            chosen = np.full(len(columns), self.classes.index(target))
        elif self.task == "multiclass":
            chosen = self.scores(columns).argmax(axis=1)
        else:
            chosen = np.ones(len(columns), int)
        if self.task == "multiclass":
            return np.eye(len(self.classes))[chosen]
        return np.where(chosen, 1.0, -1.0)[:, None]


def _check_curves(features: FeatureSpace, ensemble: SpectralEnsemble) -> None:
    """A row must never be led to a matrix that is not there: the kernels trust this."""
    pencil = ensemble.pencil
    for term in pencil.terms:
        if not term.features or not set(term.features) <= set(range(len(features))):
            raise ValueError(f"term {term.name!r} must have features of the model; got {term.features}")
    for i, curve in enumerate(pencil.curves.curves):
        if not 0 <= curve.term < len(pencil.terms):
            raise ValueError(f"curve {i} must have a term in [0, {len(pencil.terms)}); got {curve.term}")
        term = pencil.terms[curve.term]
        if not set(curve.numeric + curve.categorical) <= set(term.features):
            raise ValueError(f"curve {i} must use only features of its term {term.name!r}")
        if max(len(curve.numeric), len(curve.categorical)) > 2:
            raise ValueError(f"curve {i} must have at most two features of a kind")
        if len(curve.direction) != len(curve.numeric):
            raise ValueError(f"curve {i} must have a weight for each numeric feature")
        expected = tuple(features.features[f].num_codes for f in curve.categorical)
        if curve.num_codes != expected:
            names = " and ".join(repr(features.names[f]) for f in curve.categorical)
            raise ValueError(f"curve {i} must have a path for each of {names}'s codes")
        if any(features.features[f].num_codes == 0 for f in curve.categorical):
            raise ValueError(f"curve {i} must choose its path by categories")
        if any(features.features[f].kind == "categorical" for f in curve.numeric):
            raise ValueError(f"curve {i} must walk by numbers, not by categories")
        if not curve.knots:
            raise ValueError(f"curve {i} must have at least one knot")
        if not all(np.diff(curve.knots) > 0):
            raise ValueError(f"curve {i} must have ascending knots")
        if not np.isfinite(curve.knots + curve.direction).all():
            raise ValueError(f"curve {i} must have finite knots and a finite direction")
        if not curve.missing and any(features.features[f].missing for f in curve.numeric + curve.categorical):
            raise ValueError(f"curve {i} must have a matrix for missing values")
