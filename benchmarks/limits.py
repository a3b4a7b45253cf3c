"""Measure what no program on this machine can beat: reading memory, vector instructions, bytes over the loopback."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from benchmarks.eigensolver import vector_instructions_per_second
from benchmarks.timing import interleaved

#: Numbers that lie in memory, and in the second cache.
FAR, NEAR = 2**24, 2**15


def machine_limits(rounds: int) -> Mapping[str, float]:
    """Return nanoseconds for a float64 from memory and from the second cache, and for a vector instruction."""
    arrays = {"a float64 from memory": np.ones(FAR), "a float64 from the second cache": np.ones(NEAR)}
    times = interleaved({place: numbers.sum for place, numbers in arrays.items()}, rounds)
    limits = {f"limit: {place}, ns": 1e9 * times[place] / len(numbers) for place, numbers in arrays.items()}
    return {**limits, "limit: a vector instruction of all threads, ns": 1e9 / vector_instructions_per_second()}


@contextlib.contextmanager
def loopback_echo(sent: int, answered: int) -> Iterator[Callable[[], None]]:
    """Yield a call that sends so many bytes to another process and waits for so many, over one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = multiprocessing.get_context("spawn").Process(
            target=_answer, args=(listener, sent, answered), daemon=True
        )
        peer.start()
        request = bytes(sent)
        with socket.create_connection(listener.getsockname()) as connection:

            def call() -> None:
                connection.sendall(request)
                _receive(connection, answered)

            yield call
    peer.join(10)


def _answer(listener: socket.socket, sent: int, answered: int) -> None:
    answer = bytes(answered)
    with listener.accept()[0] as connection:
        while _receive(connection, sent):
            connection.sendall(answer)


def _receive(connection: socket.socket, size: int) -> bool:
    """Take so many bytes; false where the connection ended."""
    while size > 0:
        taken = len(connection.recv(min(size, 2**20)))
        if not taken:
            return False
        size -= taken
    return True
