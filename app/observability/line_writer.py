"""LineWriter: lines for standard error, written on a thread, so that a reader who has stopped stops nobody else."""

from __future__ import annotations

import os
import threading
from collections import deque

#: Bytes that may wait for the reader; more are dropped and counted. A busy server writes as much in a few seconds.
MAX_WAITING_BYTES = 2**21
#: At the end, how long the reader has to take what waits.
LAST_S = 1.0


class LineWriter:
    """Write to a file descriptor without ever waiting for it.

    Attributes:
        dropped: lines that had no room since the last one that was written.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, lines: bytes) -> None:
        """Write whole lines soon, or drop them."""
        with self._changed:
            if self._waiting + len(lines) > MAX_WAITING_BYTES:
                self.dropped += lines.count(b"\n")
                return
            self._lines.append(lines)
            self._waiting += len(lines)
            if self._thread is None:
                # A daemon: a process must end though nobody reads.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is written, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, LAST_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                content, dropped = b"".join(self._lines), self.dropped
                self._lines.clear()
                self.dropped = 0
            size = len(content)
            if dropped:
                content += b'{"level": "warning", "message": "%d log lines were dropped: nobody read them"}\n' % dropped
            try:
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError:
                # Nobody will ever read it: there is nowhere to report that.
                pass
            with self._changed:
                self._waiting -= size
                self._changed.notify_all()
