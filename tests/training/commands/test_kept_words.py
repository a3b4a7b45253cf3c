"""What fit --reasons and --group refuse: before anything is trained, by --plan as well, in one line."""

import json

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main
from eigenserve.model import load_model
from eigenserve.training.commands.kept_words import read_reasons_file

QUICK = ("--members", "2", "--dim", "5", "--epochs", "1", "--budget", "5", "--pairs", "none")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng, rows = np.random.default_rng(0), 60
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(10.0, 1.0, rows),
            "late": rng.integers(0, 5, rows),
            "purpose": rng.choice(["car", "home"], rows),
            "applied": pd.date_range("2022-01-01", periods=rows, freq="11D").strftime("%Y-%m-%d"),
        }
    )
    frame["debt"] = frame.late - 1e-4 * frame.income
    path = tmp_path_factory.mktemp("table") / "credit.csv"
    frame.to_csv(path, index=False)
    return path


def fit(table, *options):
    return main(["fit", str(table), "--target", "debt", "--store", str(table.parent / "store"), *QUICK, *options])


WRONG = {
    'nevr = ["late"]': "reasons.toml has the keys text, never, changes; got 'nevr'",
    'never = [["late"]]': "never in reasons.toml must be a list of features and groups; got [['late']]",
    'never = ["debt"]': "reasons.toml names 'debt', which is neither a feature nor a group; these are income, late",
    'text.late = [{above = 3, text = "a"}]': "text of 'late' has the keys below, missing, text; got 'above'",
    'text.late = [{below = "2", text = "a"}]': "bin 1 of the text of 'late': below must be a number; got the text '2'",
    'text.applied = [{below = 3, text = "a"}]': "below must be a date or time in ISO 8601; got 3",
    'text.purpose = {low = "a", high = "b"}': "must not have high and low: categories are neither",
    "changes = 3": "rules of changes must be a table; got 3",
    "changes.fixed = [[1]]": "the name of a feature must be a text; got an array",
    'changes.fixd = ["late"]': "rules of changes have the keys fixed, ranges, directions, values, orders; got 'fixd'",
    "changes.ranges.late = [3, 1]": "a range must be [low, high] with low <= high; got (3.0, 1.0) for 'late'",
    "changes.ranges.applied = [2022-01-01, 2023-01-01]": "'applied' has no range",
    "[text": "is not TOML",
}


@pytest.mark.parametrize("plan", [(), ("--plan",)], ids=["fit", "plan"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_reasons_file_is_refused_before_training(table, tmp_path, monkeypatch, capsys, wrong, plan):
    monkeypatch.delattr("eigenserve.training.fit.fit_rows")
    path = tmp_path / "words.toml"
    path.write_text(wrong)
    assert fit(table, "--reasons", str(path), *plan) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{path}" in line
    assert WRONG[wrong] in line


@pytest.mark.parametrize("plan", [(), ("--plan",)], ids=["fit", "plan"])
@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("late=income", "a group must not be called like a feature; got 'late'"),
        ("g=income,shoes", "no column 'shoes' for --group"),
        ("g=debt", "no feature 'debt'"),
        ("g", "--group must be NAME=A,B; got 'g'"),
    ],
)
def test_a_wrong_group_is_refused_before_training(table, monkeypatch, capsys, group, words, plan):
    monkeypatch.delattr("eigenserve.training.fit.fit_rows")
    assert fit(table, "--group", group, *plan) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_words_with_dates_and_groups_are_kept(table, tmp_path):
    path = tmp_path / "words.toml"
    path.write_text(
        'never = ["purpose"]\n[text]\nmoney = "Means: {value}"\n'
        'applied = [{below = 2022-06-01, text = "Early"}, {below = 2022-06-02T12:00:00Z, text = "Then"}]\n'
    )
    document = read_reasons_file(path)
    assert json.loads(json.dumps(document)) == document
    assert fit(table, "--name", "kept", "--group", "money=income, late", "--reasons", str(path)) == 0
    model = load_model(table.parent / "store" / "kept")
    assert model.card["reasons"] == document
    assert model.reason_rules.wording.never == {"purpose"}
    assert list(model.groups) == ["money"]
