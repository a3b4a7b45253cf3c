"""Ranges cover the whole count once, on any number of threads, and errors come back."""

import threading

import pytest

from model import threads


@pytest.fixture
def three_threads():
    threads.set_num_threads(3)
    yield
    threads._threads = None


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("count", "grain"), [(0, 1), (1, 1), (10, 3), (100, 32), (5, 100), (64, 32)])
def test_ranges_cover_everything_once_in_whole_grains(count, grain):
    seen, lock = [], threading.Lock()

    def work(start, stop):
        with lock:
            seen.append((start, stop))

    threads.for_ranges(count, grain, work)
    assert [i for start, stop in sorted(seen) for i in range(start, stop)] == list(range(count))
    assert all(start % grain == 0 for start, _ in seen)
    assert len(seen) <= 3


@pytest.mark.usefixtures("three_threads")
def test_an_error_in_any_range_is_raised_once_all_have_ended():
    done = []

    def work(start, stop):
        if start == 0:
            raise ArithmeticError("first")
        done.append(start)

    with pytest.raises(ArithmeticError, match="first"):
        threads.for_ranges(3, 1, work)
    assert sorted(done) == [1, 2]
