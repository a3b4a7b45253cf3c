"""What a fit tells while it runs: a bar on a terminal, plain lines elsewhere."""

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
    """Told of each epoch."""

    def epoch(self, done: int, total: int, loss: float, best: float) -> None:
        """``done`` of ``total`` epochs have run; the validation loss now, and the best so far."""


class Silent:
    """Tells nothing."""

    def epoch(self, done: int, total: int, loss: float, best: float) -> None:
        """Ignore it."""


class FitProgress:
    """Progress on a stream: a bar if it is a terminal, a line every two seconds otherwise."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._bar: Progress | None = None
        self._started = time.monotonic()
        self._last_line = self._started

    def __enter__(self) -> Self:
        console = Console(file=self._stream)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("fit"),
                BarColumn(),
                TextColumn("epoch {task.completed:.0f}/{task.total:.0f}  {task.description}"),
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

    def epoch(self, done: int, total: int, loss: float, best: float) -> None:
        """Show an epoch, its loss, and the time left."""
        text = f"validation loss {loss:.5g} (best {best:.5g})"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
            return
        now = time.monotonic()
        if done in (1, total) or now - self._last_line >= LINE_INTERVAL_S:
            self._last_line = now
            left = (now - self._started) / done * (total - done)
            print(f"epoch {done}/{total}  {text}  {left:.0f} s left", file=self._stream, flush=True)
