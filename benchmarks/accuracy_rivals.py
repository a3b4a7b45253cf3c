"""What accuracy is compared with, each with settings that a careful user would choose."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.accuracy_tables import Table
from eigenserve.training import SpectralClassifier, SpectralRegressor

#: Boosting is tuned over these by 3-fold cross-validation within the training rows. Learning rate and
#: regularisation hardly matter once the number and size of the trees fit the table.
TREES = [100, 300, 1000]
LEAVES = [7, 31]
#: Rows below which boosting runs on one thread: two only wait for each other there.
THREADED_ROWS = 5_000


class Rival(NamedTuple):
    """A way to learn a table.

    Attributes:
        make: (table, seed, budget in seconds) -> an estimator; codes of classes are its target.
        explain: (fitted estimator, features) -> contributions; None where exact ones do not exist.
    """

    make: Callable[[Table, int, float], Any]
    explain: Callable[[Any, pd.DataFrame], Any] | None


def _encoder() -> Any:
    """One column per category, numbers standardised, missing ones the median with an indicator."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    texts = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False)
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )


def _linear(table: Table, seed: int, budget: float) -> Any:
    if table.task == "regression":
        return make_pipeline(_encoder(), RidgeCV(alphas=np.logspace(-3, 3, 13)))
    model = LogisticRegressionCV(
        Cs=np.logspace(-3, 2, 6), l1_ratios=(0.0,), scoring="neg_log_loss", max_iter=1000, use_legacy_attributes=False
    )
    return make_pipeline(_encoder(), model)


def _explain_linear(pipeline: Any, features: pd.DataFrame) -> Any:
    columns = pipeline[:-1].transform(features)
    return columns[:, None, :] * np.atleast_2d(pipeline[-1].coef_)[None]


def _mlp(table: Table, seed: int, budget: float) -> Any:
    settings = {
        "hidden_layer_sizes": (128, 64),
        "alpha": 1e-3,
        "max_iter": 300,
        # Small tables cannot spare rows to stop by.
        "early_stopping": len(table.target) >= 2000,
        "random_state": seed,
    }
    if table.task == "regression":
        model = make_pipeline(_encoder(), MLPRegressor(**settings))
        return TransformedTargetRegressor(model, transformer=StandardScaler())
    return make_pipeline(_encoder(), MLPClassifier(**settings))


def _tuned(model: Any, grid: dict[str, list[int]], table: Table) -> Any:
    scoring = "neg_root_mean_squared_error" if table.task == "regression" else "neg_log_loss"
    return GridSearchCV(model, grid, scoring=scoring, cv=3)


def _threads(table: Table) -> int:
    return 1 if len(table.target) < THREADED_ROWS else -1


def _lightgbm(table: Table, seed: int, budget: float) -> Any:
    import lightgbm

    kind = lightgbm.LGBMRegressor if table.task == "regression" else lightgbm.LGBMClassifier
    model = kind(
        learning_rate=0.05, subsample=0.8, subsample_freq=1, n_jobs=_threads(table), random_state=seed, verbose=-1
    )
    return _tuned(model, {"n_estimators": TREES, "num_leaves": LEAVES}, table)


def _xgboost(table: Table, seed: int, budget: float) -> Any:
    import xgboost

    kind = xgboost.XGBRegressor if table.task == "regression" else xgboost.XGBClassifier
    model = kind(
        learning_rate=0.05,
        subsample=0.8,
        grow_policy="lossguide",
        max_depth=0,
        tree_method="hist",
        enable_categorical=True,
        n_jobs=_threads(table),
        random_state=seed,
    )
    return _tuned(model, {"n_estimators": TREES, "max_leaves": LEAVES}, table)


def _explain_xgboost(search: Any, features: pd.DataFrame) -> Any:
    import xgboost

    matrix = xgboost.DMatrix(features, enable_categorical=True)
    return search.best_estimator_.get_booster().predict(matrix, pred_contribs=True)


def _ebm(table: Table, seed: int, budget: float) -> Any:
    from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor

    kind = ExplainableBoostingRegressor if table.task == "regression" else ExplainableBoostingClassifier
    return kind(random_state=seed)


def _eigenserve(table: Table, seed: int, budget: float) -> Any:
    kind = SpectralRegressor if table.task == "regression" else SpectralClassifier
    return kind(random_state=seed, budget=budget)


RIVALS: dict[str, Rival] = {
    "eigenserve": Rival(_eigenserve, lambda model, features: model.explain(features)),
    "linear": Rival(_linear, _explain_linear),
    "xgboost": Rival(_xgboost, _explain_xgboost),
    "lightgbm": Rival(_lightgbm, lambda search, x: search.best_estimator_.predict(x, pred_contrib=True)),
    "ebm": Rival(_ebm, lambda model, features: model.eval_terms(features)),
    "mlp": Rival(_mlp, None),
}

#: The package that each needs beyond those of training.
PACKAGES = {"xgboost": "xgboost", "lightgbm": "lightgbm", "ebm": "interpret"}
