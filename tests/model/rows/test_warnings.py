"""Warnings of rows: found by two comparisons a value, described only where there are any."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from tests.support.made_models import ROW, make_model, make_rows

from eigenserve.model.rows.feature import Feature
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.model.rows.warnings import CELLS, KINDS, MOST_LISTED, RowChecks, read_kinds

MODEL = make_model()


def kinds_of(row: dict) -> list[tuple[str, str]]:
    (warnings,) = MODEL.warnings([row]).lists()
    return [(warning["kind"], warning["feature"]) for warning in warnings]


def test_each_kind_is_found_and_a_row_like_those_of_training_has_none():
    assert kinds_of(ROW) == []
    assert kinds_of({**ROW, "income": None}) == [("missing", "income")]
    assert kinds_of({**ROW, "city": "Bavaria"}) == [("unseen", "city")]
    assert kinds_of({**ROW, "income": 1e9}) == [("range", "income")]
    # Training had missing ages and cities: the model knows them.
    assert kinds_of({**ROW, "age": None, "city": None}) == []
    assert kinds_of({}) == [("missing", "income"), ("missing", "member"), ("missing", "rate")]


def test_a_missing_value_is_said_to_count_as_what_it_counts_as():
    features = (
        Feature("age", "numeric", 30.0, low=0.0, high=90.0),
        Feature("member", "boolean", True),
        Feature("city", "categorical", "Rome", categories=("Oslo", "Rome")),
    )
    space = FeatureSpace(features)
    rows = [{}, {"age": 30.0, "member": True, "city": "none of them"}]
    assert (np.diff(space.coordinates(space.encode(rows)), axis=0) == 0.0).all()
    (messages, _) = ([w["message"] for w in of] for of in RowChecks(space).warnings(space.encode(rows)).lists())
    counts_as = ["the typical value", "the typical value", "an unknown category"]
    assert messages == [f"is missing, as in no row of training: it counts as {each}" for each in counts_as]
    assert [feature.missing_counts_as for feature in features] == counts_as


@pytest.mark.parametrize(("value", "by"), [(3.0, None), (-3.0, None), (7.0, 4.0), (-3.5, -0.5)])
def test_how_far_beyond_the_range_is_said_and_its_ends_are_within(value, by):
    (warnings,) = MODEL.warnings([{**ROW, "rate": value}]).lists()
    assert [warning["by"] for warning in warnings] == ([] if by is None else [by])
    if by is not None:
        side = "above" if by > 0 else "below"
        assert warnings[0]["message"] == f"is {abs(by):g} {side} the training range, -3 to 3"


def test_a_date_says_days_and_its_range_as_dates():
    space = FeatureSpace((Feature("when", "datetime", 19_000.0, center=0.0, scale=1.0, low=18_262.0, high=19_000.0),))
    (warnings,) = RowChecks(space).warnings(space.encode([{"when": "2030-01-01"}])).lists()
    assert warnings[0]["by"] == 2_915.0
    assert "2,915 days" in warnings[0]["message"].replace("2915", "2,915")
    assert "2020-01-01T00:00:00+00:00" in warnings[0]["message"]


def test_where_a_shape_is_certified_within_the_range_alone_both_are_said():
    model = replace(MODEL, card={"certificates": {"curved": {"rate": "convex"}, "monotone": {"income": "+"}}})
    (warnings,) = model.warnings([{**ROW, "rate": 9.0, "income": 1e9}]).lists()
    assert [(w["kind"], w["feature"]) for w in warnings] == [
        ("range", "income"),
        ("range", "rate"),
        ("certified", "rate"),
    ]


def test_a_slow_readable_twin_finds_the_same():
    rows = make_rows(300)
    features = MODEL.features.features

    def slow(row: dict) -> str:
        texts = []
        for feature in features:
            value = row.get(feature.name)
            if value is None:
                texts += [] if feature.missing else [f"missing {feature.name}"]
            elif feature.kind == "categorical":
                texts += [] if value in feature.categories else [f"unseen {feature.name}"]
            elif feature.kind == "numeric" and not feature.low <= value <= feature.high:
                end = feature.high if value > feature.high else feature.low
                texts.append(f"range {feature.name} by {value - end!r}")
        return "; ".join(texts)

    found = MODEL.warnings(rows)
    assert found.texts() == list(map(slow, rows))
    assert found[100:200].texts() == found.texts()[100:200]
    assert found.rows_by_kind()["unseen"] == sum("unseen" in text for text in found.texts())


@pytest.mark.parametrize("odd", [{"rate": 3.5}, {"rate": None}, {"city": "Bavaria"}])
@pytest.mark.parametrize("place", [0, 63, 64, 127, 128, 129])
def test_one_odd_value_is_found_wherever_it_stands(place: int, odd: dict):
    rows = [ROW] * place + [{**ROW, **odd}] + [ROW] * (129 - place)
    assert MODEL.warnings(rows).rows.tolist() == [place]


def test_an_unstable_explanation_is_joined_in_the_order_of_the_rows():
    found = MODEL.warnings([{**ROW, "rate": 9.0}, ROW, {}])
    joined = found.joined(MODEL.checks.unstable(np.array([True, True, False])))
    assert [[w["kind"] for w in row] for row in joined.lists()] == [
        ["range", "unstable"],
        ["unstable"],
        ["missing"] * 3,
    ]
    assert joined.of_kinds(["unstable"]).texts() == ["unstable", "unstable", ""]


def test_strictness_is_read_as_people_write_it():
    assert read_kinds(True) == read_kinds("true") == set(KINDS)
    assert read_kinds(None) == read_kinds(False) == read_kinds("") == set()
    assert read_kinds("missing, range") == read_kinds(["range", "missing"]) == {"missing", "range"}
    for wrong in ("missed", ["range", 1], 7, {"range": True}):
        with pytest.raises(ValueError, match="must be true, false or some of missing"):
            read_kinds(wrong)


def test_rows_without_a_warning_cost_next_to_nothing():
    columns = np.repeat(MODEL.features.encode([ROW]), 10_000, axis=0)
    MODEL.scores(columns)

    def least(work) -> float:
        times = []
        for _ in range(7):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
        return min(times)

    # A tenth, where the promise is 3% of a prediction of the demo model: this one is many times smaller.
    assert least(lambda: MODEL.checks.warnings(columns)) < 0.1 * least(lambda: MODEL.scores(columns))


def test_of_a_wide_row_a_few_warnings_of_each_kind_are_listed_and_the_others_counted():
    numbers = [Feature(f"x{i}", "numeric", 0.0, low=0.0, high=1.0) for i in range(100)]
    space = FeatureSpace((*numbers, Feature("town", "categorical", "a", categories=("a", "b"))))
    rows = CELLS // 101 + 3
    columns = np.full((rows, 101), 0.5)
    columns[:, 100] = 0.0
    columns[1, :60], columns[1, 60:100] = np.nan, 7.0
    columns[rows - 1, [3, 100]] = np.nan, 2.0
    found = RowChecks(space).warnings(columns)
    lists = found.lists()
    assert [len(warnings) for warnings in lists] == [0, 2 * (MOST_LISTED + 1), *[0] * (rows - 3), 2]
    assert [(w["kind"], w["further"]) for w in lists[1][-2:]] == [("missing", 40), ("range", 20)]
    assert lists[1][-1]["message"] == "20 further features have the same warning"
    assert found.texts()[1].endswith("missing and 40 more; range and 20 more")
    assert found.rows_by_kind() == {"missing": 2, "unseen": 1, "range": 1}
    # However many there are of one kind, none of another is lost, by which a row may be refused.
    assert [(row, feature) for row, feature, _ in found.of_kinds(["unseen"]).faults(5)] == [(rows - 1, "town")]
