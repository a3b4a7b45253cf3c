"""Progress of long work: a bar on a terminal if rich is installed, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

#: Seconds between plain lines.
LINE_INTERVAL_S = 2.0


class Progress:
    """Progress on a stream.

    Attributes:
        bar_estimates: whether the bar shows a time left of its own, by the share that is done.
        started: when the work began (``time.monotonic``).
        is_shown: whether anything was shown.
    """

    bar_estimates = True

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._bar: Any = None
        self.started = self._last_line = time.monotonic()
        self.is_shown = False

    def __enter__(self) -> Self:
        if self._stream.isatty():
            try:
                from rich.console import Console
                from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
                from rich.progress import Progress as Bar
            except ImportError:
                return self
            columns: list[ProgressColumn] = [
                BarColumn(),
                TextColumn("{task.percentage:3.0f}%  {task.description}"),
            ]
            if self.bar_estimates:
                columns.append(TimeRemainingColumn())
            self._bar = Bar(TextColumn(self._label), *columns, console=Console(file=self._stream))
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: float, text: str, at_once: bool = False) -> None:
        """Show the share that is done and how it stands.

        Args:
            done: of 1; 0 where it is not known.
            text: how it stands.
            at_once: print a plain line though the last one was printed just now.
        """
        now = time.monotonic()
        if self._bar is not None:
            self.is_shown = True
            self._bar.update(self._task, completed=done, description=text)
        elif at_once or now - self._last_line >= LINE_INTERVAL_S:
            self._last_line, self.is_shown = now, True
            share = f"{done:4.0%}  " if done else ""
            print(f"{share}{text}", file=self._stream, flush=True)

    def say(self, text: str) -> None:
        """Print a separate line."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=self._stream, flush=True)
