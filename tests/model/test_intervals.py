"""Score intervals hold against random and vertex attacks, and are not much wider than what attacks reach."""

from itertools import product

import numpy as np
import pytest

from tests.model.test_attributions import numeric_model
from tests.model.twin import FEATURES, random_model, random_rows

RADII = {"width": 1.5, "price": 12.0, "sold": 1.0, "town": 1.0, "kind": 1.0}


def attacks(rng, columns, names, count):
    """Rows within the radii: at random, and at the ends of every reach."""
    out = np.tile(columns, (count, 1))
    for i, feature in enumerate(FEATURES.features):
        if feature.name not in names or np.isnan(columns[i]):
            continue
        if feature.num_codes:
            out[:, i] = rng.integers(0, feature.num_codes, count)
        else:
            share = np.where(rng.random(count) < 0.3, rng.choice([-1.0, 1.0], count), rng.uniform(-1, 1, count))
            out[:, i] = columns[i] + share * RADII[feature.name]
    return out


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("dim", [1, 2, 6])
def test_no_row_within_the_radii_leaves_the_interval(task, dim):
    model, rng = random_model(task, dim=dim, seed=dim), np.random.default_rng(dim)
    for row in random_rows(12, seed=dim):
        columns = FEATURES.encode([row])[0]
        for names in (("width",), ("price", "town"), ("sold", "kind"), tuple(RADII)):
            found = model.certify(row, {name: RADII[name] for name in names})
            scores = model.scores(attacks(rng, columns, names, 3000))
            assert (scores >= found.low).all()
            assert (scores <= found.high).all()


def test_vertices_and_knots_of_numeric_features_stay_inside_and_come_near_the_ends():
    model = numeric_model(4, seed=3, pairs=((0, 1),))
    rng = np.random.default_rng(0)
    ratios = []
    for row in rng.normal(size=(25, 4)):
        for radius in (0.02, 0.2, 1.0):
            found = model.certify(row, {f"x{i}": radius for i in range(4)})
            grid = [
                np.clip([-radius, 0.0, radius, *(np.array([-2.0, -0.5, 0.3, 2.0]) - x)], -radius, radius) for x in row
            ]
            scores = model.predict(row + np.array(list(product(*grid))))
            assert scores.min() >= found.low[0]
            assert scores.max() <= found.high[0]
            ratios.append((found.high[0] - found.low[0]) / np.ptp(scores))
    # What Weyl's inequality loses: a random step moves the middle eigenvalue less than its own extreme one.
    assert np.median(ratios) <= 10.0


def test_without_a_radius_the_interval_is_the_score():
    model, row = random_model(), random_rows(1)[0]
    for radii in ({}, {"width": 0.0}):
        found = model.certify(row, radii)
        assert found.low[0] <= found.score[0] <= found.high[0]
        assert found.high[0] - found.low[0] <= 1e-11


def test_no_decision_changes_within_the_certified_radius():
    for task in ("binary", "multiclass"):
        model, rng = random_model(task, seed=5), np.random.default_rng(1)
        positive = 0
        for row in random_rows(10, seed=6):
            share = model.certified_radius(row, {"width": RADII["width"], "price": RADII["price"]})
            columns = FEATURES.encode([row])[0]
            moved = columns + share * (attacks(rng, columns, ("width", "price"), 2000) - columns)
            if share > 0.0:
                positive += 1
                assert (model.predict_proba([row]).argmax() == model.probabilities(model.scores(moved)).argmax(1)).all()
        assert positive >= 5


def test_a_wrong_radius_is_refused():
    model, row = random_model(), random_rows(1)[0]
    with pytest.raises(ValueError, match="no feature 'depth'"):
        model.certify(row, {"depth": 1.0})
    for radius in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="a radius must be finite and at least 0"):
            model.certify(row, {"width": radius})
