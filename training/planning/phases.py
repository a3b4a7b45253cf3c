"""Phases: report how far a fit has come as a share of the seconds that its plan gives to each phase."""

from __future__ import annotations

import time
from collections.abc import Mapping

from eigenserve.training.progress import Reporter


class Phases:
    """Turn the progress of each phase into that of the whole fit; a reporter that takes the place of another.

    Args:
        reporter: receives the progress of the whole, in microseconds of the plan.
        seconds: phase -> what the plan gives it, in the order in which they come.
    """

    def __init__(self, reporter: Reporter, seconds: Mapping[str, float]) -> None:
        self._reporter, self._seconds = reporter, dict(seconds)
        self._phase = next(iter(seconds))
        self._began = time.monotonic()
        self._shown = 0.0

    def begin(self, phase: str, text: str = "", expected_s: float | None = None) -> None:
        """Begin a phase, which ends all before it: these count as long as they took.

        Args:
            phase: one of the plan's.
            text: how it stands, until ``advance`` says more.
            expected_s: what the phase takes, where more is known of it than when the plan was made.
        """
        phases = list(self._seconds)
        ended = phases[phases.index(self._phase) : phases.index(phase)]
        self._seconds |= dict.fromkeys(ended, (time.monotonic() - self._began) / max(1, len(ended)))
        self._phase, self._began = phase, time.monotonic()
        if expected_s is not None:
            self._seconds[phase] = expected_s
        self.advance(0, 1, text)

    def advance(self, done: int, total: int, text: str) -> None:
        """Report ``done`` of ``total`` parts of this phase."""
        before = 0.0
        for phase, seconds in self._seconds.items():
            if phase == self._phase:
                break
            before += seconds
        whole = sum(self._seconds.values())
        # A phase that turns out to be longer lets the share stand still, not fall.
        self._shown = max(self._shown, (before + self._seconds[self._phase] * done / max(1, total)) / max(whole, 1e-9))
        if text:
            self._reporter.advance(int(1e6 * self._shown * whole), int(1e6 * whole) + 1, text)

    def say(self, text: str) -> None:
        """Show a line at once."""
        self._reporter.say(text)
