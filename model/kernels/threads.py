"""Run kernels that release the GIL on threads: contiguous ranges on a plain pool.

Numba's own threading layers are not used: a parallel kernel costs tens of microseconds to launch, its
default layer aborts the process when two Python threads launch at once, and it hangs in a forked child. A
pool of Python threads has none of this, and compiled code is the same with one thread or many.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

# Measured on a busy machine: no loss against one per thread, and no wait for a range that was held up.
RANGES_PER_THREAD = 4

_lock = Lock()
_threads: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_threads = 0


def num_threads() -> int:
    """Return how many threads `for_ranges` may use: what was set, else the CPUs this process may run on."""
    if _threads is not None:
        return _threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Let `for_ranges` use n threads from now on. Raises ValueError for n < 1."""
    global _threads
    if n < 1:
        raise ValueError(f"the number of threads must be at least 1; got {n}")
    _threads = n


def for_ranges(count: int, grain: int, work: Callable[[int, int], None]) -> None:
    """Call work(start, stop) for contiguous ranges that cover [0, count), in parallel.

    Ranges start at multiples of `grain`, so count <= grain runs inline, as does everything when there is
    one thread. There are up to RANGES_PER_THREAD ranges per thread, taken by whoever is free, the caller's
    thread included: a thread that the system holds up delays one range only. `work` must give the same
    results for any split, and may not call `for_ranges`. The first error raised is raised again once all
    threads have ended.
    """
    if count <= 0:
        return
    # Asking for the number of CPUs costs a tenth of a small batch.
    if count <= grain or (threads := num_threads()) == 1:
        work(0, count)
        return
    grains = -(-count // grain)
    step = grain * -(-grains // (threads * RANGES_PER_THREAD))
    starts = iter(range(0, count, step))  # one C call per step: safe to share among threads

    def drain() -> None:
        for start in starts:
            work(start, min(count, start + step))

    helpers = min(threads, -(-count // step)) - 1
    futures = _submit(drain, helpers, threads)
    try:
        drain()
    finally:
        errors = [error for error in (future.exception() for future in futures) if error is not None]
    if errors:
        raise errors[0]


def _submit(work: Callable[[], None], times: int, threads: int) -> list[Future[None]]:
    """Hand `work` to the pool's threads that many times.

    A pool of another size takes the place of the old one, whose threads end once they have done what they were
    handed: under the lock, so that nothing is handed to a pool that has been closed.
    """
    global _pool, _pool_threads
    with _lock:
        if _pool is None or _pool_threads != threads:
            if _pool is not None:
                _pool.shutdown(wait=False)
            _pool, _pool_threads = ThreadPoolExecutor(threads, thread_name_prefix="eigenserve"), threads
        return [_pool.submit(work) for _ in range(times)]


def _forget_pool() -> None:
    """Drop the pool in a forked child: the parent's threads are not here, and one of them may have held the lock."""
    global _lock, _pool
    _lock, _pool = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
