"""fit --stable: of blends as good to a standard error the one that moves least, and the trade-off in the card."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.training.fit import fit
from eigenserve.training.search.blends.steadiness import trade_off
from eigenserve.training.settings import make_settings

QUICK = {"members": 3, "dim": 5, "budget": 0.3, "reproducible": True}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2.0, 2.0, (200, 3))
    y = np.sin(3.0 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * rng.standard_normal(200)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y})


@pytest.fixture(scope="module")
def stable(table: pd.DataFrame):
    return fit(table, "y", make_settings({**QUICK, "stable": True}))


def test_the_least_moves_within_a_standard_error_are_chosen_and_all_are_shown(stable):
    compared = stable.model.card["training"]["stable"]
    assert compared[0]["standard_errors"] == 0.0  # the best blend itself
    (chosen,) = [one for one in compared if one["chosen"]]
    assert chosen["standard_errors"] <= 1.0
    assert chosen["moves"] == min(one["moves"] for one in compared if one["standard_errors"] <= 1.0)
    # A high price buys steadier explanations.
    assert compared[-1]["moves"] <= compared[0]["moves"]
    assert trade_off(compared).count("(chosen)") == 1
    assert sum(entry["members"] for entry in stable.model.card["training"]["members"]) == QUICK["members"]


def test_a_fit_that_has_no_time_left_keeps_the_best_blend():
    assert "is kept" in trade_off([])
