"""Bound what a client may leave open: calls whose message does not come, and calls at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

#: Calls at a time, and those of one client (an address): calls without a message must not shut others out.
MAX_CALLS, CLIENT_CALLS = 64, 48


class CallError(Exception):
    """End a call with a code and a reason.

    gRPC keeps the traceback of an abort with the call: it must begin where no message is at hand, or each refused one
    would wait for the garbage collector.
    """

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Arrivals:
    """Account for the calls that are open.

    Args:
        timeout_s: within which the message of a call must arrive.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open: Counter[str] = Counter()

    def take(self, client: str) -> Callable[[], None]:
        """Take a place of a client's for a call, and return what gives it back.

        Raises:
            CallError: all of them are taken.
        """
        if self._open[client] >= CLIENT_CALLS:
            reason = f"a client may have {CLIENT_CALLS} calls at a time; try again later"
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        self._open[client] += 1

        def give_back() -> None:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]

        return give_back

    async def message(self, context: Any) -> Any:
        """Receive the message of a call.

        An iterator of messages would keep the last one for good (grpcio 1.85), so it is left alone.

        Raises:
            CallError: none came in time, or none at all.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await context.read()
        except TimeoutError:
            reason = f"the message must arrive within {self._timeout_s:g} seconds"
            raise CallError(grpc.StatusCode.DEADLINE_EXCEEDED, reason) from None
        if message is grpc.aio.EOF:
            raise CallError(grpc.StatusCode.INVALID_ARGUMENT, "a call must have a message")
        return message

    async def in_time(self, context: Any) -> AsyncIterator[Any]:
        """Yield the messages of a stream until none comes in time."""
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    message = await context.read()
            except TimeoutError:
                return
            if message is grpc.aio.EOF:
                return
            yield message
