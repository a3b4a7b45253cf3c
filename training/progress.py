"""Report the progress of a fit or another long run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between plain lines.
LINE_INTERVAL_S = 2.0


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


class FitProgress:
    """Report progress on a stream: a bar if it is a terminal, a line every two seconds otherwise."""

    def __init__(self, stream: TextIO | None = None, label: str = "fit") -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._bar: Progress | None = None
        self._started = time.monotonic()
        self._last_line = self._started

    def __enter__(self) -> Self:
        console = Console(file=self._stream)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn(self._label),
                BarColumn(),
                TextColumn("{task.percentage:3.0f}%  {task.description}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int, total: int, text: str) -> None:
        """Show the share done, how it stands, and the time left."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
            return
        now = time.monotonic()
        if done == total or now - self._last_line >= LINE_INTERVAL_S:
            self._last_line = now
            left = (now - self._started) / done * (total - done)
            # The first steps wait for kernels to compile: they say nothing of what is to come.
            time_left = f"  {left:.0f} s left" if done > 0.03 * total else ""
            print(f"{done / total:4.0%}  {text}{time_left}", file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=self._stream, flush=True)
