"""Run a fit in several processes that `torchrun` started, each of which trains its share of the members.

Candidates, folds and members are trained apart from each other, so they are what is shared out. Splitting the rows of a
batch instead would have to add up gradients over the network after every step of some 50 microseconds, and would
round otherwise: a fit would depend on how many processes there are. This way it has the same bytes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from eigenserve.errors import UserError
from eigenserve.model.kernels.threads import num_threads, set_num_threads

T = TypeVar("T")

#: How long a rank waits for the others before it gives up: far longer than any of them trains a member.
TIMEOUT = timedelta(minutes=30)


@dataclass
class Ranks:
    """Place this process among those of one fit; by default it is alone.

    All of them go through the same calls in the same order.

    Attributes:
        rank: its number, 0 ... size - 1. Rank 0 is the one that prints and writes.
        size: how many there are.
        jobs: what this one has trained so far.
        seconds: processor time that took.
        finished_s: how long the longest of them took on the wall.
        running: when each that runs began, by the monotonic clock.
    """

    rank: int = 0
    size: int = 1
    jobs: int = 0
    seconds: float = 0.0
    finished_s: float = 0.0
    running: dict[int, float] = field(default_factory=dict)

    @property
    def longest_s(self) -> float:
        """Return the seconds on the wall of the longest training so far, those that run included."""
        return max([self.finished_s, *(time.monotonic() - began for began in tuple(self.running.values()))])

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time a training of this rank."""
        key, began = threading.get_ident(), time.monotonic()
        self.running[key] = began
        try:
            yield
        finally:
            del self.running[key]
            self.finished_s = max(self.finished_s, time.monotonic() - began)

    @property
    def first(self) -> bool:
        """Return whether this rank is the one that prints and writes."""
        return self.rank == 0

    def exchange(self, value: T) -> list[T]:
        """Exchange a value with everyone, in the order of the ranks."""
        if self.size == 1:
            return [value]
        import torch.distributed

        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def agree(self, work: Callable[[], T]) -> T:
        """Agree on what ``work`` gives rank 0: other processors may round otherwise.

        Raises:
            UserError: rank 0 has met one.
        """
        if self.size == 1:
            return work()
        found: tuple[T | None, str | None] = (None, None)
        if self.first:
            try:
                found = (work(), None)
            except UserError as error:
                found = (None, str(error))
        import torch.distributed

        message = [found]
        torch.distributed.broadcast_object_list(message, src=0)
        value, fault = message[0]
        if fault is not None:
            raise UserError(fault)
        return value  # type: ignore[return-value]


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Yield this process's rank among those that `torchrun` started, with its share of the cores; alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Ranks()
        return
    # A single process never imports it.
    import torch.distributed

    threads = num_threads()
    set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    torch.distributed.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()
        set_num_threads(threads)
