"""Separate the target of a model from the rows of a table, read as it was for training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.columns import decimal_hint
from eigenserve.training.data.reading_options import reading_options
from eigenserve.training.data.target import Target, read_target, required_column, split_read_target
from eigenserve.training.evaluation.model_tables import target_reading


def labelled_rows(model: SpectralModel, frame: pd.DataFrame) -> tuple[pd.DataFrame, Target]:
    """Return the features of the rows that have a target, indexed by their positions in the table, and the targets.

    Raises:
        UserError: no such column, or values that are none of this model's.
    """
    raw = required_column(frame, model.target)
    column = _target(model, frame)
    features, target, _ = split_read_target(
        frame.drop(columns=model.target), raw, column, model.task, model.classes, vary=False
    )
    return features.set_index(np.flatnonzero(column.notna())), target


def has_labels(model: SpectralModel, frame: pd.DataFrame) -> bool:
    """Return whether a table has the target of a model, with a value in any row; raises as ``labelled_rows``."""
    return model.target in frame and bool(_target(model, frame).notna().any())


def _target(model: SpectralModel, frame: pd.DataFrame) -> pd.Series:
    options = reading_options(model.card.get("training", {}).get("settings", {}), frame.columns)
    # Numbers whose reading is not kept were written as programs write them.
    hint = decimal_hint(feature.reading for feature in model.features.features) if model.classes else "."
    return read_target(required_column(frame, model.target), model.task, options, hint, target_reading(model)).values
