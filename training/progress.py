"""Report the progress of a fit or another long run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol, TextIO

from eigenserve.progress import Progress


class Reporter(Protocol):
    """Receive how far a fit has come."""

    def advance(self, done: int, total: int, text: str, left_s: float | None = None) -> None:
        """Note that ``done`` of ``total`` parts are done; ``text`` says how it stands.

        Args:
            done: parts that are done.
            total: all parts.
            text: how it stands.
            left_s: the seconds left, where more is known of them than by how long the parts so far took.
        """

    def say(self, text: str) -> None:
        """Inform the user at once."""


class Silent:
    """Report nothing."""

    def advance(self, done: int, total: int, text: str, left_s: float | None = None) -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""


class FitProgress(Progress):
    """Progress on a stream, with the time left."""

    bar_estimates = False

    def __init__(self, stream: TextIO | None = None, label: str = "fit") -> None:
        super().__init__(label, stream)

    def advance(self, done: int, total: int, text: str, left_s: float | None = None) -> None:
        """Show the share done, how it stands, and the time left."""
        if left_s is None:
            left_s = (time.monotonic() - self.started) / max(1, done) * (total - done)
        # The first steps say little of what is to come.
        time_left = f"  {left_s:.0f} s left" if 0.03 * total < done < total else ""
        self.show(done / total, text + time_left, at_once=done == total)
