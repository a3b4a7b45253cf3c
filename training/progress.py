"""Report the progress of a fit or another long run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol, TextIO

from eigenserve.progress import Progress


class Reporter(Protocol):
    """Receive how far a fit has come."""

    def advance(self, done: int, total: int, text: str) -> None:
        """Note that ``done`` of ``total`` optimiser steps have run; ``text`` says how it stands."""

    def say(self, text: str) -> None:
        """Inform the user at once."""


class Silent:
    """Report nothing."""

    def advance(self, done: int, total: int, text: str) -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""


class FitProgress(Progress):
    """Progress on a stream, with the time left."""

    def __init__(self, stream: TextIO | None = None, label: str = "fit") -> None:
        super().__init__(label, stream)

    def advance(self, done: int, total: int, text: str) -> None:
        """Show the share done, how it stands, and the time left."""
        left = (time.monotonic() - self.started) / max(1, done) * (total - done)
        # The first steps say little of what is to come.
        time_left = f"  {left:.0f} s left" if done > 0.03 * total else ""
        self.show(done / total, text, text + time_left, at_once=done == total)
