"""The clock ends phases that are behind the plan, and a fit says which."""

import math
import threading
import time

import numpy as np
import pandas as pd
import pytest
from tests.support.made_models import make_rows

from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
from eigenserve.training.search import jobs, workbench
from eigenserve.training.search.jobs import run_jobs
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.settings import make_settings

pytestmark = pytest.mark.alone


class FastClock(Clock):
    """A clock by which a fit is always behind."""

    @property
    def elapsed_s(self) -> float:
        return 1e3


def test_a_clock_notes_the_phases_that_it_ended_and_no_others():
    clock = FastClock(10.0)
    assert clock.notes == ()
    assert clock.late("search")()
    assert not FastClock(1e4).late("search")()
    (note,) = clock.notes
    assert "budget of 10 s" in note
    assert "the search" in note
    assert "refit" not in note


def test_a_fit_that_the_clock_cut_short_says_so_and_a_reproducible_one_is_not_cut():
    frame = pd.DataFrame(make_rows(80))
    frame["y"] = np.arange(80.0)
    quick = {"members": 1, "dim": 3, "budget": 0.1}
    cut = fit(frame, "y", make_settings(quick), clock=FastClock(0.1))
    assert any("ended early" in note for note in cut.notes)
    whole = fit(frame, "y", make_settings({**quick, "reproducible": True}))
    assert not any("ended early" in note for note in whole.notes)
    assert make_settings({**quick, "reproducible": True}).clock_s == math.inf


def test_a_search_leaves_the_time_that_the_longest_training_takes():
    ranks = Ranks()
    running = threading.Event()

    def job(stop):
        running.wait(5.0)
        return 1

    found = run_jobs([job], ranks)
    worker = threading.Thread(target=lambda: list(found))
    worker.start()
    time.sleep(0.1)
    assert ranks.longest_s >= 0.05  # of one that still runs
    running.set()
    worker.join(5.0)
    assert ranks.finished_s >= 0.05
    assert not ranks.running
    clock = Clock(100.0)
    until_the_last_brake = clock.left_s("refit")
    assert not clock.late("search", lambda: until_the_last_brake - 5.0)()
    assert clock.late("search", lambda: until_the_last_brake + 5.0)()


class NoRefitClock(Clock):
    """A clock by which no time is left once the search ends."""

    def late(self, phase, then_s=lambda: 0.0):
        return lambda: phase == "refit"


def test_a_model_whose_refit_the_clock_cut_short_is_as_good_as_its_figures_say(monkeypatch):
    # As on a larger table: the clock is looked at many times in a member's course.
    monkeypatch.setattr(workbench, "LOOK_S", 1e-4)
    monkeypatch.setattr(jobs, "POLL_S", 1e-4)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1.0, 1.0, (300, 3)), columns=list("abc"))
    frame["y"] = 10.0 * frame["a"] * frame["b"] + frame["c"]
    cut = fit(frame, "y", make_settings({"members": 6, "dim": 3, "budget": 1.0}), clock=NoRefitClock(1.0))
    error = cut.model.predict(frame[list("abc")]) - frame["y"].to_numpy()
    assert np.sqrt(np.mean(error**2)) < 1.2 * cut.model.card["metrics"]["out_of_fold"]["rmse"]
    members = sum(entry["members"] for entry in cut.model.card["training"]["members"])
    assert members < 6
    assert any(f"the mean of {members} instead of 6 members" in note for note in cut.notes)
