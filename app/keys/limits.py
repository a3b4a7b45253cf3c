"""Limit what each key's owner may have computed, over all worker processes of a server."""

from __future__ import annotations

import fcntl
import hashlib
import math
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eigenserve.app.keys.grants import Grant
from eigenserve.app.problems import ProblemError

#: Rows of so many seconds may come at once.
BURST_S = 2.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class Limits:
    """Account for rows and heavy work by the names of keys.

    A name's account is one number in a small file that all processes map: until when what was computed for it lasts at
    its rate. Heavy work holds a lock on one of its places, which the system releases when a process dies.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._accounts: dict[str, tuple[mmap.mmap, int]] = {}
        self._lock = threading.Lock()

    def share(self, folder: Path) -> None:
        """Keep the accounts in a folder that other processes use, too; set before any request."""
        self._folder = folder / "limits"
        self._folder.mkdir(exist_ok=True)

    def check(self, grant: Grant) -> ProblemError | None:
        """Return 429 for an owner whose rows of late were more than its rate; None for any other."""
        if grant.rows_per_s is None:
            return None
        ahead_s = self._update(grant, 0.0) - BURST_S
        if ahead_s <= 0:
            return None
        return _too_many(f"{grant.name!r} may have {grant.rows_per_s:g} rows per second", ahead_s)

    def charge(self, grant: Grant, rows: int) -> None:
        """Account for rows that are computed for an owner."""
        if grant.rows_per_s is not None:
            self._update(grant, rows / grant.rows_per_s)

    @contextmanager
    def heavy(self, grant: Grant | None) -> Iterator[None]:
        """Hold one of an owner's places for heavy work.

        Raises:
            ProblemError: 429 when all of them are taken.
        """
        if grant is None or grant.heavy is None:
            yield
            return
        for number in range(grant.heavy):
            descriptor = os.open(self._file(f"{number}-{_part(grant.name)}"), _FLAGS, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            try:
                yield
            finally:
                os.close(descriptor)
            return
        raise _too_many(f"{grant.name!r} may have {grant.heavy} heavy requests at a time", 1.0)

    def _update(self, grant: Grant, seconds: float) -> float:
        """Add to an account, and return by how many seconds it is ahead of the clock, which all processes share."""
        with self._lock:
            if grant.name not in self._accounts:
                descriptor = os.open(self._file(_part(grant.name)), _FLAGS, 0o600)
                os.ftruncate(descriptor, 8)
                self._accounts[grant.name] = mmap.mmap(descriptor, 8), descriptor
            account, descriptor = self._accounts[grant.name]
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            try:
                now = time.monotonic()
                until = max(now, struct.unpack("d", account[:])[0]) + seconds
                account[:] = struct.pack("d", until)
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN)
            return until - now

    def _file(self, name: str) -> Path:
        if self._folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="eigenserve-limits-")
            self._folder = Path(self._own.name)
        return self._folder / name


def _part(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _too_many(limit: str, seconds: float) -> ProblemError:
    return ProblemError(429, f"{limit}; try again later", headers={"Retry-After": str(max(1, math.ceil(seconds)))})
