"""Show the supervisor that a worker's event loop turns, and hand it what the worker has to report."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

#: The loop is never busy for more than milliseconds; what takes longer runs on threads.
HEARTBEAT_S = 1.0


@dataclass(frozen=True)
class Alive:
    """Report that the event loop turns."""


@dataclass(frozen=True)
class Ready:
    """Report that the worker serves."""


@dataclass(frozen=True)
class CannotServe:
    """Report why the worker ends."""

    reason: str


@dataclass(frozen=True)
class ForArbiter:
    """Call the arbiter's method ``name``: what is offered, loaded or unloaded."""

    name: str
    arguments: tuple[object, ...]


Message = Alive | Ready | CannotServe | ForArbiter


class Line:
    """Hold a worker's end of the pipe to its supervisor; any thread may send."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the supervisor is gone.
        """
        with self._lock:
            self._connection.send(message)


async def beat(line: Line, orphaned: Callable[[], None]) -> None:
    """Send ``Alive`` every second, from before the models are loaded until the end.

    Args:
        line: to the supervisor.
        orphaned: called when the supervisor is gone.
    """
    while True:
        try:
            line.send(Alive())
        except OSError:
            orphaned()
            return
        await asyncio.sleep(HEARTBEAT_S)
