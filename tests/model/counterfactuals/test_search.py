"""Counterfactuals reach their goal, are beaten by no grid, and change only what may change."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.twin import CLASSES, FEATURES, random_model, random_rows

from eigenserve.model import InvalidRowsError
from eigenserve.model.counterfactuals.goals import read_goal
from eigenserve.model.counterfactuals.search import find_counterfactuals
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

GOALS = {
    "regression": lambda m, r: {"above": float(m.predict([r])[0]) + 0.7},
    "poisson": lambda m, r: {"below": 0.6 * float(m.predict([r])[0])},
    "binary": lambda m, r: {"class": "no" if m.predict([r])[0] == "yes" else "yes"},
    "multiclass": lambda m, r: {"class": m.classes[m.predict_proba([r])[0].argsort()[1]]},
}


def reaches(model, row, wanted):
    ((kind, value),) = wanted.items()
    if kind == "class":
        return bool(model.predict([row])[0] == value)
    predicted = model.predict_proba([row])[0, 1] if model.classes else model.predict([row])[0]
    return bool(predicted >= value) if kind == "above" else bool(predicted <= value)


def changed(row, found):
    return {**row, **{name: after for name, (_, after) in found.changes.items()}}


def reached_on(model, rows, wanted):
    """Which of encoded rows reach."""
    scores = model.scores(rows)
    ((kind, value),) = wanted.items()
    if kind == "class":
        return model.labels(model.probabilities(scores)) == value
    predicted = model.probabilities(scores)[:, 1] if model.classes else model.values(scores)
    return predicted >= value if kind == "above" else predicted <= value


def distances(model, row, rows):
    """Of encoded rows from one, spelt out."""
    total = np.zeros(len(rows))
    for i, feature in enumerate(model.features.features):
        if feature.num_codes:
            total += (rows[:, i] != row[i]) & ~np.isnan(row[i])
        elif not np.isnan(row[i]):
            ends = feature.coordinate(np.append(rows[:, i], row[i]))
            total += np.abs(ends[:-1] - ends[-1])
    return total


def grid_rows(model, row, names, count):
    axes = []
    for name in names:
        i = model.features.position(name)
        feature = model.features.features[i]
        if np.isnan(row[i]):
            return np.empty((0, len(row)))
        if feature.num_codes:
            axes.append(np.arange(len(feature.categories) or 2, dtype=float))
        else:
            ends = feature.coordinate(np.array([feature.low, feature.high]))
            axes.append(np.clip(feature.value(np.linspace(*ends, count)), feature.low, feature.high))
    values = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(names))
    rows = np.tile(row, (len(values), 1))
    rows[:, [model.features.position(name) for name in names]] = values
    return rows


@pytest.mark.parametrize("task", list(GOALS))
def test_every_counterfactual_reaches_its_goal_and_gives_its_distance(task):
    model = random_model(task, dim=7, members=2, seed=1)
    reached = 0
    for row in random_rows(30, seed=2):
        wanted = GOALS[task](model, row)
        (found,) = model.counterfactuals([row], wanted)
        columns = FEATURES.encode([row])[0]
        assert [one.distance for one in found] == sorted(one.distance for one in found)
        assert len({frozenset(one.changes) for one in found}) == len(found)
        for one in found:
            new = changed(row, one)
            assert reaches(model, new, wanted)
            assert 1 <= len(one.changes) <= 2
            np.testing.assert_array_equal(FEATURES.encode([new])[0], one.columns)
            assert abs(distances(model, columns, one.columns[None])[0] - one.distance) <= 1e-9
            target = wanted.get("class")
            assert one.score == model.explain([new], target=target).score[0]
            for name, (before, after) in one.changes.items():
                feature = FEATURES.features[FEATURES.position(name)]
                assert before in (row[name], "(unseen)") or str(before).lower() == str(row[name]).lower()
                if feature.kind == "numeric":
                    assert feature.low <= after <= feature.high
            reached += 1
    assert reached > 25


@pytest.mark.parametrize("task", list(GOALS))
def test_no_grid_over_one_feature_finds_a_nearer_change(task):
    model = random_model(task, dim=7, members=2, seed=3)
    compared = 0
    for row in random_rows(25, seed=4):
        wanted = GOALS[task](model, row)
        found = {name: one for one in model.counterfactuals([row], wanted, max_features=1)[0] for name in one.changes}
        columns = FEATURES.encode([row])[0]
        for name in FEATURES.names:
            rows = grid_rows(model, columns, [name], 4001)
            good = rows[reached_on(model, rows, wanted)] if len(rows) else rows
            if len(good):
                least = distances(model, columns, good).min()
                assert found[name].distance <= least * (1.0 + 1e-9)
                compared += 1
            else:
                # A bump narrower than the grid's step may be found all the same.
                assert name not in found or FEATURES.features[FEATURES.position(name)].kind == "numeric"
    assert compared > 20


@pytest.mark.parametrize("task", list(GOALS))
def test_no_grid_over_two_features_finds_a_change_nearer_by_a_hundredth(task):
    model = random_model(task, dim=5, members=2, seed=5)
    compared = 0
    for row in random_rows(20, seed=6):
        wanted = GOALS[task](model, row)
        (found,) = model.counterfactuals([row], wanted)
        columns = FEATURES.encode([row])[0]
        best = min((one.distance for one in found), default=np.inf)
        for pair in (("width", "price"), ("width", "town"), ("price", "kind"), ("town", "kind"), ("sold", "price")):
            rows = grid_rows(model, columns, pair, 201)
            good = rows[reached_on(model, rows, wanted)] if len(rows) else rows
            if len(good):
                assert best <= distances(model, columns, good).min() * 1.01
                compared += 1
    assert compared > 10


def test_the_nearest_root_is_exact():
    model = random_model(seed=7)
    row = {"width": 0.3, "price": 20.0, "sold": True, "town": "Bath", "kind": "a"}
    goal = float(model.predict([row])[0]) + 0.05
    (found,) = model.counterfactuals([row], {"above": goal}, max_features=1)
    for one in found:
        ((name, (before, after)),) = one.changes.items()
        if isinstance(after, float):
            assert model.predict([{**row, name: after}])[0] >= goal
            nearer = after - 1e-9 * (after - before)
            assert model.predict([{**row, name: nearer}])[0] < goal


def test_what_is_fixed_stays_and_ranges_are_honoured():
    model = random_model(seed=8)
    for row in random_rows(20, seed=9):
        wanted = GOALS["regression"](model, row)
        (found,) = model.counterfactuals(
            [row], wanted, fixed=["town", "kind"], ranges={"width": (-1.0, 1.0), "price": (5.0, 8.0)}
        )
        for one in found:
            assert not {"town", "kind"} & set(one.changes)
            for name, (low, high) in {"width": (-1.0, 1.0), "price": (5.0, 8.0)}.items():
                if name in one.changes:
                    assert low <= one.changes[name][1] <= high
        everything = model.counterfactuals([row], wanted, fixed=FEATURES.names)
        assert everything == [[]]


def test_what_is_missing_stays_missing():
    model = random_model(seed=10)
    row = {"width": 1.0, "price": None, "sold": None, "town": "Bath", "kind": None}
    for one in model.counterfactuals([row], GOALS["regression"](model, row))[0]:
        assert set(one.changes) <= {"width", "town"}


def test_a_row_that_is_there_already_need_not_change():
    model, rows = random_model(), random_rows(3)
    for found in model.counterfactuals(rows, {"above": -1e6}):
        (one,) = found
        assert not one.changes
        assert one.distance == 0.0
    assert model.counterfactuals(rows, {"above": 1e6}) == [[], [], []]


def test_a_time_is_written_as_a_text_of_whole_seconds():
    base = random_model(seed=11)
    features = list(FEATURES.features)
    features[0] = Feature("width", "datetime", 19000.0, center=19000.0, scale=400.0, low=18000.0, high=20000.0)
    model = SpectralModel("regression", "goal", FeatureSpace(tuple(features)), base.ensemble)
    row = {"width": "2022-01-07T12:30:00+00:00", "price": 20.0, "sold": True, "town": "Bath", "kind": "a"}
    wanted = {"above": float(model.predict([row])[0]) + 0.1}
    (found,) = model.counterfactuals([row], wanted, fixed=["price", "sold", "town", "kind"])
    before, after = found[0].changes["width"]
    assert before == row["width"]
    assert len(after) == len(before)
    assert model.predict([{**row, "width": after}])[0] >= wanted["above"]
    for late in (after[:10], "2300-01-01"):
        # Reached only after the first of these, and before the second.
        ranges = {"width": (before[:10], late)}
        (within,) = model.counterfactuals([row], wanted, fixed=["price", "sold", "town", "kind"], ranges=ranges)
        assert [one.changes["width"][1] for one in within] == ([after] if late > after else [])
    with pytest.raises(ValueError, match="must be a date or time in ISO 8601; got"):
        model.counterfactuals([row], wanted, ranges={"width": (19000.0, "2300-01-01")})


@pytest.mark.parametrize(
    ("task", "wanted", "says"),
    [
        ("regression", {}, "wanted must be one of"),
        ("regression", {"near": 3.0}, "wanted must be one of"),
        ("regression", {"above": 1.0, "below": 2.0}, "wanted must be one of"),
        ("regression", {"above": "much"}, "above must be a number; got 'much'"),
        ("regression", {"above": float("nan")}, "above must be above -inf and below inf"),
        ("regression", {"class": "x"}, "left out: no classes"),
        ("binary", {"above": 1.0}, "above must be above 0 and below 1"),
        ("poisson", {"below": 0.0}, "below must be above 0 and below inf"),
        ("binary", {"class": "maybe"}, "class must be one of 'no', 'yes'; got 'maybe'"),
        ("multiclass", {"above": 0.5}, "of several classes"),
    ],
)
def test_a_wanted_prediction_that_is_none_is_refused(task, wanted, says):
    with pytest.raises(ValueError, match=says):
        random_model(task).counterfactuals(random_rows(1), wanted)


def test_wrong_features_ranges_and_rows_are_refused():
    model, rows = random_model(), random_rows(1)
    assert CLASSES["regression"] == ()
    for options, says in (
        ({"fixed": ["depth"]}, "no feature 'depth'"),
        ({"ranges": {"depth": (0.0, 1.0)}}, "no feature 'depth'"),
        ({"ranges": {"town": (0.0, 1.0)}}, "'town' is not a number"),
        ({"ranges": {"width": (2.0, 1.0)}}, r"a range must be \[low, high\]"),
        ({"ranges": {"width": (float("nan"), 1.0)}}, "range of 'width': must be a finite number; got nan"),
        ({"ranges": {"width": 1.0}}, r"a range must be \[low, high\]; got 1.0 for 'width'"),
        ({"ranges": {"width": "12"}}, r"a range must be \[low, high\]; got the text '12' for 'width'"),
        ({"ranges": {"sold": ("no", "yes")}}, "'sold' is not a number"),
        ({"max_features": 5}, "max_features must be 1 to 4; got 5"),
    ):
        with pytest.raises(ValueError, match=says):
            model.counterfactuals(rows, {"above": 1.0}, **options)
    with pytest.raises(InvalidRowsError, match="must be a number"):
        model.counterfactuals([{"width": "wide"}], {"above": 1.0})


def stepped(model, **steps):
    """A model whose numbers may only be multiples of these."""
    features = [replace(f, step=steps.get(f.name, 0.0)) for f in model.features.features]
    return replace(model, features=FeatureSpace(tuple(features)))


@pytest.mark.parametrize("seed", range(4))
def test_whole_numbers_stay_whole_and_no_value_of_the_grid_alone_is_nearer(seed):
    model = stepped(random_model(seed=seed), width=1.0)
    predicted = model.predict(random_rows(300, seed=9))
    wanted = {"above": float(np.quantile(predicted, 0.8))}
    checked = 0
    for row in random_rows(25, seed=seed + 20):
        row["width"] = None if row["width"] is None else float(round(row["width"]))
        best = np.inf
        for one in model.counterfactuals([row], wanted)[0]:
            changed = {**row, **{name: after for name, (_, after) in one.changes.items()}}
            assert model.predict([changed])[0] >= wanted["above"]
            if "width" in one.changes:
                assert one.changes["width"][1] == int(one.changes["width"][1])
                checked += 1
                if set(one.changes) == {"width"}:
                    best = one.distance
        if row["width"] is not None and model.predict([row])[0] < wanted["above"]:
            for value in range(-5, 6):
                if model.predict([{**row, "width": value}])[0] >= wanted["above"]:
                    assert best <= abs(value - row["width"]) / 2.5 + 1e-9
    assert checked


@pytest.mark.parametrize("max_features", [1, 2, 3])
@pytest.mark.parametrize("radius", [None, 0.01])
def test_a_search_can_be_ended_within_a_row(max_features, radius):
    model, row = random_model(seed=3, dim=5, members=2), random_rows(1, seed=3)
    goal = read_goal(model, {"above": float(model.predict(row)[0]) + 1.0})
    calls = []

    class LateError(Exception):
        pass

    def check():
        calls.append(None)
        if len(calls) == 5:
            raise LateError

    steps = replace(model.possible_changes, check=check)
    with pytest.raises(LateError):
        find_counterfactuals(steps, goal, model.features.encode(row)[0], max_features, radius)
    assert len(calls) == 5
