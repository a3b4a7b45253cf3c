"""MemoryBudget: what bodies, and answers that clients have not taken yet, may occupy together."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections import Counter
from dataclasses import dataclass, field

from eigenserve.app.problems import ProblemError

#: One client, by its key or address, may hold this share of the budget.
CLIENT_SHARE = 0.5
#: Memory is given back when the process has grown by this much.
TRIMMED_BYTES = 2**25


@dataclass
class MemoryBudget:
    """The account of what requests hold. Any thread may use it.

    Attributes:
        total: bytes.
        held: bytes that are reserved now.
    """

    total: int
    held: int = 0
    _by_client: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def most(self) -> int:
        """Return how many bytes one client may hold."""
        return int(self.total * CLIENT_SHARE)

    def reservation(self, client: str) -> Reservation:
        """Return an empty reservation of a client."""
        return Reservation(self, client)

    def take(self, client: str, size: int) -> None:
        """Reserve ``size`` bytes, or give back where it is negative.

        Raises:
            ProblemError: 503 more than is left now.
        """
        most = self.most
        with self._lock:
            held = self._by_client[client] + size
            if size > 0 and (held > most or self.held + size > self.total):
                whose = "your requests hold" if held > most else "requests hold"
                raise ProblemError(
                    503, f"overloaded: {whose} too much memory; try again in 1 s", headers={"Retry-After": "1"}
                )
            self.held += size
            self._by_client[client] = held
            if not held:
                del self._by_client[client]


class Reservation:
    """What one request holds of a budget; given back when it is released, or forgotten."""

    def __init__(self, budget: MemoryBudget, client: str) -> None:
        self.budget, self.client, self.size = budget, client, 0

    def resize(self, size: int) -> None:
        """Hold ``size`` bytes instead.

        Raises:
            ProblemError: 413 more than one client may ever hold; 503 more than is left now.
        """
        if size > self.size and size > (most := self.budget.most):
            raise ProblemError(
                413, f"the request or its answer would take {size >> 20} MiB; at most {most >> 20}: send fewer rows"
            )
        self.budget.take(self.client, size - self.size)
        self.size = size

    def hold(self, size: int) -> None:
        """Hold at least ``size`` bytes; raises as ``resize``."""
        if size > self.size:
            self.resize(size)

    def release(self) -> None:
        """Give all of it back."""
        size, self.size = self.size, 0
        if size:
            self.budget.take(self.client, -size)

    def __del__(self) -> None:
        self.release()


class Trimmer:
    """Return freed memory to the system: glibc keeps it for as long as it may be of use."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._least = 0

    def trim(self) -> None:
        """Give back what was freed, if that may be much: more than at the leanest moment so far."""
        if self._trim is None:
            return
        if not self._least or _resident_bytes() > self._least + TRIMMED_BYTES:
            self._trim(0)
        size = _resident_bytes()
        self._least = min(self._least or size, size)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
