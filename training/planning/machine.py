"""Machine: the cores, speed and memory that a fit may count on."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from eigenserve.training.additive.design import Design
from eigenserve.training.curves.basis import main_curve

#: Cores that a plan is made for, if there are as many: more must not give another model.
PLANNED_CORES = 2
#: Processor time of the timed products on the machine that the constants of ``training.planning.costs`` were measured
#: on (a core of an AMD EPYC with AVX-512, at about 2.6 GHz).
REFERENCE_S = 0.00135
TIMED_ROWS, TIMED_CURVES, TIMED_RUNS = 4_096, 16, 5


@dataclass(frozen=True)
class Machine:
    """Hold what a plan counts on.

    Attributes:
        cores: at most PLANNED_CORES.
        slowness: how much longer work takes here than where the costs were measured, to a power of two.
        free_bytes: memory that is free, within the limits of this process and its control groups.
    """

    cores: int
    slowness: float
    free_bytes: int


def this_machine(reproducible: bool = False) -> Machine:
    """Look at this one; the first call of a process also loads the kernels that it times.

    Args:
        reproducible: count on the cores and the speed of the machine that the costs were measured on.
    """
    if reproducible:
        return Machine(PLANNED_CORES, 1.0, free_memory())
    return Machine(min(PLANNED_CORES, _cores()), _slowness(), free_memory())


def _cores() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _control_groups("cpu"):
        limits = _read(folder / "cpu.max").split()
        if len(limits) == 2 and limits[0] != "max":
            count = min(count, max(1, round(int(limits[0]) / int(limits[1]))))
    return count


@cache
def _slowness() -> float:
    """Time a few products of the additive model in units of REFERENCE_S, by the processor's clock.

    Rounded to a power of two: a machine that is a little slower at times still makes the same plan.
    """
    rng = np.random.default_rng(0)
    curve = main_curve(0, 0, rng.standard_normal(256), False, "piecewise", 16)
    assert curve is not None
    starts = rng.integers(0, 15, (TIMED_ROWS, TIMED_CURVES)) + 16 * np.arange(TIMED_CURVES)
    weights = rng.uniform(0.0, 1.0, starts.shape).astype(np.float32)
    design = Design([curve] * TIMED_CURVES, starts.astype(np.int32), weights, 4, parts=1)
    params, bend = np.zeros((design.params, 4)), design.padded(np.ones((TIMED_ROWS, 4)))
    times = []
    for _ in range(TIMED_RUNS):
        started = time.thread_time()
        for _ in range(4):
            design.product(params, bend, 0, bend)
        times.append(time.thread_time() - started)
    return float(2.0 ** np.round(np.log2(max(min(times[1:]) / REFERENCE_S, 1e-3))))


def free_memory() -> int:
    """Count the bytes that may still be used: free, and within the limits of control groups and the process."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    for folder in _control_groups("memory"):
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _read(folder / most), _read(folder / now)
            if limit.isdigit() and used.isdigit():
                # Pages of files count as used, and are given back when they are needed.
                cached = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
                free = min(free, int(limit) - int(used) + int(cached.get("inactive_file", 0)))
    limit_s, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit_s != resource.RLIM_INFINITY:
        pages = _read(Path("/proc/self/statm")).split()
        free = min(free, limit_s - int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else limit_s)
    return max(0, free)


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield this process's control groups and those above them, of version 2 and of version 1."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = Path("/sys/fs/cgroup") / (controller if names else "")
        folder = root / path.lstrip("/")
        yield from (above for above in (folder, *folder.parents) if above.is_relative_to(root))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
