"""Teachers: out-of-fold predictions of any scikit-learn estimator, for `fit --teacher`.

A student that learns from what a stronger model says of rows it has not seen is less misled by the noise of labels
(Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015; Breiman and Shang, Born again trees,
1996). LightGBM's and CatBoost's estimators will do as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict

from eigenserve.model.rows.cells import category_key


def out_of_fold_targets(
    estimator: Any,
    features: pd.DataFrame,
    target: Any,
    *,
    folds: int = 5,
    seed: int = 0,
    groups: Any = None,
    sample_weight: Any = None,
) -> pd.DataFrame:
    """Predict each row by the estimator fitted to the other folds.

    Args:
        estimator: unfitted; of a classifier the probabilities are taken.
        features: (N, F), as the estimator takes them.
        target: (N,) labels or numbers, none of them missing.
        folds: how many.
        seed: shuffles the rows.
        groups: (N,), rows of one group stay in one fold.
        sample_weight: (N,), how much each row counts when the estimator is fitted; of a rate, its exposure.

    Returns:
        N rows: a column for each class, named like it, or one named "prediction". Write it to a file for `fit
        --teacher FILE`.

    Raises:
        ValueError: fewer than two folds, a class with fewer rows than folds, or a target of another shape or with
            missing values.
    """
    target = _one_column(target, len(features))
    params = None if sample_weight is None else {"sample_weight": np.asarray(sample_weight)}
    classifier = is_classifier(estimator)
    split: Any
    if groups is not None:
        split = GroupKFold(folds)
    else:
        split = (StratifiedKFold if classifier else KFold)(folds, shuffle=True, random_state=seed)
    if not classifier:
        predicted = cross_val_predict(estimator, features, target, cv=split, groups=groups, params=params)
        return pd.DataFrame({"prediction": np.asarray(predicted, np.float64).reshape(len(target))})
    labels, counts = np.unique(target, return_counts=True)
    if counts.min() < folds and groups is None:
        rarest = labels[counts.argmin()]
        raise ValueError(f"each class must have at least {folds} rows; {rarest!r} has {counts.min()}")
    chances = cross_val_predict(
        estimator, features, target, cv=split, groups=groups, method="predict_proba", params=params
    )
    return pd.DataFrame(np.asarray(chances, np.float64), columns=[category_key(label) for label in labels])


def _one_column(target: Any, rows: int) -> np.ndarray:
    """Return a target as (N,); a frame of one column is one."""
    values = np.asarray(target)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (rows,):
        raise ValueError(
            f"target must have one label or number for each of the {rows:,} rows of features; its shape is "
            f"{np.shape(target)}"
        )
    absent = np.flatnonzero(pd.isna(values))
    if absent.size:
        raise ValueError(
            f"target must be known of every row; row {absent[0] + 1} has none ({absent.size:,} in all): leave such "
            "rows out of features and target"
        )
    return values
