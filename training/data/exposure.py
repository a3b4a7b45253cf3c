"""Apply exposures and offsets: targets per unit, and how much each row then counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.training.data.target import Target, positive_column

#: Offsets are logarithms: beyond this size their exponentials are not data.
MAX_OFFSET = 30.0


def per_unit(
    table: pd.DataFrame, goal: Target, weight: FloatArray, exposure: str | None, offset: str | None, power: float
) -> tuple[Target, FloatArray]:
    """Divide targets by their rows' exposures and exponentials of offsets, and weight the rows so that nothing is lost.

    An exposure is how much of the same was observed (years, claims): the mean of so many units has a variance as many
    times smaller, whatever the distribution, so its weight is as many times larger. An offset moves the logarithm of
    the mean alone: Tweedie's deviance of power p obeys d(y, m e^o) = e^(o (2 - p)) d(y e^-o, m), so the fit is the one
    with the offset in the score. For counts (p = 1) an exposure and its logarithm as offset are the same.

    Args:
        table: holds the columns.
        goal: the targets, N of them.
        weight: (N,).
        exposure: a column of positive numbers, or None.
        offset: a column of logarithms, or None.
        power: of Tweedie's deviance that the fit minimises: 1 for counts, 2 for gamma.

    Raises:
        UserError: a missing column, or values that cannot be exposures or offsets.
    """
    values = goal.values
    if exposure is not None:
        units = positive_column(table, exposure)
        values, weight = values / units, weight * units
    if offset is not None:
        moves = _offsets(table, offset)
        values, weight = values * np.exp(-moves), weight * np.exp((2.0 - power) * moves)
    return replace(goal, values=values), weight


def _offsets(table: pd.DataFrame, name: str) -> FloatArray:
    if name not in table:
        raise UserError(f"no column {name!r}; the columns are {', '.join(map(str, table.columns))}")
    column = table[name]
    numeric = pd.api.types.is_numeric_dtype(column)
    values = column.to_numpy(np.float64, na_value=np.nan) if numeric else np.full(1, np.nan)
    if not (np.abs(values) <= MAX_OFFSET).all():
        raise UserError(
            f"offset {name!r} must hold the logarithm of a size, within -{MAX_OFFSET:g} and {MAX_OFFSET:g}, in every "
            "row; a column of the sizes themselves is an exposure"
        )
    return np.asarray(values)
