"""Queue requests for threads, account for what waits, and decide which requests are refused."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from eigenserve.app.engine.fairness import FairThreads, Slice, Turn
from eigenserve.app.problems import ProblemError
from eigenserve.app.request_state import Spans

#: A request is taken only if it can be expected to be computed within this share of the deadline: prices are averages,
#: other work changes them while it waits, and a longer queue would make nothing faster.
SHARE_TO_READ = 0.5
#: When its body is there, somewhat more: what was read is refused only if it came slowly.
SHARE_TO_QUEUE = 0.65
#: So long a body on its way holds its place in the queue. A slow client must not hold it longer.
ARRIVAL_S = 1.0
#: Weight of the newest measurement in a price: a change of pace is taken up within some ten requests.
NEWEST = 0.1
#: By how much a price falls when it alone was the reason to refuse, so that one outlier cannot block a route for good.
DOUBT = 0.98

T = TypeVar("T")


class Job(NamedTuple):
    """Describe what is known of a request before it is computed.

    Attributes:
        key: requests of one key have one price.
        size: how much of it there is, in whatever unit its key is priced by: bytes, or rows.
        rows: about how many rows.
        arrived: when it arrived (``time.monotonic``).
        trace: where its wait and its computation are noted, if anywhere.
        client: whose it is.
    """

    key: Hashable
    size: int
    rows: int
    arrived: float
    trace: Spans | None = None
    client: str = ""


@dataclass
class Patience:
    """Say whether anybody still waits for an answer; slow work asks between its rows.

    Attributes:
        deadline_s: how long a request may take.
        ends: when its time is up, by ``time.monotonic``.
        over: its client has been answered, or is gone.
        turns: of the work, if it shares one.
    """

    deadline_s: float
    ends: float
    over: bool = False
    turns: Slice | None = None

    def check(self) -> None:
        """Go on, or not; where several share one turn, let the others have theirs.

        Raises:
            ProblemError: 504; nobody reads it where the client is gone.
        """
        if self.over or time.monotonic() > self.ends:
            raise self.expired()
        if self.turns is not None:
            self.turns.offer()

    def expired(self) -> ProblemError:
        """Build the answer to a client whose time is up."""
        return ProblemError(504, f"no answer within the deadline of {self.deadline_s:g} seconds")


@dataclass
class Lane:
    """Compute requests on threads, in the order of their arrival.

    What waits is counted in rows and, as soon as a request of its kind was measured, in seconds, on the event loop's
    thread only.

    Attributes:
        at_once: how many are computed at a time.
        max_rows: rows that may wait or be computed; more are refused.
        deadline_s: from a request's arrival until it is given up.
        on_rows: called with every change of the rows that wait.
        on_wait: called with the seconds that a request waited for a thread.
        shares_turn: one at a time computes, for some tenths of a second while others wait.
        rows, seconds: what waits or is computed.
        arriving_rows, arriving_s: what is being read.
        prices: seconds per unit of size.
    """

    at_once: int
    max_rows: int
    deadline_s: float
    on_rows: Callable[[int], None] = lambda rows: None
    on_wait: Callable[[float], None] = lambda seconds: None
    name: str = "large"
    shares_turn: bool = False
    rows: int = 0
    seconds: float = 0.0
    arriving_rows: int = 0
    arriving_s: float = 0.0
    prices: dict[Hashable, float] = field(default_factory=dict)
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _by_client: dict[str, tuple[int, float]] = field(default_factory=dict)
    _turn: Turn = field(default_factory=Turn)
    _threads: FairThreads = field(init=False)

    def __post_init__(self) -> None:
        # Of shared turns some threads must be free for others than the one who has the most to do.
        per_client = max(1, self.at_once // 2) if self.shares_turn else self.at_once
        self._threads = FairThreads(self.at_once, self.name, per_client)

    def cost_s(self, job: Job) -> float:
        """Estimate the seconds that a job adds to the queue; 0 before one of its kind was measured."""
        return self.prices.get(job.key, 0.0) * job.size

    def refusal(self, job: Job, is_there: bool = False) -> ProblemError | None:
        """Say why a job would not be done in time; None if it would.

        Args:
            job: what is asked for.
            is_there: its body has been read. Those on their way then do not stand before it.

        Returns:
            503 with Retry-After, when the queue will have been worked off; 504 for what would take longer than
            the deadline even without a queue.
        """
        (rows, wait_s), share = self._ahead(job), SHARE_TO_QUEUE
        if not is_there:
            rows, wait_s, share = rows + self.arriving_rows, wait_s + self.arriving_s, SHARE_TO_READ
        cost_s = self.cost_s(job)
        if not rows:
            if cost_s <= self.deadline_s:
                return None
            self.prices[job.key] *= DOUBT
            return ProblemError(
                504,
                f"{job.rows} rows would take about {cost_s:.0f} s, and the deadline is {self.deadline_s:g} s: "
                "send fewer at a time",
            )
        left_s = share * self.deadline_s - (time.monotonic() - job.arrived)
        if rows + job.rows <= self.max_rows and wait_s + cost_s <= left_s:
            return None
        seconds = max(1, math.ceil(wait_s))
        return ProblemError(
            503,
            f"overloaded: {rows} rows are waiting; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )

    def admit(self, job: Job, is_there: bool = False) -> None:
        """Refuse a job that would not be done in time.

        Raises:
            ProblemError: see ``refusal``.
        """
        problem = self.refusal(job, is_there)
        if problem is not None:
            try:
                raise problem
            finally:
                # Its traceback holds this frame: with the name, each refused body would wait for the garbage collector.
                del problem

    @contextmanager
    def arriving(self) -> Iterator[Callable[[Job], None]]:
        """Count a job whose body is being read, as much of it as has come; yield what is called with that."""
        rows, seconds, is_late = 0, 0.0, False

        def count(new_rows: int, new_s: float) -> None:
            nonlocal rows, seconds
            self.arriving_rows += new_rows - rows
            self.arriving_s = self.arriving_s + new_s - seconds if self.arriving_rows else 0.0
            rows, seconds = new_rows, new_s

        def let_go() -> None:
            nonlocal is_late
            is_late = True
            count(0, 0.0)

        late = asyncio.get_running_loop().call_later(ARRIVAL_S, let_go)
        try:
            yield lambda job: None if is_late else count(job.rows, self.cost_s(job))
        finally:
            late.cancel()
            let_go()

    async def run(self, work: Callable[[Patience], T], job: Job, gone: Callable[[], Awaitable[None]]) -> T:
        """Run ``work`` on a thread, unless its client is gone or its time is up before a thread is free.

        Args:
            work: what to do; it may look whether anybody still waits for it.
            job: what is known of it.
            gone: returns when the client is gone.

        Raises:
            ProblemError: 503 when the queue is too long; 504 past the deadline; 499 for a client that is gone.
        """
        self.admit(job, is_there=True)
        loop = asyncio.get_running_loop()
        submitted, cost_s = time.monotonic(), self.cost_s(job)
        patience = Patience(self.deadline_s, job.arrived + self.deadline_s)
        self.account(job, job.rows, cost_s)
        measured: list[float] = []

        def timed() -> T:
            started = time.monotonic()
            self.on_wait(started - submitted)
            if job.trace is not None:
                job.trace.part("queue", submitted, started)
            patience.check()
            if self.shares_turn:
                patience.turns = Slice(self._turn)
            first = self._step(1)
            try:
                result = work(patience)
            finally:
                parallel, ended = (first + self._step(-1) + 1) / 2, time.monotonic()
                if patience.turns is not None:
                    patience.turns.end()
                if job.trace is not None:
                    job.trace.part("solve", started, ended)
            # Several at a time: each takes that much longer, and the queue goes that much faster than one.
            measured.append((ended - started) / parallel if patience.turns is None else patience.turns.used_s)
            return result

        def done() -> None:
            self.account(job, -job.rows, -cost_s)
            if measured:
                self._learn(job, measured[0])

        task = self._threads.submit(job.client, timed)
        # However it ends, it leaves the account when a thread is done with it, or never began.
        task.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(done) and None)
        answer = asyncio.wrap_future(task)
        client = asyncio.ensure_future(gone())
        try:
            either: set[asyncio.Future[Any]] = {answer, client}
            await asyncio.wait(either, timeout=patience.ends - submitted, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if client.done():
                raise ProblemError(499, "the client closed the connection before the answer")
            raise patience.expired()
        finally:
            patience.over = True
            # Work that no thread has begun is dropped; what runs and does not look runs to its end.
            answer.cancel()
            client.cancel()
            # As in ``FairThreads``: an error that is raised from here holds this frame.
            del task, answer, either

    def close(self) -> None:
        """Let the threads go when they are done."""
        self._threads.close()

    def _step(self, change: int) -> int:
        """Count how many are being computed, after a change of that number; called by their threads."""
        with self._lock:
            self._running += change
            return self._running

    def _ahead(self, job: Job) -> tuple[int, float]:
        """What will be computed before a job: all that its client has in the queue, and of others as much as that."""
        rows, seconds = self._by_client.get(job.client, (0, 0.0))
        most_rows, most_s = rows + job.rows, seconds + self.cost_s(job)
        for client, (others_rows, others_s) in self._by_client.items():
            if client != job.client:
                rows, seconds = rows + min(others_rows, most_rows), seconds + min(others_s, most_s)
        return rows, seconds

    def account(self, job: Job, rows: int, seconds: float) -> None:
        """Add to what waits or is computed of a job's client."""
        before_rows, before_s = self._by_client.pop(job.client, (0, 0.0))
        if before_rows + rows:
            self._by_client[job.client] = (before_rows + rows, before_s + seconds)
        self.rows += rows
        # Sums of floats leave crumbs: with nothing waiting there is nothing to wait for.
        self.seconds = self.seconds + seconds if self.rows else 0.0
        self.on_rows(rows)

    def _learn(self, job: Job, seconds: float) -> None:
        price, known = seconds / max(1, job.size), self.prices.get(job.key)
        self.prices[job.key] = price if known is None else known + NEWEST * (price - known)
