"""Ranges cover the whole count once, on any number of threads, and errors come back."""

import os
import subprocess
import sys
import threading

import pytest

from eigenserve.model.kernels import threads


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
    assert len(seen) <= 3 * threads.RANGES_PER_THREAD


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


def test_the_number_of_threads_may_change_while_work_is_handed_out():
    errors = []

    def keep_changing(count):
        for _ in range(400):
            seen = []
            try:
                threads.set_num_threads(count)
                threads.for_ranges(64, 1, lambda i, j, seen=seen: seen.append(j - i))
                assert sum(seen) == 64
            except Exception as error:
                errors.append(error)

    workers = [threading.Thread(target=keep_changing, args=(count,)) for count in (2, 3, 4)]
    try:
        for worker in workers:
            worker.start()
    finally:
        for worker in workers:
            worker.join(timeout=60)
        threads._threads = None
    assert not errors


FORKING = """
import os, warnings
from eigenserve.model.kernels import threads
warnings.simplefilter("ignore")  # Python 3.12 warns of forks after threads; that they work here is the point
threads.set_num_threads(2)
threads.for_ranges(64, 1, lambda start, stop: None)
child = os.fork()
if child == 0:
    seen = []
    threads.for_ranges(64, 1, lambda start, stop: seen.append(stop - start))
    os._exit(0 if sum(seen) == 64 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_makes_threads_of_its_own():
    assert subprocess.run([sys.executable, "-c", FORKING], timeout=60, check=False).returncode == 0
