"""Fairness among clients: whose request a thread takes next, and who computes now where several share one turn."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

#: How long one computes while others wait for their turn. Shorter ones would only move data between caches.
TURN_S = 0.1

T = TypeVar("T")


class FairThreads:
    """Threads that take the clients' requests in turn, each client's in the order of their arrival.

    Attributes:
        per_client: threads that one client may have at a time.
    """

    def __init__(self, count: int, name: str, per_client: int) -> None:
        self.per_client = per_client
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._waiting: dict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = {}
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    def submit(self, client: str, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` when it is its turn; it is dropped if the future is cancelled before."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(client, deque()).append((future, work))
        self._pool.submit(self._work)
        return future

    def close(self) -> None:
        """Let the threads go when they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        """Run what may run now; what a client has too much of is run by the thread that ends one of its requests."""
        while (taken := self._take()) is not None:
            client, future, work = taken
            try:
                if future.set_running_or_notify_cancel():
                    _settle(future, work)
            finally:
                with self._lock:
                    self._running[client] -= 1
                    if not self._running[client]:
                        del self._running[client]
            # Holding them would keep their bodies until the next request comes.
            del taken, future, work

    def _take(self) -> tuple[str, Future[Any], Callable[[], Any]] | None:
        with self._lock:
            client = next((c for c in self._waiting if self._running[c] < self.per_client), None)
            if client is None:
                return None
            # It goes to the end of the line.
            requests = self._waiting.pop(client)
            future, work = requests.popleft()
            if requests:
                self._waiting[client] = requests
            self._running[client] += 1
            return client, future, work


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        # The error's traceback holds this frame: with the future in it, what was read of a refused body would wait for
        # the garbage collector.
        del future, work


class Turn:
    """A lock that is handed on in the order of asking, of which a long computation lets go now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._held = False

    def take(self) -> None:
        """Wait for the turn."""
        with self._lock:
            if not self._held:
                self._held = True
                return
            event = threading.Event()
            self._waiting.append(event)
        event.wait()

    def hand_on(self) -> None:
        """End the turn; the one that waits longest has it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False

    @property
    def is_wanted(self) -> bool:
        """Whether others wait for it."""
        return bool(self._waiting)


class Slice:
    """The turns of one computation.

    Attributes:
        used_s: how long it computed, without its waits.
    """

    def __init__(self, turn: Turn) -> None:
        self.turn, self.used_s = turn, 0.0
        turn.take()
        self._since = time.monotonic()

    def offer(self) -> None:
        """Let others have their turn, if one is over and they wait."""
        if time.monotonic() - self._since > TURN_S and self.turn.is_wanted:
            self.end()
            self.turn.take()
            self._since = time.monotonic()

    def end(self) -> None:
        """End the turn."""
        self.used_s += time.monotonic() - self._since
        self.turn.hand_on()
