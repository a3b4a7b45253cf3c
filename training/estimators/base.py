"""Share among the scikit-learn estimators: parameters, rows, explanations, checkpoints, pickles."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from eigenserve.errors import UserError
from eigenserve.model.checkpoints.files import from_bytes, to_bytes
from eigenserve.model.checkpoints.local_store import ModelStore
from eigenserve.model.checkpoints.locations import load_model
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.predictor import ClassLabel
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.oddities.doubts import sentinel_notes, without_identifiers
from eigenserve.training.data.reading_options import reading_options
from eigenserve.training.data.target import Target
from eigenserve.training.estimators.arrays import array_names, merge_equal_rows, read_features
from eigenserve.training.estimators.remedies import in_python
from eigenserve.training.fit import fit_rows
from eigenserve.training.settings import FitSettings, make_settings
from eigenserve.training.training_table import named_in

Pairs = Literal["auto", "none"] | list[tuple[str, str]]


class SpectralEstimator(BaseEstimator):  # type: ignore[misc]
    """Share everything but the target between the regressor and the classifier.

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
        self.members = members
        self.dim = dim
        self.pairs = pairs
        self.monotone = monotone
        self.types = types
        self.budget = budget
        self.reproducible = reproducible
        self.device = device
        self.random_state = random_state

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict N rows, an array or a DataFrame as fitted on: (N,); a missing value is NaN.

        Raises:
            NotFittedError: before ``fit``.
            ValueError: rows with other columns than those fitted on, or an infinity.
        """
        model, rows = self._rows(X)
        return model.predict(rows)

    def explain(self, X: Any, *, target: ClassLabel | None = None) -> Explanation:
        """Explain N rows: their scores as one contribution per term, exactly.

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
        """Load the model at STORE/NAME or STORE/NAME/VERSION as an estimator.

        Raises:
            ModelNotFoundError, CheckpointError: nothing there, or something damaged.
            ValueError: a model of another task.
        """
        model = load_model(path)
        settings = dict(model.card.get("training", {}).get("settings", {}))
        kept = ("members", "dim", "budget", "reproducible", "loss", "quantile", "power", "link")
        kept_settings = {name: settings[name] for name in kept if name in settings}
        estimator = cls(
            **{name: value for name, value in kept_settings.items() if name in cls._get_param_names()},
            pairs="auto" if settings.get("pairs") is None else [tuple(pair) for pair in settings["pairs"]],
            monotone=dict(settings.get("monotone", ())) or None,
            types=dict(settings.get("types", ())) or None,
            random_state=settings.get("seed", 0),
        )
        names = model.features.input_names
        estimator.n_features_in_ = len(names)
        if names != array_names(estimator.n_features_in_):
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return estimator._adopt(model)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters and the files of the checkpoint: a pickle outlives changes of the classes inside."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = to_bytes(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.get("model_")
        if isinstance(files, dict):
            state = {**state, "model_": from_bytes(files)}
        super().__setstate__(state)

    @abstractmethod
    def _adopt(self, model: SpectralModel) -> Self:
        """Take over a trained model."""

    def _settings(self, **overrides: Any) -> FitSettings:
        """Return the settings that the parameters stand for.

        Raises:
            ValueError: a parameter out of range.
        """
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        common: dict[str, Any] = {
            name: getattr(self, name) for name in ("members", "dim", "pairs", "budget", "reproducible", "device")
        }
        try:
            return make_settings(
                {**common, "monotone": self.monotone or {}, "types": self.types or {}, "seed": int(seed), **overrides}
            )
        except UserError as error:
            raise ValueError(str(error)) from error

    def _train(self, table: pd.DataFrame, target: Target, sample_weight: Any, settings: FitSettings) -> Self:
        weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        options = reading_options(asdict(settings))
        kept = {*options.types, *named_in(settings)}
        try:
            # Identifiers, equal rows and features alike are those of the columns as they are read.
            read = read_columns(table, options)
        except UserError as error:
            raise ValueError(in_python(str(error))) from error
        frame, left_out = without_identifiers(read.frame, kept)
        doubts = sentinel_notes(table, frame)
        table, target, weight = merge_equal_rows(frame, target, weight)
        if len(table) < 2:
            raise ValueError("at least 2 different rows with a weight are needed; got 1 sample")
        try:
            fitted = fit_rows(table, target, weight, settings, readings=read.readings)
        except UserError as error:
            raise ValueError(in_python(str(error))) from error
        self.notes_ = [in_python(note) for note in (*left_out, *read.notes, *doubts, *fitted.notes)]
        return self._adopt(fitted.model)

    def _rows(self, X: Any) -> tuple[SpectralModel, pd.DataFrame]:
        check_is_fitted(self)
        return self.model_, read_features(self, X, reset=False)
