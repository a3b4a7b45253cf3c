"""Eigenserve as a model class of AutoGluon, the form that TabArena asks for (needs ``autogluon.tabular``).

    from benchmarks.tabarena import EigenserveModel
    TabularPredictor(label).fit(frame, hyperparameters={EigenserveModel: {}})

TabArena pickles model classes, so a run of its imports this module by name. Checkpoints hold no pickle; AutoGluon
pickles the estimator that holds the model.
"""

from typing import Any

import numpy as np
import pandas as pd

try:
    from autogluon.core.models import AbstractModel
except ImportError as error:
    raise ImportError("benchmarks.tabarena needs AutoGluon: pip install autogluon.tabular") from error

from eigenserve.model.kernels.threads import set_num_threads
from eigenserve.training import SpectralClassifier, SpectralRegressor

#: The share of AutoGluon's time limit that a fit plans with: its own bookkeeping and the prediction need some.
SHARE_OF_LIMIT = 0.8


class EigenserveModel(AbstractModel):  # type: ignore[misc]
    """A spectral model, each prediction an eigenvalue and exactly explained."""

    ag_key = "EIGENSERVE"
    ag_name = "Eigenserve"
    ag_priority = 60
    seed_name = "random_state"

    def _fit(
        self, X: pd.DataFrame, y: pd.Series, time_limit: float | None = None, num_cpus: int | str = 1, **kwargs: Any
    ) -> None:
        params = self._get_model_params()
        if time_limit is not None:
            params["budget"] = min(params["budget"], SHARE_OF_LIMIT * time_limit)
        if isinstance(num_cpus, int):
            set_num_threads(num_cpus)
        kind = SpectralRegressor if self.problem_type == "regression" else SpectralClassifier
        weight = kwargs.get("sample_weight")
        self.model = kind(**params).fit(self.preprocess(X, is_train=True), y, sample_weight=weight)

    def _preprocess(self, X: pd.DataFrame, is_train: bool = False, **kwargs: Any) -> pd.DataFrame:
        X = super()._preprocess(X, **kwargs)
        # Names may be of any type there; categories keep their own values, and gaps stay gaps.
        return X.set_axis([str(name) for name in X.columns], axis=1)

    def _predict_proba(self, X: pd.DataFrame, **kwargs: Any) -> np.ndarray:
        X = self.preprocess(X, **kwargs)
        if self.problem_type == "regression":
            return np.asarray(self.model.predict(X))
        return self._convert_proba_to_unified_form(self.model.predict_proba(X))

    def _set_default_params(self) -> None:
        for name, value in {"budget": 60.0, "random_state": 0}.items():
            self._set_default_param_value(name, value)

    def _get_default_auxiliary_params(self) -> dict[str, Any]:
        params = super()._get_default_auxiliary_params()
        params.update({"valid_raw_types": ["int", "float", "category", "bool", "datetime"]})
        return params

    @classmethod
    def supported_problem_types(cls) -> list[str]:
        """List the problem types that the model takes."""
        return ["binary", "multiclass", "regression"]


def experiments(num_random_configs: int = 0) -> list[Any]:
    """Make TabArena's experiments: the defaults, bagged over folds as it asks, and random configurations."""
    from autogluon.common.space import Categorical
    from tabarena.utils.config_utils import ConfigGenerator

    generator = ConfigGenerator(
        model_cls=EigenserveModel,
        manual_configs=[{}],
        search_space={"dim": Categorical(None, 7, 15, 25), "pairs": Categorical("auto", "none")},
    )
    made: list[Any] = generator.generate_all_bag_experiments(
        num_random_configs=num_random_configs, fold_fitting_strategy="sequential_local"
    )
    return made
