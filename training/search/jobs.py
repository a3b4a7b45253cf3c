"""Run jobs by as many threads as there are, on all ranks: their results come in order, whoever ran them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from time import thread_time
from typing import TypeVar

from eigenserve.model.kernels.threads import num_threads
from eigenserve.training.search.ranks import Ranks

T = TypeVar("T")

#: Seconds between looks at the clock while a job runs.
POLL_S = 0.25


class OutOfTimeError(Exception):
    """Raised where jobs were given up since they took too long."""


def run_jobs(
    jobs: Sequence[Callable[[Event], T]], ranks: Ranks | None = None, late: Callable[[], bool] = lambda: False
) -> Iterator[T]:
    """Yield results of all jobs in their order, run by as many threads as there are, on all ranks in turn.

    Each is called with an event that is set when it should give up.

    Raises:
        OutOfTimeError: ``late`` came true in a process that is alone: several would have to agree on it.
    """
    ranks = ranks or Ranks()
    stop = Event()
    with ThreadPoolExecutor(num_threads()) as pool:
        futures = [pool.submit(_timed, job, stop, ranks) for job in jobs[ranks.rank :: ranks.size]]
        try:
            for first in range(0, len(jobs), ranks.size):
                own: T | None = None
                if first + ranks.rank < len(jobs):
                    future = futures[first // ranks.size]
                    while ranks.size == 1 and not wait([future], timeout=POLL_S).done:
                        if late():
                            raise OutOfTimeError
                    own, seconds = future.result()
                    ranks.jobs, ranks.seconds = ranks.jobs + 1, ranks.seconds + seconds
                yield from ranks.exchange(own)[: len(jobs) - first]  # type: ignore[misc]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _timed(job: Callable[[Event], T], stop: Event, ranks: Ranks) -> tuple[T, float]:
    """Return a job's result, and the processor time it took."""
    started = thread_time()
    with ranks.timed():
        return job(stop), thread_time() - started
