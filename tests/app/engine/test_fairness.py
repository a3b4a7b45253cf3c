"""Threads are shared among clients, and a long computation lets others have their turn."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from eigenserve.app.engine.fairness import TURN_S, FairThreads, Slice, Turn
from eigenserve.app.engine.memory import MemoryBudget
from eigenserve.app.problems import ProblemError

pytestmark = pytest.mark.alone


def test_clients_take_turns_however_much_one_has_sent():
    threads, order, gate = FairThreads(1, "fair", per_client=1), [], threading.Event()
    threads.submit("first", gate.wait)
    futures = [threads.submit("many", lambda i=i: order.append(("many", i))) for i in range(5)]
    futures += [threads.submit("few", lambda: order.append(("few", 0)))]
    gate.set()
    for future in futures:
        future.result(timeout=5)
    threads.close()
    assert order.index(("few", 0)) <= 1
    assert [i for client, i in order if client == "many"] == list(range(5))


def test_one_client_leaves_threads_for_others():
    threads, gate = FairThreads(2, "fair", per_client=1), threading.Event()
    blocked = [threads.submit("many", gate.wait) for _ in range(4)]
    assert threads.submit("few", lambda: 7).result(timeout=5) == 7
    gate.set()
    assert [future.result(timeout=5) for future in blocked] == [True] * 4
    threads.close()


def test_what_is_cancelled_is_not_run_and_a_failure_is_its_own():
    threads, gate, ran = FairThreads(1, "fair", per_client=1), threading.Event(), []
    threads.submit("a", gate.wait)
    cancelled = threads.submit("a", lambda: ran.append(1))
    failing = threads.submit("a", lambda: 1 / 0)
    assert cancelled.cancel()
    gate.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(timeout=5)
    assert ran == []
    threads.close()


def test_a_long_computation_offers_its_turn():
    turn, done = Turn(), []

    def compute(name: str, seconds: float) -> None:
        mine = Slice(turn)
        ends = time.monotonic() + 10
        while mine.used_s < seconds and time.monotonic() < ends:
            time.sleep(TURN_S / 20)
            mine.offer()
            if not turn.is_wanted and name == "long" and "short" in done:
                break
        mine.end()
        done.append(name)

    long = threading.Thread(target=compute, args=("long", 5.0))
    long.start()
    time.sleep(0.05)
    started = time.monotonic()
    short = Slice(turn)
    waited = time.monotonic() - started
    short.end()
    done.append("short")
    long.join()
    assert waited < 10 * TURN_S
    assert done == ["short", "long"]


def test_a_budget_is_shared_and_given_back():
    budget = MemoryBudget(100)
    first, second, third = (budget.reservation(name) for name in ("a", "a", "b"))
    first.resize(30)
    with pytest.raises(ProblemError, match="your requests") as raised:
        second.resize(21)
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "1")
    third.resize(50)
    second.resize(20)
    with pytest.raises(ProblemError) as raised:
        budget.reservation("c").resize(51)
    assert raised.value.status == 413
    with pytest.raises(ProblemError) as raised:
        budget.reservation("c").resize(1)
    assert raised.value.status == 503
    first.resize(10)
    budget.reservation("c").resize(1)
    for reservation in (first, second, third):
        reservation.release()
        reservation.release()
    del reservation
    assert budget.held == 0


def test_what_a_failed_request_held_is_freed_without_the_garbage_collector():
    class Body:
        pass

    threads, held = FairThreads(1, "test", 1), []

    def work() -> None:
        body = Body()
        held.append(weakref.ref(body))
        raise ValueError("refused")

    gc.disable()
    try:
        for _ in range(2):  # the thread lets go of one when it takes the next
            future = threads.submit("client", work)
            with pytest.raises(ValueError, match="refused"):
                future.result()
            del future
        assert held[0]() is None
    finally:
        gc.enable()
        threads.close()
