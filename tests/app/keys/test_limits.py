"""What the owner of a key may have computed is counted over all processes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from eigenserve.app.keys.grants import Grant
from eigenserve.app.keys.limits import BURST_S, Limits
from eigenserve.app.problems import ProblemError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("eigenserve.app.keys.limits.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def both(tmp_path: Path) -> tuple[Limits, Limits]:
    """Two processes' limits on the same accounts."""
    first, second = Limits(), Limits()
    for limits in (first, second):
        limits.share(tmp_path)
    return first, second


def test_rows_are_limited_on_average_over_all_processes(both: tuple[Limits, Limits], clock: list[float]):
    grant, other = Grant("billing", rows_per_s=100), Grant("audit", rows_per_s=100)
    for _ in range(int(BURST_S)):
        for limits in both:
            assert limits.check(grant) is None
            limits.charge(grant, 50)
    both[1].charge(grant, 50)
    refused = both[0].check(grant)
    assert refused is not None
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert "'billing' may have 100 rows per second" in refused.detail
    assert both[0].check(other) is None
    clock[0] += 0.5
    assert both[0].check(grant) is None
    # Over a long time it is the rate that counts.
    rows = 0
    for _ in range(1000):
        clock[0] += 0.1
        if both[0].check(grant) is None:
            both[1].charge(grant, 37)
            rows += 37
    assert rows == pytest.approx(100 * 100, rel=0.03)


def test_a_large_request_is_paid_for_afterwards(both: tuple[Limits, Limits], clock: list[float]):
    grant = Grant("billing", rows_per_s=100)
    assert both[0].check(grant) is None
    both[0].charge(grant, 5000)
    refused = both[0].check(grant)
    assert refused is not None
    assert refused.headers["Retry-After"] == str(round(50 - BURST_S))
    clock[0] += 50
    assert both[0].check(grant) is None


def test_heavy_work_is_limited_over_all_processes(both: tuple[Limits, Limits]):
    grant = Grant("billing", heavy=2)
    with ExitStack() as held:
        for limits in both:
            held.enter_context(limits.heavy(grant))
        for limits in both:
            with (
                pytest.raises(ProblemError, match="'billing' may have 2 heavy requests at a time"),
                limits.heavy(grant),
            ):
                raise AssertionError("it must not begin")
        with both[0].heavy(Grant("audit", heavy=1)):
            pass
    with both[0].heavy(grant), both[0].heavy(grant):
        pass


def test_a_limit_of_zero_forbids(both: tuple[Limits, Limits]):
    with pytest.raises(ProblemError, match="0 heavy"), both[0].heavy(Grant("billing", heavy=0)):
        raise AssertionError("it must not begin")


def test_without_limits_nothing_is_kept():
    limits, grant = Limits(), Grant("billing")
    assert limits.check(grant) is None
    limits.charge(grant, 10**9)
    with limits.heavy(grant), limits.heavy(None):
        assert limits.check(grant) is None
    assert limits._folder is None
