"""Fair times on a machine that others use: rivals take turns, and medians are compared."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(rivals: Mapping[str, Callable[[], object]], rounds: int, least_s: float = 2e-2) -> dict[str, float]:
    """Median seconds per call of each rival, measured in turns.

    A turn repeats short calls for `least_s`, after one that is not timed: the rival before it has emptied
    the caches and let the other threads fall asleep.
    """
    repeats = {}
    for name, call in rivals.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, int(least_s / max(time.perf_counter() - start, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, call in rivals.items():
            if repeats[name] > 1:
                call()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: median(own) for name, own in times.items()}
