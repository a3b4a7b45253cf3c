"""Copies of rows are judged together; rows of few categories, which repeat by chance, are not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from eigenserve.training import SpectralClassifier
from eigenserve.training.data.oddities.copies import copy_groups
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings


def few_categories(rows, rng, spread=1.5):
    """Rows of 64 kinds, of which each has both classes with a probability of its own."""
    frame = pd.DataFrame(rng.integers(0, 4, (rows, 3)), columns=list("abc"))
    odds = np.random.default_rng(5).normal(size=(4, 4, 4)) * spread
    chance = 1.0 / (1.0 + np.exp(-odds[tuple(frame.to_numpy().T)]))
    return frame.map("wxyz".__getitem__), (rng.random(rows) < chance).astype(int), chance


@pytest.mark.parametrize("spread", [1.5, 20.0], ids=["noisy", "nearly sure"])
def test_rows_that_repeat_by_chance_are_learnt_from_and_judged_as_others_are(spread):
    rng = np.random.default_rng(0)
    frame, label, _ = few_categories(2_000, rng, spread)
    new, truth, chance = few_categories(2_000, rng, spread)
    found = SpectralClassifier(budget=4, reproducible=True, random_state=0).fit(frame, label)
    best = log_loss(truth, chance)
    # Taken for copies: .69, a model of nothing.
    assert log_loss(truth, found.predict_proba(new)[:, 1]) < best + 0.03
    by_command = fit(frame.assign(y=label), "y", make_settings({"budget": 4.0, "reproducible": True}))
    judged = by_command.model.card["metrics"]["out_of_fold"]
    assert judged["rows"] == 2_000
    assert judged["log_loss"] < best + 0.04
    assert not any("repeat another" in note for note in by_command.notes)


@pytest.mark.parametrize("target", ["classes", "numbers"])
def test_copies_of_measurements_have_one_number(target):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    goal = rng.integers(0, 2, 300).astype(float) if target == "classes" else rng.normal(size=300)
    assert copy_groups(frame, goal) is None
    again = np.concatenate([np.arange(300), np.arange(60)])
    groups = copy_groups(frame.iloc[again], goal[again])
    assert len(np.unique(groups)) == 300
    np.testing.assert_array_equal(groups[:60], groups[300:])


def test_copies_of_numbers_have_one_number_though_features_repeat_by_chance():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.integers(0, 4, (400, 2)), columns=list("ab"))
    goal = rng.normal(size=400)
    again = np.concatenate([np.arange(400), np.arange(50)])
    groups = copy_groups(frame.iloc[again], goal[again])
    assert len(np.unique(groups)) == 400


def test_rows_of_few_classes_are_judged_with_all_that_have_their_features():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    goal = rng.integers(0, 2, 300).astype(float)
    again = np.concatenate([np.arange(300), np.arange(100), [0]])
    labels = goal[again]
    labels[-1] = 1.0 - labels[0]
    groups = copy_groups(frame.iloc[again], labels)
    assert groups[-1] == groups[0]
    assert len(np.unique(groups)) == 300


def test_a_constant_target_and_a_single_row_have_no_copies():
    assert copy_groups(pd.DataFrame({"a": [1.0]}), np.array([1.0])) is None
    assert copy_groups(pd.DataFrame({"a": [1.0, 1.0, 2.0]}), np.ones(3)) is None
