"""The baseline: the row that an attribution compares with."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.cells import category_key
from model.features import Feature, FeatureSpace, FloatArray, InvalidRowsError


def baseline_columns(features: FeatureSpace, row: Any = None) -> FloatArray:
    """The columns (F,) of the baseline: the training medians and modes, or a given row.

    Args:
        features: the features of the model.
        row: a mapping by feature name, or a sequence in column order; None for the typical values.

    Raises:
        InvalidRowsError: a row that is not one of the model; its locations start at the feature.
    """
    if row is None:
        return np.array([_typical(feature) for feature in features.features], np.float64)
    try:
        return features.encode([row])[0]
    except InvalidRowsError as error:
        raise InvalidRowsError([(loc[1:], message) for loc, message in error.errors], error.total) from None


def _typical(feature: Feature) -> float:
    if feature.typical is None:
        return np.nan
    if feature.kind == "categorical":
        return feature.codes.get(category_key(feature.typical) or "", float(len(feature.categories)))
    return float(feature.typical)
