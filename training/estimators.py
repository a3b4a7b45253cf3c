"""SpectralRegressor and SpectralClassifier: scikit-learn estimators around fit."""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from model.checkpoint import read_checkpoint, write_checkpoint
from model.explain import Explanation
from model.features import FloatArray
from model.spectral import ClassLabel, SpectralModel
from model.store import ModelStore, load_model
from training.columns import array_names, merge_equal_rows, read_columns, read_target
from training.fit import fit_rows
from training.settings import FitSettings, make_settings
from training.table import Target, UserError

Pairs = Literal["auto", "none"] | list[tuple[str, str]]


class _SpectralEstimator(BaseEstimator):  # type: ignore[misc]
    """What the regressor and the classifier share: everything but the target.

    A fit does not depend on the order of rows, and a row of weight two counts as two equal rows: equal rows are
    merged, their weights added.

    Attributes:
        model_: the trained model, as the command line would store it.
        notes_: what you should know about the data.
        n_features_in_, feature_names_in_: of the table trained on; names only if it had any.
    """

    def __init__(
        self,
        *,
        members: int = 8,
        dim: int = 15,
        pairs: Pairs = "auto",
        monotone: Mapping[str, str] | None = None,
        budget: float = 60.0,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.members = members
        self.dim = dim
        self.pairs = pairs
        self.monotone = monotone
        self.budget = budget
        self.random_state = random_state

    def predict(self, X: Any) -> NDArray[Any]:
        """(N,) predictions for N rows: an array or a DataFrame as fitted on; a missing value is NaN.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: rows with other columns than those fitted on, or an infinity.
        """
        model, rows = self._rows(X)
        return model.predict(rows)

    def explain(self, X: Any, *, target: ClassLabel | None = None) -> Explanation:
        """Scores of N rows taken apart into one contribution per term, exactly.

        Args:
            X: as for ``predict``.
            target: the class to explain; by default the second of two, the predicted one of several.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: no rows of this model, or an unknown class.
        """
        model, rows = self._rows(X)
        return model.explain(rows, target=target)

    def save(self, store: str | os.PathLike[str], name: str) -> Path:
        """Write the model as the next version of ``name`` into a store; returns its folder.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: a name that cannot be one.
        """
        check_is_fitted(self)
        saved = ModelStore(Path(store)).save(name, self.model_)
        return Path(store) / name / str(saved.card["version"])

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str]) -> Self:
        """An estimator around the model at STORE/NAME or STORE/NAME/VERSION.

        Raises:
            ModelNotFoundError, CheckpointError: nothing there, or something damaged.
            ValueError: a model of another task.
        """
        model = load_model(path)
        settings = dict(model.card.get("training", {}).get("settings", {}))
        told = {name: settings[name] for name in ("members", "dim", "budget", "loss", "quantile") if name in settings}
        estimator = cls(
            **{name: value for name, value in told.items() if name in cls._get_param_names()},
            pairs="auto" if settings.get("pairs") is None else [tuple(pair) for pair in settings["pairs"]],
            monotone=dict(settings.get("monotone", ())) or None,
            random_state=settings.get("seed", 0),
        )
        estimator.n_features_in_ = len(model.features)
        if model.features.names != array_names(estimator.n_features_in_):
            estimator.feature_names_in_ = np.array(model.features.names, dtype=object)
        return estimator._adopt(model)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The parameters and the files of the checkpoint: a pickle outlives changes of the classes inside."""
        state = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                write_checkpoint(Path(folder), state["model_"])
                state["model_"] = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.get("model_")
        if isinstance(files, dict):
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    (Path(folder) / name).write_bytes(content)
                state = {**state, "model_": read_checkpoint(Path(folder))}
        super().__setstate__(state)

    @abstractmethod
    def _adopt(self, model: SpectralModel) -> Self:
        """Take over a trained model."""

    def _settings(self, **told: Any) -> FitSettings:
        """The settings that the parameters stand for.

        Raises:
            ValueError: a parameter out of range.
        """
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        common = {"members": self.members, "dim": self.dim, "pairs": self.pairs, "budget": self.budget}
        try:
            return make_settings({**common, "monotone": self.monotone or {}, "seed": int(seed), **told})
        except UserError as error:
            raise ValueError(str(error)) from error

    def _train(self, table: pd.DataFrame, target: Target, sample_weight: Any, settings: FitSettings) -> Self:
        weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        table, target, weight = merge_equal_rows(table, target, weight)
        if len(table) < 2:
            raise ValueError("at least 2 different rows with a weight are needed; got 1 sample")
        try:
            fitted = fit_rows(table, target, weight, settings)
        except UserError as error:
            raise ValueError(str(error)) from error
        self.notes_ = list(fitted.notes)
        return self._adopt(fitted.model)

    def _rows(self, X: Any) -> tuple[SpectralModel, pd.DataFrame]:
        check_is_fitted(self)
        return self.model_, read_columns(self, X, reset=False)


class SpectralRegressor(RegressorMixin, _SpectralEstimator):  # type: ignore[misc]
    """Predicts a number by an eigenvalue, each prediction explained exactly.

    Args:
        loss: auto, squared, huber, absolute, quantile, or poisson for counts and rates.
        quantile: which one, for that loss.
        members: spectral neurons whose mean is the score.
        dim: size of their matrices.
        pairs: pairs of features with a term of their own: "auto" to find them, "none", or a list of them.
        monotone: feature -> "+" or "-": the prediction never falls, or never rises, along it.
        budget: seconds that the search for a configuration may take, about.
        random_state: of everything random.
    """

    def __init__(
        self,
        *,
        loss: str = "auto",
        quantile: float = 0.5,
        members: int = 8,
        dim: int = 15,
        pairs: Pairs = "auto",
        monotone: Mapping[str, str] | None = None,
        budget: float = 60.0,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        super().__init__(
            members=members, dim=dim, pairs=pairs, monotone=monotone, budget=budget, random_state=random_state
        )
        self.loss = loss
        self.quantile = quantile

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on N rows.

        Args:
            X: (N, F) numbers, or a DataFrame, whose texts, booleans and categories are categorical.
            y: (N,) numbers.
            sample_weight: (N,), at least 0; by default all rows count the same.

        Raises:
            ValueError: data or a parameter that cannot be trained with.
        """
        poisson = self.loss == "poisson"
        loss = {} if poisson else {"loss": self.loss, "quantile": self.quantile}
        settings = self._settings(**loss)
        table = read_columns(self, X, reset=True)
        values = read_target(y, len(table))
        if poisson and (values < 0).any():
            raise ValueError(f"targets of the loss poisson must be at least 0; got {values.min():g}")
        goal = Target(_name(y), "poisson" if poisson else "regression", values)
        return self._train(table, goal, sample_weight, settings)

    def predict_interval(self, X: Any, level: float = 0.9) -> FloatArray:
        """(N, 2): intervals that hold the target with probability ``level``, on average over rows (split-conformal).

        Raises:
            NotFittedError: before ``fit``.
            ValueError: a level that the model keeps no intervals of, or a loss that has none.
        """
        model, rows = self._rows(X)
        radii = model.card.get("intervals", {})
        if f"{level:g}" not in radii:
            raise ValueError(f"level must be one of {', '.join(radii) or 'none: no intervals are kept'}; got {level}")
        predicted = model.predict(rows)
        radius = radii[f"{level:g}"]
        return np.stack([predicted - radius, predicted + radius], axis=1)

    def _adopt(self, model: SpectralModel) -> Self:
        if model.classes:
            raise ValueError(f"a {model.task} model is for SpectralClassifier")
        if model.task == "poisson":
            self.loss = "poisson"
        self.model_ = model
        return self


class SpectralClassifier(ClassifierMixin, _SpectralEstimator):  # type: ignore[misc]
    """Predicts classes, whose log-odds (or softmax scores) are eigenvalues, each explained exactly.

    Args:
        class_weight: None, "balanced", or a weight for each class.
        members: spectral neurons whose mean is the score of a class.
        dim: size of their matrices.
        pairs: pairs of features with a term of their own: "auto" to find them, "none", or a list of them.
        monotone: feature -> "+" or "-": the score never falls, or never rises, along it.
        budget: seconds that the search for a configuration may take, about.
        random_state: of everything random.

    Attributes:
        classes_: labels in the order of ``predict_proba``.
    """

    def __init__(
        self,
        *,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        members: int = 8,
        dim: int = 15,
        pairs: Pairs = "auto",
        monotone: Mapping[str, str] | None = None,
        budget: float = 60.0,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        super().__init__(
            members=members, dim=dim, pairs=pairs, monotone=monotone, budget=budget, random_state=random_state
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
        table = read_columns(self, X, reset=True)
        labels = read_target(y, len(table), numeric=False)
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
        return self._train(table, goal, weight, settings)

    def predict_proba(self, X: Any) -> FloatArray:
        """(N, classes) probabilities, in the order of ``classes_``."""
        model, rows = self._rows(X)
        return model.predict_proba(rows)

    def decision_function(self, X: Any) -> FloatArray:
        """Scores: (N,) log-odds of the second of two classes, or (N, classes)."""
        model, rows = self._rows(X)
        scores = model.scores(model.features.encode(rows))
        return scores[:, 0] if model.task == "binary" else scores

    def _adopt(self, model: SpectralModel) -> Self:
        if not model.classes:
            raise ValueError(f"a {model.task} model is for SpectralRegressor")
        self.classes_ = np.array(model.classes)
        self.model_ = model
        return self


def _name(y: Any) -> str:
    """The name of a Series, or "y"."""
    name = getattr(y, "name", None)
    return "y" if name is None else str(name)
