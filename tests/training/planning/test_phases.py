"""The progress of a fit: phases that end count as long as they took, and the share never falls."""

import time

import pytest

from eigenserve.training.planning.clock import GRACE_S, Clock
from eigenserve.training.planning.phases import Phases

pytestmark = pytest.mark.alone


class Recorder:
    def __init__(self):
        self.shares, self.left = [], []

    def advance(self, done, total, text, left_s=None):
        self.shares.append(done / total)
        self.left.append(left_s)

    def say(self, text):
        raise AssertionError(text)


def test_a_phase_that_ends_early_shortens_the_whole():
    recorder = Recorder()
    phases = Phases(recorder, {"search": 100.0, "refit": 0.0, "report": 0.1})
    phases.begin("search", "searching")
    phases.begin("refit", "training", expected_s=0.1)
    time.sleep(0.1)
    phases.advance(1, 2, "training")
    # Next to nothing for the search; of training on all rows as much is left as it took; the report has half its pace.
    assert 0.3 < recorder.shares[-1] < 0.6


def test_what_is_left_is_bounded_by_the_clock():
    recorder = Recorder()
    phases = Phases(recorder, {"search": 1000.0, "report": 0.1}, Clock(0.1))
    time.sleep(0.2)
    phases.begin("search", "searching")
    # The clock ends the search after its grace, whatever the plan says.
    assert recorder.shares[-1] > 0.2 / (GRACE_S + 1.0)
    assert recorder.left[-1] < GRACE_S + 0.4


def test_phases_to_come_are_bounded_by_the_clock_too():
    recorder = Recorder()
    phases = Phases(recorder, {"search": 0.1, "refit": 1000.0, "report": 0.1}, Clock(1.0))
    phases.begin("search", "searching")
    assert recorder.left[-1] < GRACE_S + 1.3


def test_the_share_never_falls():
    recorder = Recorder()
    phases = Phases(recorder, {"search": 1.0, "report": 0.1})
    phases.begin("search", "searching")
    for done, total in ((1, 2), (1, 3), (2, 3)):
        phases.advance(done, total, "searching")
    assert recorder.shares == sorted(recorder.shares)
    time.sleep(0.01)
    phases.begin("report", "measuring")
    assert recorder.shares[-1] > recorder.shares[-2] - 1e-4  # whole microseconds
