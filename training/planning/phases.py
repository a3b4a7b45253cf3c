"""Phases: report how far a fit has come, by its plan, by how long the phases have taken, and by the budget's clock."""

from __future__ import annotations

import time
from collections.abc import Mapping

from eigenserve.training.planning.clock import Clock
from eigenserve.training.progress import Reporter

#: The share of a phase from which its pace so far says more than the plan.
TRUSTED_SHARE = 0.25
#: Later phases take as many times longer than planned as those that are done, within these bounds.
PACES = 0.5, 3.0


class Phases:
    """Turn the progress of each phase into that of the whole fit; a reporter that takes the place of another.

    Args:
        reporter: receives the progress of the whole, in microseconds.
        seconds: phase -> what the plan gives it, in the order in which they come.
        clock: of the budget, at which phases end where the plan does not hold; None for none.
    """

    def __init__(self, reporter: Reporter, seconds: Mapping[str, float], clock: Clock | None = None) -> None:
        self._reporter, self._seconds, self._clock = reporter, dict(seconds), clock
        self._phase = next(iter(seconds))
        self._started = self._began = time.monotonic()
        self._planned = 0.0
        self._shown = 0.0

    def begin(self, phase: str, text: str = "", expected_s: float | None = None) -> None:
        """Begin a phase, which ends all before it.

        Args:
            phase: one of the plan's.
            text: how it stands, until ``advance`` says more.
            expected_s: what the phase takes, where more is known of it than when the plan was made.
        """
        phases = list(self._seconds)
        self._planned += sum(self._seconds[p] for p in phases[phases.index(self._phase) : phases.index(phase)])
        self._phase, self._began = phase, time.monotonic()
        if expected_s is not None:
            self._seconds[phase] = expected_s
        self.advance(0, 1, text)

    def advance(self, done: int, total: int, text: str, left_s: float | None = None) -> None:
        """Report ``done`` of ``total`` parts of this phase; ``left_s``, of the phase, is not used."""
        now = time.monotonic()
        passed, left = now - self._started, self._left_s(now, done / max(1, total))
        # A phase that turns out to be longer lets the share stand still, not fall.
        self._shown = max(self._shown, passed / max(passed + left, 1e-9))
        if text:
            whole = max(passed, 1e-3) / max(self._shown, 1e-6)
            self._reporter.advance(int(1e6 * self._shown * whole), int(1e6 * whole) + 1, text, left)

    def say(self, text: str) -> None:
        """Show a line at once."""
        self._reporter.say(text)

    def _left_s(self, now: float, share: float) -> float:
        """Estimate the seconds that are left: of this phase and of all, no more than the clock lets them take."""
        phases = list(self._seconds)
        within = now - self._began
        pace = self._pace(self._began - self._started)
        planned = pace * self._seconds[self._phase]
        whole = within / share if share > TRUSTED_SHARE else max(planned, within)
        left = max(0.0, whole - within)
        if self._clock is not None:
            left = min(left, self._clock.left_s(self._phase))
        left += pace * sum(self._seconds[p] for p in phases[phases.index(self._phase) + 1 :])
        return left if self._clock is None else min(left, self._clock.left_s("refit") + self._seconds["report"])

    def _pace(self, took: float) -> float:
        """Return how many times longer than planned the phases before this one took."""
        return min(max(took / self._planned, PACES[0]), PACES[1]) if self._planned > 1.0 else 1.0
