"""The service offered three times what it can do: goodput, waits, refusals, memory and recovery.

    python -m benchmarks.overload --model models/housing [--quick] [--workers N]

Capacity is what four busy connections reach, measured before and after. Then requests start at three times that
rate, whether or not earlier ones were answered. The generator shares the machine with the server, so goodput is
given twice: against capacity by the clock, and against capacity by the server's own processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.history import record
from benchmarks.service import ARROW, JSON, ROOT, arrow_body, feature_rows, free_port, wait_for_server
from eigenserve.model import load_model

#: Connections that keep the server busy when its capacity is measured.
BUSY = 4
OVERLOAD = 3
#: Goodput that is wanted, in percent of the capacity.
WANTED = 90
ROWS = 1000
DEADLINE_S = 5.0
#: A generator with more requests under way than this would measure itself.
MOST_CONNECTIONS = 4000


@dataclass
class Seen:
    """What came back.

    Attributes:
        statuses: how many answers of each status.
        accepted_s: seconds from the start of a request to the end of its answer, of those answered with 200.
        refused_s: the same of those answered with 503.
        broken: connections that failed, and 503s without Retry-After.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)


class _Client(asyncio.Protocol):
    """One connection that sends a request on demand, and notes its answer."""

    def __init__(self, request: bytes, seen: Seen) -> None:
        self.request, self.seen = request, seen
        self.transport: Any = None
        self.answered: asyncio.Future[None] | None = None
        self.parts: list[bytes] = []
        self.missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answered is not None and not self.answered.done():
            self.seen.broken["connection lost"] += 1
            self.answered.set_result(None)

    async def ask(self) -> None:
        assert self.transport is not None
        self.parts, self.missing = [], -1
        self.answered = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self.transport.write(self.request)
        await self.answered
        if self.missing == 0:
            self._note(b"".join(self.parts), time.perf_counter() - started)

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        if self.missing < 0:
            head = b"".join(self.parts)
            end = head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = int(head[:end].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.missing = end + 4 + length - len(head)
        else:
            self.missing -= len(data)
        if self.missing == 0 and self.answered is not None:
            self.answered.set_result(None)

    def _note(self, answer: bytes, seconds: float) -> None:
        head = answer[: answer.find(b"\r\n\r\n")].lower()
        status = int(head[9:12])
        self.seen.statuses[status] += 1
        if status == 200:
            self.seen.accepted_s.append(seconds)
        elif status == 503:
            self.seen.refused_s.append(seconds)
            if b"\r\nretry-after: " not in head:
                self.seen.broken["no Retry-After"] += 1


@dataclass
class Target:
    """A server under test.

    Attributes:
        port: where it listens.
        pids: its processes.
        request: the bytes of one request.
    """

    port: int
    pids: list[int]
    request: bytes

    async def connect(self, seen: Seen) -> _Client:
        """A new connection."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: _Client(self.request, seen), "127.0.0.1", self.port)
        return client

    def processor_s(self) -> float:
        """Processor time of its processes so far."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Resident memory of its processes together."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def capacity(target: Target, seconds: float) -> tuple[float, float]:
    """Answers per second, and per second of the server's processor time, with ``BUSY`` busy connections."""
    seen = Seen()
    clients = [await target.connect(seen) for _ in range(BUSY)]
    used, started = target.processor_s(), time.perf_counter()
    ends = started + seconds

    async def keep_busy(client: _Client) -> None:
        while time.perf_counter() < ends:
            await client.ask()

    await asyncio.gather(*map(keep_busy, clients))
    took, used = time.perf_counter() - started, target.processor_s() - used
    for client in clients:
        if client.transport is not None:
            client.transport.close()
    return seen.statuses[200] / took, seen.statuses[200] / used


async def overload(target: Target, rate: float, seconds: float) -> tuple[Seen, float, float, list[float], float]:
    """Offer ``rate`` requests per second.

    Returns:
        What came back; good answers per second, and per second of the server's processor time; its memory over
        time; seconds from the end of the overload to the last answer.
    """
    seen, idle, memory = Seen(), deque[_Client](), list[float]()
    tasks: set[asyncio.Task[None]] = set()
    unable = 0

    async def one() -> None:
        nonlocal unable
        client = idle.pop() if idle else None
        if client is None or client.transport is None:
            if len(tasks) > MOST_CONNECTIONS:
                unable += 1
                return
            try:
                client = await target.connect(seen)
            except OSError as error:
                seen.broken[type(error).__name__] += 1
                return
        await client.ask()
        if client.transport is not None:
            idle.append(client)

    used, started = target.processor_s(), time.perf_counter()
    sent, sampled = 0, 0.0
    while (now := time.perf_counter() - started) < seconds:
        while sent < now * rate:
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        if now >= sampled:
            memory.append(target.resident_mb())
            sampled += 1.0
        await asyncio.sleep(0.002)
    good, used = seen.statuses[200], target.processor_s() - used
    took, ended = time.perf_counter() - started, time.perf_counter()
    while tasks:
        await asyncio.wait(set(tasks))
    recovery_s = time.perf_counter() - ended
    seen.broken["generator full"] += unable
    for client in idle:
        if client.transport is not None:
            client.transport.close()
    return seen, good / took, good / used, memory, recovery_s


async def measure(name: str, target: Target, seconds: float) -> dict[str, float]:
    """Print how one kind of request fares, and return the figures to keep."""
    await capacity(target, 1.0)
    before = await capacity(target, seconds / 6)
    seen, goodput, per_processor, memory, recovery_s = await overload(target, OVERLOAD * before[0], seconds)
    started = time.perf_counter()
    client = await target.connect(seen)
    await client.ask()
    next_ms = (time.perf_counter() - started) * 1e3
    after = await capacity(target, seconds / 6)
    mean = statistics.mean((before[0], after[0]))
    quantiles = statistics.quantiles(seen.accepted_s, n=100)
    refused_ms = statistics.median(seen.refused_s or [0.0]) * 1e3
    print(f"\n{name}, {len(target.request) / 1e3:.0f} kB, {seconds:g} s at {OVERLOAD * before[0]:.0f} requests/s")
    print(f"  capacity before, after   {before[0]:.0f}, {after[0]:.0f} requests/s")
    print(f"  goodput                  {goodput:.0f} requests/s, {goodput / mean:.0%} of capacity")
    print(f"  by processor time        {per_processor / statistics.mean((before[1], after[1])):.0%} of capacity")
    print(f"  answers                  {dict(seen.statuses)}, broken {dict(+seen.broken) or 'none'}")
    print(f"  accepted p50, p99, max   {quantiles[49]:.2f}, {quantiles[98]:.2f}, {max(seen.accepted_s):.2f} s")
    print(f"  refused p50              {refused_ms:.1f} ms")
    print(
        f"  memory at start, quarters {', '.join(f'{memory[int(q * (len(memory) - 1) / 4)]:.0f}' for q in range(5))} MB"
    )
    print(f"  last answer after        {recovery_s:.2f} s; the next one took {next_ms:.0f} ms")
    return {
        f"{name}, goodput against capacity, %": 100 * goodput / mean,
        f"{name}, the same by processor time, %": 100 * per_processor / statistics.mean((before[1], after[1])),
        f"{name}, accepted p99, s": quantiles[98],
        f"{name}, refused p50, ms": refused_ms,
        f"limit: {name}, processor of an accepted request, ms": 1e3 / before[1],
    }


def run(quick: bool = False, model: str = "models/housing", workers: int = 1) -> None:
    """Measure and print."""
    path = Path(model).resolve()
    if not path.is_dir():
        print(f"overload: left out, no model at {path}; train one with `make train-demo`")
        return
    rows = feature_rows(path, ROWS)
    names = load_model(path).features.names
    arrow, _ = arrow_body({name: [row[name] for row in rows] for name in names})
    as_json = json.dumps({"instances": rows}, separators=(",", ":")).encode()
    figures: dict[str, float] = {}
    for name, media_type, body in (("Arrow", ARROW, arrow), ("JSON", JSON, as_json)):
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with _serving(path, workers) as (port, pids):
            figures |= uvloop.run(measure(name, Target(port, pids, head.encode() + body), 10.0 if quick else 30.0))
    print(f"\nwanted: {WANTED}% of capacity at {OVERLOAD} times the rate that reaches it\n")
    record("overload quick" if quick else "overload", figures, "")


@contextlib.contextmanager
def _serving(path: Path, workers: int) -> Iterator[tuple[int, list[int]]]:
    """A server on a free port, and its processes."""
    port = free_port()
    command = [sys.executable, "-m", "eigenserve", "serve", "--port", str(port), "--store", str(path.parent)]
    settings = {"EIGENSERVE_DEFAULT_MODEL": path.name, "EIGENSERVE_DEADLINE_S": str(DEADLINE_S)}
    variables = {**os.environ, **settings, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_server(port, process, "/readyz")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield port, [process.pid, *map(int, children)]
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/housing")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    run(options.quick, options.model, options.workers)
