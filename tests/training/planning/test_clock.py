"""The clock ends phases that are behind the plan, and a fit says which."""

import math

import numpy as np
import pandas as pd
import pytest
from tests.support.made_models import make_rows

from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
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
