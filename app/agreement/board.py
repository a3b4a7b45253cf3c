"""Publish what was agreed on to the processes of a server. This imports no model, as the writer needs none."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import threading
import time
from collections.abc import Set
from pathlib import Path

from eigenserve.app.agreement.agreement import Agreement

#: The folder's folder with copies of checkpoints.
COPIES = "copies"
#: Agreements whose files stay, for workers that have just read an older number.
KEPT_AGREEMENTS = 8
#: A copy is made before it is offered: one that nobody offers goes when it is older than that can take.
UNOFFERED_S = 60.0


class Board:
    """Share a folder among processes: a file for each agreement, and the last one's number in shared memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / COPIES).mkdir(exist_ok=True)
        path = folder / "number"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, 8)
            # One aligned word: it is read and written whole.
            self._number = memoryview(mmap.mmap(descriptor, 8)).cast("Q")
        finally:
            os.close(descriptor)
        self._agreement = Agreement()
        self._reading = threading.Lock()

    def publish(self, agreement: Agreement) -> None:
        """Let everybody serve what is agreed on, from this moment."""
        (self._folder / f"{agreement.number}.json").write_bytes(agreement.to_json())
        self._number[0] = agreement.number
        (self._folder / f"{agreement.number - KEPT_AGREEMENTS}.json").unlink(missing_ok=True)

    @property
    def agreement(self) -> Agreement:
        """Return the last agreement. Looking whether it still is the last takes less than a microsecond."""
        agreement = self._agreement
        if self._number[0] == agreement.number:
            return agreement
        with self._reading:
            while self._agreement.number != (number := self._number[0]):
                try:
                    self._agreement = Agreement.from_json((self._folder / f"{number}.json").read_bytes())
                except FileNotFoundError:
                    continue  # there have been others since
            return self._agreement

    def prune_copies(self, digests: Set[str]) -> None:
        """Remove the copies of all checkpoints but these, and of those that were copied just now."""
        for place in (self._folder / COPIES).iterdir():
            # A draft becomes a copy meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if place.name not in digests and time.time() - place.stat().st_mtime > UNOFFERED_S:
                    shutil.rmtree(place, ignore_errors=True)
