"""Wrap fit in scikit-learn estimators: SpectralRegressor and SpectralClassifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import category_key
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.target import Target
from eigenserve.training.estimators.arrays import read_features, read_target
from eigenserve.training.estimators.base import Pairs, SpectralEstimator


class SpectralRegressor(RegressorMixin, SpectralEstimator):  # type: ignore[misc]
    """Predict a number by an eigenvalue, each prediction explained exactly.

    Args:
        loss: auto, squared, huber, absolute, quantile, poisson for counts and rates, gamma for positive costs, or
            tweedie for costs that may be zero.
        quantile: which one, for that loss.
        power: of Tweedie's variance, between 1 and 2, for that loss.
        link: identity for a score on the target's scale, log for its logarithm, auto for the better.
        members: spectral neurons whose mean is the score; None for as many as the size allows.
        dim: size of their matrices; None to let the search choose.
        pairs: pairs of features with a separate term: "auto" to find them, "none", or a list of them.
        monotone: feature -> "+" or "-": the prediction never falls, or never rises, along it.
        types: column -> number, category, date, time or boolean, where that is not to be inferred; a column of these is
            kept even if all of its values differ.
        budget: seconds that a fit may take, about.
        reproducible: end its phases by the plan alone, so that the same rows and ``random_state`` give the same model
            on every machine; False lets the clock end a fit that is behind its plan.
        device: where members are trained: "cpu", "cuda" or "cuda:N".
        random_state: of everything random.
    """

    def __init__(
        self,
        *,
        loss: str = "auto",
        quantile: float = 0.5,
        power: float = 1.5,
        link: str = "auto",
        members: int | None = None,
        dim: int | None = None,
        pairs: Pairs = "auto",
        monotone: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
        budget: float = 60.0,
        reproducible: bool = True,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        super().__init__(
            members=members,
            dim=dim,
            pairs=pairs,
            monotone=monotone,
            types=types,
            budget=budget,
            reproducible=reproducible,
            device=device,
            random_state=random_state,
        )
        self.loss = loss
        self.quantile = quantile
        self.power = power
        self.link = link

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on N rows.

        Args:
            X: (N, F) numbers, or a DataFrame, whose texts, booleans and categories are categorical.
            y: (N,) numbers; of durations, hours are predicted.
            sample_weight: (N,), at least 0; by default all rows count the same.

        Raises:
            ValueError: data or a parameter that cannot be trained with.
        """
        poisson = self.loss == "poisson"
        loss = "auto" if poisson else self.loss
        settings = self._settings(loss=loss, quantile=self.quantile, power=self.power, link=self.link)
        table = read_features(self, X, reset=True)
        values, notes = read_target(y, len(table))
        if poisson and (values < 0).any():
            raise ValueError(f"targets of the loss poisson must be at least 0; got {values.min():g}")
        goal = Target(_name(y), "poisson" if poisson else "regression", values)
        self._train(table, goal, sample_weight, settings)
        self.notes_ = [*notes, *self.notes_]
        return self

    def predict_interval(self, X: Any, level: float = 0.9) -> FloatArray:
        """Predict split-conformal intervals (N, 2): they hold the target with probability ``level``, on average.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: a level that the model keeps no intervals of, or a loss that has none.
        """
        model, rows = self._rows(X)
        return model.predict_interval(rows, level)

    def _adopt(self, model: SpectralModel) -> Self:
        if model.classes:
            raise ValueError(f"a {model.task} model is for SpectralClassifier")
        if model.task == "poisson":
            self.loss = "poisson"
        self.model_ = model
        return self


class SpectralClassifier(ClassifierMixin, SpectralEstimator):  # type: ignore[misc]
    """Predict classes, whose log-odds (or softmax scores) are eigenvalues, each explained exactly.

    Args:
        class_weight: None, "balanced", or a weight for each class.
        members: spectral neurons whose mean is the score of a class.
        dim: size of their matrices.
        pairs: pairs of features with a separate term: "auto" to find them, "none", or a list of them.
        monotone: feature -> "+" or "-": the score never falls, or never rises, along it.
        types: column -> number, category, date, time or boolean, where that is not to be inferred; a column of these is
            kept even if all of its values differ.
        budget: seconds that a fit may take, about.
        reproducible: end its phases by the plan alone, so that the same rows and ``random_state`` give the same model
            on every machine; False lets the clock end a fit that is behind its plan.
        device: where members are trained: "cpu", "cuda" or "cuda:N".
        random_state: of everything random.

    Attributes:
        classes_: labels in the order of ``predict_proba``, each spelling a class, as scikit-learn has it; ``notes_``
            names those that differ by blanks or capital letters alone.
    """

    def __init__(
        self,
        *,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        members: int | None = None,
        dim: int | None = None,
        pairs: Pairs = "auto",
        monotone: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
        budget: float = 60.0,
        reproducible: bool = True,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        super().__init__(
            members=members,
            dim=dim,
            pairs=pairs,
            monotone=monotone,
            types=types,
            budget=budget,
            reproducible=reproducible,
            device=device,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on N rows.

        Args:
            X: (N, F) numbers, or a DataFrame, whose texts, booleans and categories are categorical.
            y: (N,) labels of at least two classes.
            sample_weight: (N,), at least 0; by default all rows count the same.

        Raises:
            ValueError: data or a parameter that cannot be trained with.
        """
        settings = self._settings()
        table = read_features(self, X, reset=True)
        labels, _ = read_target(y, len(table), numeric=False)
        check_classification_targets(labels)
        weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        classes = np.unique(labels[weight > 0])
        if len(classes) < 2:
            raise ValueError("at least two classes are needed among rows with a weight; got one class")
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, labels)
        goal = Target(
            name=_name(y),
            task="binary" if len(classes) == 2 else "multiclass",
            values=np.searchsorted(classes, labels).astype(np.float64),
            classes=tuple(classes.tolist()),
        )
        self._train(table, goal, weight, settings)
        self.notes_ = [*_spelling_notes(self.classes_), *self.notes_]
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Predict probabilities (N, classes), in the order of ``classes_``."""
        model, rows = self._rows(X)
        return model.predict_proba(rows)

    def decision_function(self, X: Any) -> FloatArray:
        """Return scores: (N,) log-odds of the second of two classes, or (N, classes)."""
        model, rows = self._rows(X)
        scores = model.scores(model.features.encode(rows))
        return scores[:, 0] if model.task == "binary" else scores

    def _adopt(self, model: SpectralModel) -> Self:
        if not model.classes:
            raise ValueError(f"a {model.task} model is for SpectralRegressor")
        self.classes_ = np.array(model.classes)
        self.model_ = model
        return self


def _spelling_notes(classes: NDArray[Any]) -> Iterator[str]:
    """Say which labels differ by blanks or capital letters alone: to scikit-learn they are different classes."""
    spellings: dict[str, list[Any]] = {}
    for label in classes.tolist():
        spellings.setdefault(category_key(label).casefold(), []).append(label)
    for alike in spellings.values():
        if len(alike) > 1:
            shown = ", ".join(map(repr, alike))
            yield (
                f"the labels {shown} of y are {len(alike)} classes, though they differ by blanks, unseen signs, "
                "capital letters or type alone: if they are one, give them one spelling in y"
            )


def _name(y: Any) -> str:
    """Return the name of a Series, or "y"."""
    name = getattr(y, "name", None)
    return "y" if name is None else str(name)
