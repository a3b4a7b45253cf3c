"""Decisions, groups of rows and rows that were trained on: figures against scikit-learn's, or counted by hand."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score, recall_score, roc_curve
from tests.support.made_models import make_model, make_rows

from eigenserve.training.commands import evaluate as command
from eigenserve.training.evaluation.decisions import CUTOFFS, cutoff_table, kolmogorov_smirnov, lift
from eigenserve.training.evaluation.evaluate import evaluate
from eigenserve.training.evaluation.groups_of_rows import MOST_GROUPS, compare_groups
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings


def test_cutoffs_and_ks_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    probability, weight = rng.random(500).round(2), rng.integers(1, 4, 500).astype(float)
    hit = (rng.random(500) < probability).astype(float)
    rising, falling, _ = roc_curve(hit, probability, sample_weight=weight, drop_intermediate=False)
    assert kolmogorov_smirnov(probability, hit, weight) == pytest.approx(np.abs(falling - rising).max())
    for each in cutoff_table(probability, hit, weight):
        flagged = probability >= each.cutoff
        options = {"sample_weight": weight, "zero_division": np.nan}
        assert each.precision == pytest.approx(precision_score(hit, flagged, **options), nan_ok=True)
        assert each.recall == pytest.approx(recall_score(hit, flagged, **options))
        assert each.flagged == pytest.approx(np.average(flagged, weights=weight))
    assert np.isnan(kolmogorov_smirnov(probability, np.ones(500), weight))


def test_lift_counts_the_tenth_with_the_highest_probabilities():
    probability, hit = np.linspace(1.0, 0.0, 100), np.zeros(100)
    hit[:6] = hit[50:54] = 1.0
    assert lift(probability, hit, np.ones(100)) == pytest.approx(0.6 / 0.1)
    assert len(cutoff_table(probability, hit, np.ones(100))) == len(CUTOFFS)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    size, town = rng.random(400), rng.choice(["a", "b", "c"], 400)
    sold = np.where(rng.random(400) < np.where(town == "a", size, 0.3), "yes", "no")
    return pd.DataFrame({"size": size, "town": town, "sold": sold})


@pytest.fixture(scope="module")
def model(table):
    return fit(table[:300], "sold", make_settings({"members": 1, "dim": 3, "epochs": 2})).model


def test_rows_that_a_model_was_trained_on_are_recognised(model, table):
    assert evaluate(model, table[:300]).seen == 1.0
    assert evaluate(model, table[300:]).seen == 0.0
    assert evaluate(model, table).seen == pytest.approx(0.75, abs=0.1)
    assert len(model.card["training_rows"]) == 256


def test_the_example_is_a_training_row(model, table):
    example = model.card["example"]
    same = (table["size"][:300] == example["size"]) & (table["town"][:300] == example["town"])
    assert same.sum() == 1
    assert json.loads(json.dumps(example)) == example


def test_groups_of_rows_are_compared_by_rates_calibration_and_errors(model, table):
    rows = table[300:].reset_index(drop=True)
    found = evaluate(model, rows)
    groups = compare_groups(model, found, rows["town"])
    assert sum(group.rows for group in groups) == 100
    for group in groups:
        part = (rows["town"] == group.name).to_numpy()
        labels, truth = model.predict(rows[part]), rows["sold"][part].to_numpy()
        assert group.error == pytest.approx((labels != truth).mean())
        assert group.observed == pytest.approx((truth == "yes").mean())
        assert group.predicted == pytest.approx(model.predict_proba(rows[part])[:, 1].mean())
        assert group.flagged == pytest.approx((labels == "yes").mean())
        assert group.missed == pytest.approx((labels[truth == "yes"] == "no").mean())
    assert len(compare_groups(model, found, rows["size"])) == 5
    many = pd.Series([f"t{i % 30}" for i in range(100)])
    assert len(compare_groups(model, found, many)) == MOST_GROUPS + 1
    assert sum(group.rows for group in compare_groups(model, found, many)) == 100


def sizes(model, found, values):
    return {group.name: group.rows for group in compare_groups(model, found, pd.Series(values, name="extra"))}


def test_a_frequent_value_is_a_group_against_ranges_of_the_rest(model, table):
    found = evaluate(model, table[300:])
    gains = [0] * 76 + [None] * 2 + list(range(100, 122))
    ranges = {"100 to 105": 6, "106 to 110": 5, "111 to 115": 5, "116 to 121": 6}
    assert sizes(model, found, gains) == {"0": 76, "missing": 2, **ranges}
    both = [0] * 60 + list(range(-20, 0)) + list(range(1, 21))
    assert sizes(model, found, both) == {"0": 60, "-20 to -11": 10, "-10 to -1": 10, "1 to 10": 10, "11 to 20": 10}
    across = [0] * 40 + list(range(-10, 0)) + list(range(1, 51))
    named = sizes(model, found, across)
    assert named["0"] == 40
    assert sum(named.values()) == 100
    assert "-10 to 5 but 0" in named


def test_dates_of_many_values_are_grouped_by_ranges_whatever_they_are_written_as(model, table):
    found = evaluate(model, table[300:])
    days = pd.date_range("2024-01-01", periods=100, freq="D")
    expected = {"2024-01-01 to 2024-01-20": 20, "2024-01-21 to 2024-02-09": 20, "2024-02-10 to 2024-02-29": 20}
    expected |= {"2024-03-01 to 2024-03-20": 20, "2024-03-21 to 2024-04-09": 20}
    for column in (days, days.strftime("%d.%m.%Y"), days.strftime("%Y-%m-%d")):
        assert sizes(model, found, column) == expected
    months = days.to_period("M").start_time.strftime("%Y-%m-%d")
    assert set(sizes(model, found, months)) == {"2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"}


def test_groups_of_a_regression_have_the_coverage_of_its_intervals():
    model = replace(make_model(), card={"intervals": {"0.9": 1.0}})
    rows, group = pd.DataFrame(make_rows(40)), np.arange(40) % 4 == 0
    # One group is missed by twice the radius, the other by half of it.
    found = evaluate(model, rows.assign(**{model.target: model.predict(rows) + np.where(group, 2.0, 0.5)}))
    shares = {g.name: g.coverage for g in compare_groups(model, found, pd.Series(np.where(group, "a", "b")))}
    assert shares == {"a": 0.0, "b": 1.0}


def test_the_command_says_which_rows_were_seen_and_compares_groups(model, table, tmp_path, capsys):
    import argparse

    from eigenserve.errors import UserError
    from eigenserve.model import ModelStore

    place = ModelStore(tmp_path / "store").save("m", model)
    table.to_csv(tmp_path / "rows.csv", index=False)
    parser = argparse.ArgumentParser()
    command.add_evaluate(parser.add_subparsers())
    given = ["evaluate", str(tmp_path / "store" / "m"), str(tmp_path / "rows.csv"), "--by", "town", "--json"]
    arguments = parser.parse_args(given)
    arguments.run(arguments)
    shown = capsys.readouterr().out
    assert "note: the model was trained on about" in shown
    assert "false alarms" in shown
    last = json.loads(shown.splitlines()[-1])
    assert {group["name"] for group in last["groups"]["town"]} == {"a", "b", "c"}
    assert place is not None
    arguments = parser.parse_args([*given[:3], "--by", "city"])
    with pytest.raises(UserError, match="no column 'city'"):
        arguments.run(arguments)
