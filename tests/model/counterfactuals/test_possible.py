"""Counterfactuals are possible: steps, values, directions, orders and dates; none is beaten by a grid of these."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from tests.support.twin import FEATURES, random_ensemble, random_model, random_rows

from eigenserve.model.counterfactuals.plausibility import measure_typicality
from eigenserve.model.counterfactuals.search import WORTH
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

WIDTHS = [-5.0, -3.5, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.5]
PRICES = [0.5 + 25.0 * k for k in range(36)]


def possible_model(seed, **fields):
    """A model whose widths are among a few values and whose prices are multiples of 25 cents."""
    model = random_model(seed=seed, dim=5, members=2)
    features = list(FEATURES.features)
    features[0] = replace(features[0], values=tuple(WIDTHS))
    features[1] = replace(features[1], step=0.25)
    features[3] = replace(features[3], ordered=True)
    return replace(model, features=FeatureSpace(tuple(features)), **fields)


def possible_rows(count, seed):
    rows = random_rows(count, seed=seed)
    for row in rows:
        row["width"] = None if row["width"] is None else min(WIDTHS, key=lambda w, at=row["width"]: abs(w - at))
        row["price"] = None if row["price"] is None else round(4.0 * row["price"]) / 4.0
    return rows


def grid(model, row):
    """All rows that differ in one or two features, each by one of its possible values (some of the prices)."""
    town = model.features.position("town")
    axes = {0: WIDTHS, 1: PRICES, 2: [0.0, 1.0], town: [0.0, 1.0, 2.0, 3.0], 4: [0.0, 1.0]}
    axes = {i: np.array(values) for i, values in axes.items() if not np.isnan(row[i])}
    blocks = [np.tile(row, (1, 1))]
    for i, values in axes.items():
        blocks.append(np.tile(row, (len(values), 1)))
        blocks[-1][:, i] = values
    for a, b in combinations(axes, 2):
        both = np.stack(np.meshgrid(axes[a], axes[b], indexing="ij"), axis=-1).reshape(-1, 2)
        blocks.append(np.tile(row, (len(both), 1)))
        blocks[-1][:, [a, b]] = both
    return np.concatenate(blocks)


def distances(model, row, rows):
    before, after = model.features.coordinates(row[None]), model.features.coordinates(rows)
    away = np.abs(after - before)
    away[:, [2, 4]] = rows[:, [2, 4]] != row[[2, 4]]
    unknown = row[3] >= 4
    away[:, 3] = (rows[:, 3] != row[3]) if unknown else np.abs(rows[:, 3] - row[3])
    away[:, np.isnan(row)] = 0.0
    return away.sum(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_no_grid_over_the_possible_values_of_two_features_finds_a_nearer_change(seed):
    model = possible_model(seed)
    goal = float(np.quantile(model.predict(random_rows(300, seed=9)), 0.8))
    compared = 0
    for row in possible_rows(30, seed + 40):
        (found,) = model.counterfactuals([row], {"above": goal})
        columns = model.features.encode([row])[0]
        for one in found:
            changed = {**row, **{name: after for name, (_, after) in one.changes.items()}}
            assert model.predict([changed])[0] >= goal
            assert one.distance == pytest.approx(distances(model, columns, one.columns[None])[0], abs=1e-12)
            after = {name: after for name, (_, after) in one.changes.items()}
            assert after.get("width", 0.0) in WIDTHS
            assert (4.0 * after.get("price", 0.5)) % 1.0 == 0.0
        rows = grid(model, columns)
        good = rows[model.values(model.scores(rows)) >= goal]
        if len(good):
            best = min((one.distance for one in found), default=np.inf)
            assert (1.0 - WORTH) * best <= distances(model, columns, good).min() + 1e-9
            compared += 1
    assert compared > 20


def test_rules_of_a_request_are_kept_and_those_of_the_model_hold_in_any_case():
    words = {"changes": {"fixed": ["kind"], "directions": {"width": "up"}}}
    model = possible_model(1, card={"reasons": words})
    seen = set()
    for row in possible_rows(25, 7):
        (predicted,) = model.predict([row])
        rules = {"directions": {"town": "down", "sold": "up"}, "values": {"price": [2, 9.5, 40]}}
        (found,) = model.counterfactuals([row], {"above": float(predicted) + 0.3}, max_features=3, **rules)
        for one in found:
            seen |= set(one.changes)
            assert len(one.changes) <= 3
            for name, (before, after) in one.changes.items():
                assert name != "kind"
                if name == "width":
                    assert after > before
                    assert after in WIDTHS
                if name == "town":
                    towns = model.features.features[3].categories
                    assert before is None or towns.index(after) < towns.index(before)
                if name == "sold":
                    assert (before, after) == (False, True)
                if name == "price":
                    assert after in (2.0, 9.5, 40.0)
    assert seen == {"width", "price", "sold", "town"}


def test_an_order_that_is_given_counts_places_and_has_a_direction():
    model = random_model(seed=2)
    order = ["York", "3", "true", "Bath"]
    counted = 0
    for row in random_rows(30, seed=3):
        if row["town"] not in order:
            continue
        (predicted,) = model.predict([row])
        (found,) = model.counterfactuals(
            [row], {"above": float(predicted) + 0.1}, orders={"town": order}, directions={"town": "up"}, max_features=1
        )
        for one in found:
            if "town" in one.changes:
                before, after = (order.index(town) for town in one.changes["town"])
                assert one.distance == after - before > 0
                counted += 1
    assert counted > 3


def test_three_features_change_where_two_do_not_reach():
    model = possible_model(4)
    more = 0
    for row in possible_rows(25, 8):
        goal = {"above": float(model.predict([row])[0]) + 1.6}
        (two,), (three,) = (model.counterfactuals([row], goal, max_features=k) for k in (2, 3))
        least = min((one.distance for one in two), default=np.inf)
        for one in three:
            changed = {**row, **{name: after for name, (_, after) in one.changes.items()}}
            assert model.predict([changed])[0] >= goal["above"]
            more += len(one.changes) == 3 and one.distance < least
        assert min((one.distance for one in three), default=np.inf) <= least
    assert more > 0


def date_model():
    day = Feature("day", "datetime", 19000.0, center=19000.0, scale=100.0, low=18900.0, high=19100.0)
    week = Feature(
        "day (weekday)", "numeric", 3.0, center=3.0, scale=2.0, low=0.0, high=6.0, source="day", cycle="weekday"
    )
    features = FeatureSpace((day, Feature("size", "numeric", 0.0, low=-2.0, high=2.0), week))
    terms = (Term("size", (1,)), Term("day (weekday)", (2,)))
    curves = CurveSet(
        (
            Curve(0, (1,), (1.0,), knots=(-2.0, 0.0, 2.0)),
            Curve(1, (2,), (1.0,), knots=(-1.5, -0.5, 0.5, 1.5)),
        )
    )
    ensemble = random_ensemble(np.random.default_rng(5), members=2, dim=5, terms=terms, curves=curves)
    return SpectralModel("regression", "sales", features, ensemble)


def test_a_date_changes_by_whole_days_and_its_cycle_with_it():
    model = date_model()
    rows = [{"day": f"2022-01-{day:02d}T09:30:00", "size": 0.3} for day in range(3, 10)]
    goal = {"above": float(np.max(model.predict(rows)))}
    for row in rows:
        (found,) = model.counterfactuals([row], goal, fixed=["size"])
        if found[0].distance == 0.0:
            continue
        (_, after) = found[0].changes["day"]
        assert set(found[0].changes) == {"day"}
        assert after[10:19] == "T09:30:00"
        assert model.predict([{**row, "day": after}])[0] >= goal["above"]
        assert found[0].distance <= 0.06
    given = {**rows[0], "day (weekday)": 5.5}
    assert model.counterfactuals([given], {"above": goal["above"] + 1e-6}, fixed=["size"]) == [[]]


def test_certified_changes_hold_for_all_rows_within_the_radius():
    for task, wanted in (("regression", None), ("multiclass", {"class": "y"})):
        model = random_model(task, dim=5, members=2, seed=6)
        rng = np.random.default_rng(0)
        attacked = 0
        for row in random_rows(12, seed=7):
            goal = wanted or {"above": float(model.predict([row])[0]) + 0.3}
            (found,) = model.counterfactuals([row], goal, radius=0.05)
            (nearest,) = model.counterfactuals([row], goal)
            for one in found:
                assert one.radius == 0.05
                near = np.tile(one.columns, (300, 1))
                near[:, 0] += 0.05 * 2.5 * rng.choice([-1.0, 1.0, 0.3], 300)
                near[:, 1] *= np.exp(0.04 * rng.choice([-1.0, 0.5], 300))
                scores = model.scores(near)
                if task == "multiclass":
                    assert (model.labels(model.probabilities(scores)) == "y").all()
                else:
                    assert (model.values(scores) >= goal["above"]).all()
                attacked += 1
            if found and nearest:
                assert found[0].distance >= nearest[0].distance * (1.0 - WORTH) - 1e-12
        assert attacked > 5


def test_plausible_changes_come_first_and_plausibility_is_the_share_of_rows_as_unusual():
    model = random_model(seed=3)
    columns = FEATURES.encode(random_rows(400, seed=1))
    typical = measure_typicality(FEATURES, columns)
    shares = typical.plausibility(columns)
    assert np.abs(np.sort(shares) - np.linspace(0.0, 1.0, len(shares))).max() < 0.02
    far = columns[:1].copy()
    far[0, 0] = 60.0
    assert typical.plausibility(far)[0] == 0.0
    model = replace(model, card={"typicality": typical.document()})
    bands = 0
    for row in random_rows(25, seed=2):
        goal = {"above": float(model.predict([row])[0]) + 0.7}
        (found,) = model.counterfactuals([row], goal)
        here = typical.plausibility(FEATURES.encode([row]))[0]
        rare = [one.plausibility < min(here, 0.05) for one in found]
        assert rare == sorted(rare)
        for band in (False, True):
            part = [one.distance for one, is_rare in zip(found, rare, strict=True) if is_rare == band]
            assert part == sorted(part)
        bands += len(set(rare)) == 2
    assert bands


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"directions": {"town": "up"}}, "its categories have no order"),
        ({"directions": {"width": "left"}}, '"up" or "down"; got'),
        ({"directions": {"depth": "up"}}, "no feature 'depth'"),
        ({"values": {"width": 3}}, "must be a list"),
        ({"values": {"town": ["Rome"]}}, "'town' must be one of"),
        ({"values": {"width": ["wide"]}}, "must be a finite number"),
        ({"orders": {"width": [1, 2]}}, "only categories"),
        ({"orders": {"town": ["Bath", "Bath"]}}, "twice"),
        ({"radius": 0.0}, "radius must be positive"),
    ],
)
def test_rules_that_a_feature_cannot_have_are_refused(rules, says):
    with pytest.raises(ValueError, match=says):
        random_model().counterfactuals(random_rows(1), {"above": 1.0}, **rules)
