"""Encode the baseline: the row, or the rows, that an attribution compares with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import category_key
from eigenserve.model.rows.errors import InvalidRowsError
from eigenserve.model.rows.features import Feature, FeatureSpace


def baseline_columns(features: FeatureSpace, row: Any = None) -> FloatArray:
    """Encode the baseline as columns (F,): the training medians and modes, or a given row.

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


def background_columns(features: FeatureSpace, rows: Any = None) -> FloatArray:
    """Encode a baseline that may be a sample: (F,) as ``baseline_columns`` gives them, or (B, F).

    Args:
        features: the features of the model.
        rows: one row, or a sample of B rows: a list of rows, a 2-D array or a DataFrame.

    Raises:
        InvalidRowsError: not a row of the model, or an empty sample.
    """
    if not is_sample(rows):
        return baseline_columns(features, rows)
    columns = features.encode(rows)
    if not len(columns):
        raise InvalidRowsError([((), "a sample must have at least one row")])
    return columns


def is_sample(rows: Any) -> bool:
    """Return whether a baseline is a sample of rows, not one row."""
    if isinstance(rows, list | tuple):
        return not rows or isinstance(rows[0], Mapping | list | tuple)
    return hasattr(rows, "columns") or getattr(rows, "ndim", 1) == 2


def _typical(feature: Feature) -> float:
    if feature.typical is None:
        return np.nan
    if feature.kind == "categorical":
        return feature.codes.get(category_key(feature.typical) or "", float(len(feature.categories)))
    return float(feature.typical)
