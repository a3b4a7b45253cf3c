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


def out_of_fold_targets(
    estimator: Any, features: pd.DataFrame, target: Any, *, folds: int = 5, seed: int = 0, groups: Any = None
) -> pd.DataFrame:
    """Predict each row by the estimator fitted to the other folds.

    Args:
        estimator: unfitted; of a classifier the probabilities are taken.
        features: (N, F), as the estimator takes them.
        target: (N,) labels or numbers.
        folds: how many.
        seed: shuffles the rows.
        groups: (N,), rows of one group stay in one fold.

    Returns:
        N rows: a column for each class, named like it, or one named "prediction". Write it to a file for `fit
        --teacher FILE`.

    Raises:
        ValueError: fewer than two folds, or a class with fewer rows than folds.
    """
    target = np.asarray(target)
    classifier = is_classifier(estimator)
    split: Any
    if groups is not None:
        split = GroupKFold(folds)
    else:
        split = (StratifiedKFold if classifier else KFold)(folds, shuffle=True, random_state=seed)
    if not classifier:
        predicted = cross_val_predict(estimator, features, target, cv=split, groups=groups)
        return pd.DataFrame({"prediction": np.asarray(predicted, np.float64).reshape(len(target))})
    labels, counts = np.unique(target, return_counts=True)
    if counts.min() < folds and groups is None:
        rarest = labels[counts.argmin()]
        raise ValueError(f"each class must have at least {folds} rows; {rarest!r} has {counts.min()}")
    chances = cross_val_predict(estimator, features, target, cv=split, groups=groups, method="predict_proba")
    return pd.DataFrame(np.asarray(chances, np.float64), columns=[str(label) for label in labels])
