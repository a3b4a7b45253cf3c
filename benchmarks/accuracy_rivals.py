"""What accuracy is compared with: each at its defaults, or with the one choice that everybody makes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, PoissonRegressor, RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.accuracy_tables import Table
from eigenserve.training import SpectralClassifier, SpectralRegressor

#: Early stopping: trees at most, rounds without a gain that end it, and the share of rows that judge it.
MAX_TREES, PATIENCE, JUDGING_SHARE = 5_000, 100, 0.15

Predict = Callable[[pd.DataFrame], np.ndarray]


class Rival(NamedTuple):
    """A way to learn a table.

    Attributes:
        fit: (training rows, seed, budget in seconds) -> a function from features to predictions (N,) or probabilities.
        package: what it needs beyond the packages of training.
        tasks: those it can learn.
    """

    fit: Callable[[Table, int, float], Predict]
    package: str
    tasks: tuple[str, ...] = ("regression", "binary", "multiclass", "poisson")


def _eigenserve(table: Table, seed: int, budget: float) -> Predict:
    if table.task in ("regression", "poisson"):
        loss = "poisson" if table.task == "poisson" else "auto"
        regressor = SpectralRegressor(random_state=seed, budget=budget, loss=loss)
        return regressor.fit(table.features, table.target, sample_weight=table.weight).predict
    return SpectralClassifier(random_state=seed, budget=budget).fit(table.features, table.target).predict_proba


def _linear(table: Table, seed: int, budget: float) -> Predict:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    texts = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False)
    encoder = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )
    features = _texts_as_strings(table.features)
    model: Any
    if table.task == "regression":
        model = RidgeCV(alphas=np.logspace(-3, 3, 13))
    elif table.task == "poisson":
        grid = {"alpha": np.logspace(-4, 1, 6)}
        model = GridSearchCV(PoissonRegressor(max_iter=1000), grid, scoring="neg_mean_poisson_deviance", cv=3)
    else:
        model = LogisticRegressionCV(
            Cs=np.logspace(-3, 2, 6),
            l1_ratios=(0.0,),
            scoring="neg_log_loss",
            max_iter=1000,
            use_legacy_attributes=False,
        )
    columns = encoder.fit_transform(features)
    model.fit(columns, table.target, sample_weight=table.weight)
    predict = model.predict_proba if table.task in ("binary", "multiclass") else model.predict
    return lambda rows: predict(encoder.transform(_texts_as_strings(rows)))


def _lightgbm(table: Table, seed: int, budget: float) -> Predict:
    import lightgbm

    levels = {name: table.features[name].astype("category").cat.categories for name in _texts(table.features)}

    def encoded(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.assign(**{n: pd.Categorical(rows[n], categories=own) for n, own in levels.items()})
        # Its own model files do not take every character in a name.
        return rows.set_axis([f"c{i}" for i in range(rows.shape[1])], axis=1)

    classes = table.task in ("binary", "multiclass")
    parts = train_test_split(
        encoded(table.features),
        table.target,
        table.weight,
        test_size=JUDGING_SHARE,
        random_state=seed,
        stratify=table.target if classes else None,
    )
    objective = {"objective": "poisson"} if table.task == "poisson" else {}
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    model = kind(n_estimators=MAX_TREES, learning_rate=0.05, random_state=seed, verbose=-1, **objective)
    train, judge, train_target, judge_target, train_weight, judge_weight = parts
    model.fit(
        train,
        train_target,
        sample_weight=train_weight,
        eval_set=[(judge, judge_target)],
        eval_sample_weight=[judge_weight],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    predict = model.predict_proba if classes else model.predict
    return lambda rows: predict(encoded(rows))


def _catboost(table: Table, seed: int, budget: float) -> Predict:
    import catboost

    texts = _texts(table.features)
    given = {"random_seed": seed, "verbose": False, "allow_writing_files": False, "cat_features": texts}
    if table.task in ("binary", "multiclass"):
        model = catboost.CatBoostClassifier(**given)
    else:
        model = catboost.CatBoostRegressor(loss_function="Poisson" if table.task == "poisson" else "RMSE", **given)
    model.fit(_texts_as_strings(table.features), table.target, sample_weight=table.weight)
    if table.task in ("binary", "multiclass"):
        return lambda rows: model.predict_proba(_texts_as_strings(rows))
    kind = "Exponent" if table.task == "poisson" else "RawFormulaVal"
    return lambda rows: model.predict(_texts_as_strings(rows), prediction_type=kind)


def _ebm(table: Table, seed: int, budget: float) -> Predict:
    from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor

    if table.task in ("binary", "multiclass"):
        return ExplainableBoostingClassifier(random_state=seed).fit(table.features, table.target).predict_proba
    objective = "poisson_deviance" if table.task == "poisson" else "rmse"
    model = ExplainableBoostingRegressor(random_state=seed, objective=objective)
    return model.fit(table.features, table.target, sample_weight=table.weight).predict


def _texts(features: pd.DataFrame) -> list[str]:
    return list(features.select_dtypes(exclude="number"))


def _texts_as_strings(features: pd.DataFrame) -> pd.DataFrame:
    # Not astype(str), after which a missing value is still missing.
    return features.assign(**{n: features[n].astype(object).fillna("missing").map(str) for n in _texts(features)})


RIVALS: dict[str, Rival] = {
    "eigenserve": Rival(_eigenserve, "sklearn"),
    "linear": Rival(_linear, "sklearn"),
    "lightgbm": Rival(_lightgbm, "lightgbm"),
    "catboost": Rival(_catboost, "catboost"),
    "ebm": Rival(_ebm, "interpret"),
}
