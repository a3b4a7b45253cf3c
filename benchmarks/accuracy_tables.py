"""The tables that accuracy is compared on: those of the examples, scikit-learn's own, and Friedman's functions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets

from eigenserve.training.data.table import read_table
from eigenserve.training.data.target import infer_task

DATA = Path(__file__).parents[1] / "examples" / "data"


class Table(NamedTuple):
    """Features (a frame; texts are categories) and the target of one comparison."""

    features: pd.DataFrame
    target: pd.Series
    task: Literal["regression", "binary", "multiclass"]


def _table(features: pd.DataFrame, target: pd.Series) -> Table:
    # LightGBM refuses some characters in names, so that all get columns without names of their own.
    features = features.set_axis([f"c{i}" for i in range(features.shape[1])], axis=1)
    # XGBoost takes no categories that are truths.
    features = features.astype(dict.fromkeys(features.select_dtypes("bool"), "int8"))
    for name in features.select_dtypes(exclude="number"):
        features[name] = features[name].astype("category")
    return Table(features.reset_index(drop=True), target.reset_index(drop=True), infer_task(target))


def _example(file: str, target: str, leave_out: tuple[str, ...] = ()) -> Table:
    frame = read_table(DATA / file).dropna(subset=target)
    return _table(frame.drop(columns=[target, *leave_out]), frame[target])


def _california() -> Table:
    parts = [read_table(DATA / f"california_housing_{part}.csv") for part in ("train", "test")]
    frame = pd.concat(parts, ignore_index=True)
    return _table(frame.drop(columns="median_house_value"), frame["median_house_value"])


def _scikit_learn(name: str) -> Table:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return _table(frame.drop(columns="target"), frame["target"])


#: Standard deviations of the noise, as in Friedman, Multivariate adaptive regression splines, 1991: three times
#: less than that of the function (function 1 has noise 1).
_FRIEDMAN_NOISE = {1: 1.0, 2: 125.0, 3: 0.1}


def _friedman(number: int, rows: int) -> Table:
    make = getattr(datasets, f"make_friedman{number}")
    x, y = make(n_samples=rows, noise=_FRIEDMAN_NOISE[number], random_state=0)
    return _table(pd.DataFrame(x), pd.Series(np.asarray(y)))


TABLES: dict[str, Callable[[], Table]] = {
    "titanic": partial(_example, "titanic.csv", "survived", ("alive",)),
    "penguins": partial(_example, "penguins.csv", "species"),
    **{name: partial(_scikit_learn, name) for name in ("diabetes", "breast_cancer", "iris", "wine")},
    **{f"friedman{n}-500": partial(_friedman, n, 500) for n in (1, 2, 3)},
    **{f"friedman{n}-10000": partial(_friedman, n, 10_000) for n in (1, 2, 3)},
    "digits": partial(_scikit_learn, "digits"),
    "california": _california,
    "adult": partial(_example, "adult.csv.gz", "Income"),
}
