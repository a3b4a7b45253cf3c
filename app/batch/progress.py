"""Report the progress of scoring: a bar on a terminal if rich is installed, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

#: Seconds between plain lines.
LINE_INTERVAL_S = 2.0


class ScoreProgress:
    """Report progress on a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._bar: Any = None
        self._started = time.monotonic()
        self._last_line = self._started
        self._first_row: int | None = None
        self._lines = False

    def __enter__(self) -> Self:
        if self._stream.isatty():
            try:
                from rich.console import Console
                from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
            except ImportError:
                return self
            columns = (BarColumn(), TextColumn("{task.percentage:3.0f}%  {task.description}"), TimeRemainingColumn())
            self._bar = Progress(TextColumn("score"), *columns, console=Console(file=self._stream))
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: float, rows: int) -> None:
        """Note that ``rows`` rows are scored, which is ``done`` of 1; 0 where that is not known."""
        now = time.monotonic()
        if self._first_row is None:
            # Of a run that goes on, the rows of the one before say nothing about its speed.
            self._first_row, self._started = rows, now
        rate = (rows - self._first_row) / (now - self._started) if now > self._started else 0.0
        text = f"{rows:,} rows" + (f"  {rate:,.0f} rows/s" if rate else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif now - self._last_line >= LINE_INTERVAL_S:
            self._last_line, self._lines = now, True
            share = f"{done:4.0%}  " if done else ""
            print(f"{share}{text}", file=self._stream, flush=True)

    def finish(self, rows: int) -> None:
        """Say that all is scored, where lines were printed before."""
        if self._lines:
            self._last_line = -LINE_INTERVAL_S
        if self._lines or self._bar is not None:
            self.advance(1.0, rows)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=self._stream, flush=True)
