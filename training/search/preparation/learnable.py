"""Refuse targets of numbers from which nothing can be learnt."""

from __future__ import annotations

import numpy as np

from eigenserve.errors import UserError
from eigenserve.training.data.oddities.no_data import LARGEST
from eigenserve.training.data.target import Target

#: The largest number of a target must lie between these sizes: beyond, its squares leave float64 in metrics and scales.
SIZES = 1.0 / LARGEST, LARGEST
#: Numbers that differ by no more than this share of the largest differ by the rounding of quotients alone.
ROUNDING = 1e-13


def check_numbers(goal: Target) -> None:
    """Check that a target of numbers varies, within what float64 can square; classes need no such check.

    Raises:
        UserError: it does not.
    """
    if goal.classes:
        return
    largest = float(np.abs(goal.values).max())
    if largest and not SIZES[0] <= largest <= SIZES[1]:
        raise UserError(
            f"target {goal.name!r} must have a largest absolute value between {SIZES[0]:g} and {SIZES[1]:g}; "
            f"got {largest:.3g}: rescale the target"
        )
    if np.ptp(goal.values) <= ROUNDING * largest:
        raise UserError(f"target {goal.name!r} must vary; it is {goal.values[0]:.6g} in every row")
