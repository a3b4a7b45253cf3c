"""Progress of scoring, in rows."""

from __future__ import annotations

import time
from typing import TextIO

from eigenserve.progress import Progress


class ScoreProgress(Progress):
    """Progress on a stream, with the rows and their rate."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__("score", stream)
        self._first_row: int | None = None

    def advance(self, done: float, rows: int, at_once: bool = False) -> None:
        """Show that ``rows`` rows are scored, which is ``done`` of 1; 0 where nobody knows."""
        now = time.monotonic()
        if self._first_row is None:
            # Of a run that is resumed, the rows of the one before say nothing about its speed.
            self._first_row, self.started = rows, now
        rate = (rows - self._first_row) / (now - self.started) if now > self.started else 0.0
        self.show(done, f"{rows:,} rows" + (f"  {rate:,.0f} rows/s" if rate else ""), at_once=at_once)

    def finish(self, rows: int) -> None:
        """Show that all is scored, if anything was shown before."""
        if self.is_shown or self._bar is not None:
            self.advance(1.0, rows, at_once=True)
