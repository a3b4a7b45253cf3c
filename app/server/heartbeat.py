"""Show the supervisor that a worker's event loop turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from multiprocessing.connection import Connection

#: The loop is never busy for more than milliseconds; what takes longer runs on threads.
HEARTBEAT_S = 1.0


async def beat(line: Connection, orphaned: Callable[[], None]) -> None:
    """Say "alive" every second, from before the models are loaded until the end.

    Args:
        line: to the supervisor.
        orphaned: called when the supervisor is gone.
    """
    while True:
        try:
            line.send("alive")
        except OSError:
            orphaned()
            return
        await asyncio.sleep(HEARTBEAT_S)
