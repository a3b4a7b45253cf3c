"""Load: client threads that send requests until they are stopped, and note what came back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


@dataclass
class Load:
    """What the clients saw.

    Attributes:
        answers: (status, seconds, response) of every answered request.
        failures: transport errors, each with whether any request was ever answered on its connection.
    """

    answers: list[tuple[int, float, httpx.Response]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def statuses(self) -> set[int]:
        return {status for status, _, _ in self.answers}

    def stop(self) -> None:
        self.stopping.set()


@contextmanager
def load_on(url: str, send: Callable[[httpx.Client], httpx.Response], clients: int = 4) -> Iterator[Load]:
    """Keep ``clients`` threads sending; they stop when the block ends, at the latest."""
    load = Load()

    def work() -> None:
        with httpx.Client(base_url=url, timeout=30.0) as client:
            while not load.stopping.is_set():
                started = time.perf_counter()
                try:
                    response = send(client)
                except httpx.TransportError as error:
                    load.failures.append(error)
                    time.sleep(0.01)
                else:
                    seconds = time.perf_counter() - started
                    load.answers.append((response.status_code, seconds, response))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join(60)
