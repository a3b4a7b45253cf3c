"""The words of reasons: which text a value gets, how values are written, what is never cited, and what is refused."""

import re

import numpy as np
import pytest
from tests.support.few_features import few_features_model

from eigenserve.model.explanations.groups import read_groups
from eigenserve.model.reasons import read_wording
from eigenserve.model.rows.date_cycles import CYCLES
from eigenserve.model.rows.features import Feature, FeatureSpace

DAY = 19000.0
FEATURES = FeatureSpace(
    (
        Feature("income", "numeric", 3e4, low=0.0, high=1e6, missing=True),
        Feature("late", "numeric", 0.0, low=0.0, high=9.0, step=1.0),
        Feature("owner", "boolean", False, missing=True),
        Feature("purpose", "categorical", "car", categories=("car", "home"), missing=True),
        Feature("applied", "datetime", DAY, low=DAY, high=DAY + 100.0),
        *(Feature(f"applied ({name})", "numeric", 1.0, source="applied", cycle=name) for name in CYCLES),
    )
)
GROUPS = read_groups(FEATURES, {"money": ["income", "owner"]})
POSITIONS = {name: (i,) for i, name in enumerate(FEATURES.names)} | dict(GROUPS)


def text_of(texts, name, **row):
    """The text that a row, typical but for what is given, gets for a reason."""
    wording = read_wording({"text": {name: texts}}, FEATURES, GROUPS)
    given = {"income": 3e4, "late": 0, "owner": False, "purpose": "car", "applied": "2022-01-08", **row}
    return wording.text(FEATURES, name, POSITIONS[name], FEATURES.encode([given])[0])


SIDES = {"low": "Income too low", "high": "Income"}
BINS = [{"below": 2, "text": "A late payment"}, {"text": "{value} late payments"}]


@pytest.mark.parametrize(
    ("name", "texts", "row", "expected"),
    [
        ("income", SIDES, {"income": 1}, "Income too low"),
        ("income", SIDES, {"income": 3e4}, "Income"),
        ("income", SIDES, {"income": None}, "income"),
        ("income", {**SIDES, "missing": "Income not stated"}, {"income": None}, "Income not stated"),
        ("income", "Income of {value}", {"income": None}, "income"),
        ("income", "Income of {value}", {"income": 1234567}, "Income of 1234567"),
        ("income", "Income of {value}", {"income": 0.1}, "Income of 0.1"),
        ("income", "Amount of income", {"income": None}, "Amount of income"),
        ("income", {"text": "Income of {value}", "missing": "No income"}, {"income": None}, "No income"),
        ("income", [{"below": 9, "text": "a"}, {"text": "b"}], {"income": None}, "income"),
        ("income", [{"below": 9, "text": "a"}, {"missing": True, "text": "none"}], {"income": None}, "none"),
        ("income", [{"below": 9, "text": "a"}], {"income": 9}, "income"),
        ("late", BINS, {"late": 1}, "A late payment"),
        ("late", BINS, {"late": 2}, "2 late payments"),
        ("owner", {"high": "Owner", "low": "No owner"}, {"owner": False}, "No owner"),
        ("owner", {"high": "Owner", "low": "No owner"}, {"owner": True}, "Owner"),
        ("owner", "Owner: {value}", {"owner": True}, "Owner: true"),
        ("purpose", "For a {value}", {"purpose": "home"}, "For a home"),
        ("purpose", "For: {value}", {"purpose": "boat"}, "For: (unseen)"),
        ("applied", "Applied on {value}", {"applied": "2022-01-09"}, "Applied on 2022-01-09"),
        ("applied", "Applied {value}", {"applied": "2022-01-09T06:30"}, "Applied 2022-01-09T06:30:00"),
        ("applied", [{"below": "2022-02-01", "text": "early"}, {"text": "late"}], {"applied": "2022-01-31"}, "early"),
        ("money", "Means: {value}", {"income": None, "owner": True}, "Means: income missing, owner true"),
        ("money", "Means: {value}", {"income": None, "owner": None}, "money"),
        ("money", "Means", {"income": None, "owner": None}, "Means"),
    ],
)
def test_a_value_gets_its_text_and_is_written_as_in_a_row(name, texts, row, expected):
    assert text_of(texts, name, **row) == expected


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nevr": ["late"]}, "reasons.toml has the keys text, never, changes; got 'nevr'"),
        ({"never": "late"}, "never in reasons.toml must be a list of features and groups; got 'late'"),
        ({"never": [["late"]]}, "never in reasons.toml must be a list of features and groups; got [['late']]"),
        (
            {"never": ["zip"]},
            "reasons.toml names 'zip', which is neither a feature nor a group; these are income, late",
        ),
        ({"text": ["late"]}, "text in reasons.toml must be a table by feature or group; got an array"),
        ({"text": {"late": 5}}, "the text of 'late' must be a text, {high = ..., low = ...}, or a list of bins; got 5"),
        ({"text": {"late": []}}, "the text of 'late' must have at least one bin"),
        ({"text": {"late": ["a"]}}, "bin 1 of the text of 'late' must be a table; got the text 'a'"),
        (
            {"text": {"late": [{"above": 3, "text": "a"}]}},
            "bin 1 of the text of 'late' has the keys below, missing, text; got 'above'",
        ),
        (
            {"text": {"late": [{"below": "2", "text": "a"}]}},
            "bin 1 of the text of 'late': below must be a number; got the text '2'",
        ),
        ({"text": {"late": [{"below": True, "text": "a"}]}}, "below must be a number; got true"),
        ({"text": {"late": [{"below": np.inf, "text": "a"}]}}, "below must be a finite number"),
        ({"text": {"applied": [{"below": "soon", "text": "a"}]}}, "below must be a date or time in ISO 8601"),
        ({"text": {"late": [{"below": 1}]}}, "bin 1 of the text of 'late': text must be a text; got null"),
        ({"text": {"late": [{"below": 1, "text": 7}]}}, "text must be a text; got 7"),
        (
            {"text": {"late": [{"text": "a"}, {"below": 1, "text": "b"}]}},
            "bin 2 of the text of 'late' is never reached",
        ),
        ({"text": {"late": [{"missing": False, "text": "a"}]}}, "must be {missing = true, text = ...}, once"),
        ({"text": {"late": {"hgih": "a", "low": "b"}}}, "has the keys text, high, low, missing; got 'hgih'"),
        ({"text": {"late": {"low": "b"}}}, "the text of 'late' must have both high and low, or text alone; got low"),
        ({"text": {"late": {"low": 1, "high": "b"}}}, "the text of 'late': low must be a text; got 1"),
        ({"text": {"purpose": {"low": "a", "high": "b"}}}, "must not have high and low: categories are neither"),
        ({"text": {"purpose": [{"below": 1, "text": "a"}]}}, "must not have bins: 'purpose' is not a number or a date"),
        ({"text": {"money": {"low": "a", "high": "b"}}}, "must be a text, as that of a group is; got an object"),
    ],
)
def test_what_is_no_wording_is_refused_and_named(document, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        read_wording(document, FEATURES, GROUPS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("never", "withheld"),
    [("income", {"money"}), ("money", {"money"}), ("applied (hour)", {"applied"}), ("applied", {"applied"})],
)
def test_what_holds_something_that_is_never_cited_is_withheld_and_no_change_names_it(never, withheld):
    model = few_features_model(FEATURES.features, {"groups": {"money": ["income", "owner"]}})
    rows = [{"income": 5e5, "late": 9, "owner": True, "purpose": "home", "applied": "2022-03-01T12:00"}, {"late": 3}]
    for adverse in ("above", "below"):
        free = model.reasons(rows, 0.0, adverse=adverse, n=9)
        held = model.reasons(rows, 0.0, adverse=adverse, n=9, wording={"never": [never]})
        for before, after in zip(free, held, strict=True):
            names = [reason.name for reason in before.reasons]
            assert [reason.name for reason in after.reasons] == [name for name in names if name not in withheld]
            if withheld & set(names[: len(after.reasons)]):
                assert after.withheld == 1
            silent = {"income", "owner"} if never == "money" else {never.removesuffix(" (hour)")}
            assert after.change is None or not silent & set(after.change.changes)


def test_values_of_reasons_are_those_of_a_row():
    model = few_features_model(FEATURES.features)
    row = {"income": None, "late": 2, "owner": True, "purpose": "boat", "applied": "2022-01-09"}
    values = {
        reason.name: reason.value
        for adverse in ("above", "below")
        for reason in model.reasons([row], 0.0, adverse=adverse, n=9)[0].reasons
    }
    expected = {**row, "late": 2.0, "purpose": "(unseen)", "applied": "2022-01-09T00:00:00+00:00"}
    assert values
    assert values == {name: expected[name] for name in values}
