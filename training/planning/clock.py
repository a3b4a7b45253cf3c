"""Clock: what is left of a fit's budget in seconds on the wall, whatever else the cores are busy with.

A fit is planned by a model of its cost, so that the same table and settings give the same model; the clock is the
brake for when the plan does not hold, on busy cores, say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: No brake is pulled in the first seconds: even a busy machine has then done what a small table needs.
GRACE_S = 7.0
#: The share of the budget at which each phase makes do with what it has, if the plan did not end it earlier, and what a
#: note calls it. The last two leave time for training on all rows and for the report.
BRAKES = {
    "additive": (0.35, "the additive model"),
    "knots": (0.45, "finer curves"),
    "pairs": (0.55, "pairs of features"),
    "search": (0.95, "the search"),
    "refit": (1.1, "training on all rows"),
}


class Clock:
    """Measure the time since a fit began, against its budget.

    Args:
        budget_s: seconds that the whole fit may take; infinite for a fit that only its plan ends.
    """

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self._braked: set[str] = set()
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Count the seconds since the fit began."""
        return time.monotonic() - self._started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the clock stand still."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._started += time.monotonic() - started

    def left_s(self, phase: str) -> float:
        """Return the seconds until a phase must end; infinite for one that is not in ``BRAKES``."""
        if phase not in BRAKES:
            return math.inf
        return max(0.0, BRAKES[phase][0] * self.budget_s + GRACE_S - self.elapsed_s)

    def late(self, phase: str, then_s: Callable[[], float] = lambda: 0.0) -> Callable[[], bool]:
        """Return a function that says whether a phase of ``BRAKES`` must end.

        ``then_s`` returns the seconds of what must be done after it, before the last brake.
        """
        *_, last = BRAKES

        def must_end() -> bool:
            if self.left_s(phase) > 0.0 and self.left_s(last) > then_s():
                return False
            self._braked.add(phase)
            return True

        return must_end

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what the user should know of phases that had to end."""
        if not self._braked:
            return ()
        phases = ", ".join(words for phase, (_, words) in BRAKES.items() if phase in self._braked)
        return (
            f"on this machine the plan took longer than the budget of {self.budget_s:g} s, so that these ended early: "
            f"{phases}. Another run may give another model: give more time by --budget, or all it takes by "
            "--reproducible",
        )
