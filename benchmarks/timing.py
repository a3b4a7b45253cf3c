"""Fair times on a machine that others use: rivals take turns, and medians are compared."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(
    rivals: Mapping[str, Callable[[], object]],
    rounds: int,
    least_s: float = 2e-2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds per call of each rival, measured in turns.

    A turn repeats short calls for `least_s`, after one that is not timed: the rival before it has emptied
    the caches and let the other threads fall asleep. With `time.process_time` as the clock it is the processor's
    seconds, of all threads: what is left of waiting where other processes use the cores.
    """
    repeats = {}
    for name, call in rivals.items():
        call()
        start = clock()
        call()
        repeats[name] = max(1, int(least_s / max(clock() - start, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, call in rivals.items():
            if repeats[name] > 1:
                call()
            start = clock()
            for _ in range(repeats[name]):
                call()
            times[name].append((clock() - start) / repeats[name])
    return {name: median(own) for name, own in times.items()}
