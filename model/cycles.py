"""Cycles of a date: hour of the day, day of the week and day of the year, from days since 1970-01-01 UTC."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CycleName = Literal["hour", "weekday", "day of year"]


class Cycle(NamedTuple):
    """value = unit * (t - period * floor(t / period)), with t = days + shift, or floor(days) + shift if ``whole``.

    Attributes:
        period: in days.
        shift: of its start, in days.
        unit: values per day.
        whole: whether it goes by whole days.
    """

    period: float
    shift: float = 0.0
    unit: float = 1.0
    whole: bool = False


CYCLES: dict[CycleName, Cycle] = {
    "hour": Cycle(1.0, unit=24.0),
    # Monday is 0; 1970-01-01 was a Thursday.
    "weekday": Cycle(7.0, shift=3.0, whole=True),
    # From the turn of the year, to a day: leap years move it back and forth.
    "day of year": Cycle(365.2425),
}


def cycle_values(name: CycleName, days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where days since 1970-01-01 UTC stand in a cycle; NaN stays NaN."""
    cycle = CYCLES[name]
    moments = (np.floor(days) if cycle.whole else days) + cycle.shift
    return cycle.unit * (moments - cycle.period * np.floor(moments / cycle.period))
