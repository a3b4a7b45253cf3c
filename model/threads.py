"""Threads for kernels that release the GIL: contiguous ranges on a plain pool.

Numba's own threading layers are not used: a parallel kernel costs tens of microseconds to launch, its
default layer aborts the process when two Python threads launch at once, and it hangs in a forked child. A
pool of Python threads has none of this, and compiled code is the same with one thread or many.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from threading import Lock

_lock = Lock()
_threads: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_owner = (0, 0)  # (process id, threads) the pool was made for; another pid means we have been forked


def num_threads() -> int:
    """Threads that `for_ranges` may use: what was set, else the CPUs this process may run on."""
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

    A range holds at least `grain` items (and starts at a multiple of it), so count <= grain runs inline, as
    does everything when there is one thread. The caller's thread does the last range itself. `work` must
    give the same results for any split, and may not call `for_ranges`. The first error raised by a range is
    raised again once all ranges have ended.
    """
    if count <= 0:
        return
    threads = num_threads()
    if count <= grain or threads == 1:
        work(0, count)
        return
    grains = -(-count // grain)
    ranges = min(threads, grains)
    bounds = [min(count, grain * (grains * i // ranges)) for i in range(ranges + 1)]
    pool = _shared_pool(threads)
    futures: list[Future[None]] = [pool.submit(work, start, stop) for start, stop in pairwise(bounds[:-1])]
    try:
        work(bounds[-2], bounds[-1])
    finally:
        errors = [error for error in (future.exception() for future in futures) if error is not None]
    if errors:
        raise errors[0]


def _shared_pool(threads: int) -> ThreadPoolExecutor:
    global _lock, _pool, _pool_owner
    owner = (os.getpid(), threads)
    if _pool is None or _pool_owner != owner:
        if _pool_owner[0] != owner[0]:
            _lock = Lock()  # the parent may have held it while it forked
        with _lock:
            if _pool is None or _pool_owner != owner:
                if _pool is not None and _pool_owner[0] == owner[0]:
                    _pool.shutdown(wait=False)
                _pool = ThreadPoolExecutor(threads, thread_name_prefix="eigenserve")
                _pool_owner = owner
    return _pool
