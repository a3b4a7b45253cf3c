"""Reach agreement on what is served, alone in a process or with the other workers of a server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from eigenserve.app.agreement.agreement import Agreement, Arbiter, Offer
from eigenserve.app.agreement.board import Board
from eigenserve.app.registry.copies import Copies


class Peers(Protocol):
    """Define what a registry needs of those it agrees with."""

    @property
    def worker(self) -> int:
        """Return the number by which they know this process."""
        ...

    @property
    def copies(self) -> Copies | None:
        """Return where what was loaded is kept for workers that start later; None where there are none."""
        ...

    @property
    def agreement(self) -> Agreement:
        """Return what is served now."""
        ...

    def offer(self, number: int, offer: Offer) -> None:
        """Let the others know what this process has."""
        ...

    def unload(self, name: str) -> None:
        """Stop serving a model everywhere."""
        ...

    def load(self, name: str) -> None:
        """Serve a model again everywhere."""
        ...

    def promote(self, name: str, version: int | None) -> None:
        """Let a version answer by default everywhere; None for the newest."""
        ...


class Alone:
    """Agree with nobody else: for a process that serves alone."""

    worker = 0
    copies = None

    def __init__(self, keep_versions: int = sys.maxsize) -> None:
        self.agreement = Agreement()
        self._arbiter = Arbiter(keep_versions, self._publish)
        self._lock = threading.Lock()

    def offer(self, number: int, offer: Offer) -> None:
        """Serve what there is."""
        with self._lock:
            self._arbiter.offer(self.worker, number, offer)

    def unload(self, name: str) -> None:
        """Stop serving a model."""
        with self._lock:
            self._arbiter.unload(name)

    def load(self, name: str) -> None:
        """Serve a model again."""
        with self._lock:
            self._arbiter.load(name)

    def promote(self, name: str, version: int | None) -> None:
        """Let a version answer by default; None for the newest."""
        with self._lock:
            self._arbiter.promote(name, version)

    def _publish(self, agreement: Agreement) -> None:
        self.agreement = agreement


class Workers:
    """Agree with the other workers of one server.

    Args:
        worker: the number of this process.
        folder: what all of them share.
        send: sends the arbiter the name of one of its methods and the arguments.
    """

    def __init__(self, worker: int, folder: Path, send: Callable[[str, tuple[object, ...]], None]) -> None:
        self.worker = worker
        self.folder = folder
        self.copies = Copies(folder)
        self._board = Board(folder)
        self._send = send

    @property
    def agreement(self) -> Agreement:
        """Return what the arbiter last published."""
        return self._board.agreement

    def offer(self, number: int, offer: Offer) -> None:
        """Let the arbiter know what this worker has."""
        self._send("offer", (self.worker, number, offer))

    def unload(self, name: str) -> None:
        """Stop serving a model in all workers."""
        self._send("unload", (name,))

    def load(self, name: str) -> None:
        """Serve a model again in all workers."""
        self._send("load", (name,))

    def promote(self, name: str, version: int | None) -> None:
        """Let a version answer by default in all workers; None for the newest."""
        self._send("promote", (name, version))
