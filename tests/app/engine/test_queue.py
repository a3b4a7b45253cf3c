"""The account of what waits: who is taken, who is refused, and what is learnt of their prices."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable

import pytest

from eigenserve.app.engine.queue import Job, Lane
from eigenserve.app.problems import ProblemError

pytestmark = pytest.mark.alone


async def nobody_leaves():
    await asyncio.Event().wait()


def job(size: int = 1, rows: int = 1, key: str = "a", late_s: float = 0.0) -> Job:
    return Job(key, size, rows, time.monotonic() - late_s)


def refusal(lane: Lane, asked: Job, is_there: bool = False) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        lane.admit(asked, is_there)
    return caught.value


def in_lane(check: Callable[[Lane], object], **settings: float):
    async def run() -> None:
        lane = Lane(1, **{"max_rows": 100, "deadline_s": 10.0, **settings})
        try:
            result = check(lane)
            if asyncio.iscoroutine(result):
                await result
        finally:
            lane.close()

    asyncio.run(run())


def test_a_price_is_learnt_and_the_next_one_is_refused_by_it():
    async def check(lane: Lane):
        assert lane.cost_s(job(10)) == 0
        await lane.run(lambda _: time.sleep(0.05), job(10), nobody_leaves)
        await asyncio.sleep(0.01)
        assert 0.05 <= lane.cost_s(job(10)) < 1
        assert lane.cost_s(job(10, key="b")) == 0
        assert (lane.rows, lane.seconds) == (0, 0)
        running = asyncio.ensure_future(lane.run(lambda _: time.sleep(0.1), job(200), nobody_leaves))
        await asyncio.sleep(0.02)
        problem = refusal(lane, job(1000))
        assert problem.status == 503
        assert int(problem.headers["Retry-After"]) >= 1
        lane.admit(job(1))
        await running

    in_lane(check, deadline_s=4.0)


def test_retry_after_is_the_time_of_the_queue():
    def check(lane: Lane):
        lane.prices["a"] = 1.0
        lane.account(job(5), 5, 6.3)
        assert refusal(lane, job(5)).headers["Retry-After"] == "7"

    in_lane(check)


def test_time_that_has_passed_since_the_first_byte_counts():
    def check(lane: Lane):
        lane.prices["a"] = 1.0
        lane.account(job(1), 1, 2.0)
        lane.admit(job(2))
        assert refusal(lane, job(2, late_s=2.0)).status == 503
        # Half a deadline to begin to read, some more once it is read.
        lane.admit(job(2, late_s=2.0), is_there=True)
        assert refusal(lane, job(2, late_s=5.0), is_there=True).status == 503

    in_lane(check)


def test_a_request_that_can_never_be_done_in_time_is_refused_so():
    def check(lane: Lane):
        lane.prices["a"] = 1.0
        problem = refusal(lane, job(11, rows=11))
        assert problem.status == 504
        assert "send fewer" in problem.detail
        # The price is doubted a little each time, so that it is measured again one day.
        for _ in range(4):
            with pytest.raises(ProblemError):
                lane.admit(job(11))
        lane.admit(job(11))

    in_lane(check)


def test_rows_are_bounded_and_bodies_on_their_way_count_for_a_while(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eigenserve.app.engine.queue.ARRIVAL_S", 0.05)

    async def check(lane: Lane):
        with lane.arriving() as count:
            # What is declared and does not come takes nobody's place.
            lane.admit(job(rows=60))
            count(job(rows=30))
            lane.admit(job(rows=60))
            count(job(rows=60))
            assert refusal(lane, job(rows=60)).status == 503
            lane.admit(job(rows=60), is_there=True)
            await asyncio.sleep(0.1)
            lane.admit(job(rows=60))
            count(job(rows=60))
            assert lane.arriving_rows == 0
        with lane.arriving() as count:
            count(job(rows=60))
        assert (lane.arriving_rows, lane.arriving_s) == (0, 0)

    in_lane(check)


def test_one_that_waited_past_its_deadline_is_not_computed():
    async def check(lane: Lane):
        computed: list[str] = []
        first = asyncio.ensure_future(lane.run(lambda _: time.sleep(0.2), job(key="slow"), nobody_leaves))
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as caught:
            await lane.run(lambda _: computed.append("late"), job(late_s=0.05), nobody_leaves)
        assert caught.value.status == 504
        with pytest.raises(ProblemError):
            await first
        await asyncio.sleep(0.2)
        assert not computed
        assert lane.rows == 0

    in_lane(check, deadline_s=0.1)


def test_a_refusal_and_the_body_its_traceback_holds_are_freed_at_once():
    def check(lane: Lane):
        lane.account(job(), 100, 0.0)
        try:
            lane.admit(job())
        except ProblemError as problem:
            left = weakref.ref(problem)
        assert left() is None  # without waiting for the garbage collector

    in_lane(check)
