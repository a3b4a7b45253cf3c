"""Compute hour of the day, day of the week and day of the year from days since 1970-01-01 UTC."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CycleName = Literal["hour", "weekday", "day of year"]


class Cycle(NamedTuple):
    """Compute t - period * floor(t / period), t = per_day * days + shift, or of floor(days) if ``whole``.

    t is rounded to ``GRID``: days since 1970 hold an hour to a trillionth or so, and another one for every 2^n days, so
    that 9 o'clock would be many different numbers next to each other.

    Attributes:
        period: in values.
        per_day: values per day.
        shift: of its start, in values.
        whole: whether it goes by whole days.
    """

    period: float
    per_day: float = 1.0
    shift: float = 0.0
    whole: bool = False


#: Steps per value: of an hour 3 ms, of a day 82 ms. A power of two, so that whole hours and days stay whole.
GRID = 2.0**20

CYCLES: dict[CycleName, Cycle] = {
    "hour": Cycle(24.0, per_day=24.0),
    # Monday is 0; 1970-01-01 was a Thursday.
    "weekday": Cycle(7.0, shift=3.0, whole=True),
    # From the turn of the year, to a day: leap years move it back and forth.
    "day of year": Cycle(365.2425),
}


def cycle_values(name: CycleName, days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find where days since 1970-01-01 UTC stand in a cycle; NaN stays NaN."""
    cycle = CYCLES[name]
    moments = cycle.per_day * (np.floor(days) if cycle.whole else days) + cycle.shift
    moments = np.floor(GRID * moments + 0.5) / GRID
    return moments - cycle.period * np.floor(moments / cycle.period)
