"""Folds keep groups and repeated rows together, and may go forward in time."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.errors import UserError
from eigenserve.training.fit import fit
from eigenserve.training.search.preparation.folds import assign_folds
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

ROWS = 600
QUICK = {"members": 1, "dim": 3, "budget": 1.0, "reproducible": True, "pairs": "none"}


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "groups", [np.arange(ROWS) // 2, np.repeat(np.arange(30), 20), rng().integers(0, 7, ROWS) ** 2 // 6]
)
def test_a_group_is_in_one_fold(groups):
    _, groups = np.unique(groups, return_inverse=True)
    fold = assign_folds(rng().normal(size=ROWS), 4, rng(), groups)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    assert set(fold) == {0, 1, 2, 3}
    assert np.bincount(fold).min() > ROWS / 8


def test_folds_without_groups_share_the_targets_range():
    values = rng().normal(size=ROWS)
    fold = assign_folds(values, 4, rng())
    means = [values[fold == f].mean() for f in range(4)]
    assert np.ptp(means) < 0.1 * values.std()


def test_folds_of_time_hold_out_the_latest():
    moments = rng().permutation(ROWS).astype(float)
    fold = assign_folds(np.zeros(ROWS), 4, rng(), moments=moments)
    assert moments[fold == 0].min() > moments[fold != 0].max()
    assert np.bincount(fold).tolist() == [150] * 4
    days = np.floor(moments / 50)
    fold = assign_folds(np.zeros(ROWS), 4, rng(), moments=days)
    assert all(len(set(fold[days == day])) == 1 for day in set(days))


def table_of(**columns):
    x = rng().normal(size=ROWS)
    return pd.DataFrame({"x": x, "y": x + rng().normal(size=ROWS), **columns})


def test_rows_that_repeat_are_one_group():
    frame = pd.concat([table_of(), table_of()[:100]], ignore_index=True)
    groups = training_table(frame, "y", make_settings({})).target.groups
    assert groups[:100].tolist() == groups[600:].tolist()
    assert len(set(groups)) == ROWS
    assert training_table(table_of(), "y", make_settings({})).target.groups is None


def test_a_column_of_groups_is_no_feature_and_its_rows_are_judged_together():
    frame = table_of(patient=[f"p{i // 3}" for i in range(ROWS)])
    table = training_table(frame, "y", make_settings({"groups": "patient"}))
    assert list(table.features) == ["x"]
    assert len(set(table.target.groups)) == ROWS // 3
    # A feature that names 20 clinics, each with an effect: among rows of the same clinics it is known.
    clinic = rng().integers(0, 20, ROWS)
    frame = table_of(size=clinic.astype(float), clinic=[f"c{i}" for i in clinic])
    frame["y"] += 3 * np.random.default_rng(1).normal(size=20)[clinic]
    apart = fit(frame.drop(columns="clinic"), "y", make_settings(QUICK))
    together = fit(frame, "y", make_settings({**QUICK, "groups": "clinic"}))
    rmse = [f.model.card["metrics"]["out_of_fold"]["rmse"] for f in (apart, together)]
    assert rmse[1] > 1.5 * rmse[0]


def test_a_fit_by_time_is_judged_on_its_latest_rows():
    frame = table_of(day=pd.date_range("2024-01-01", periods=ROWS)).sample(frac=1.0, random_state=0)
    fitted = fit(frame, "y", make_settings({**QUICK, "time": "day"}))
    held = len(fitted.target.values)
    assert 0 < held < ROWS / 4
    latest = frame.sort_values("day")["y"].tail(held)
    assert sorted(fitted.target.values) == sorted(latest)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"groups": "same"}, "groups must have 2 values at least"),
        ({"groups": "nobody"}, "no column 'nobody'"),
        ({"time": "gone"}, "time must be known of every row; column 'gone' is missing in 1"),
        ({"time": "word"}, "time must be a column of different dates or numbers"),
    ],
)
def test_columns_that_cannot_be_groups_or_times_are_refused(settings, says):
    frame = table_of(same=1, gone=[None, *range(ROWS - 1)], word=["a", "b"] * (ROWS // 2))
    with pytest.raises(UserError) as caught:
        training_table(frame, "y", make_settings(settings))
    assert says in str(caught.value)
