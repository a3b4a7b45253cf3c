"""Second derivatives agree with differences of sensitivities; Shapley interactions with their definition."""

from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from tests.oracles.test_shap import numeric_model
from tests.support.twin import FEATURES, random_model, random_rows, slow_scores

TASKS = ("regression", "binary", "multiclass")


@pytest.mark.parametrize("task", TASKS)
def test_second_derivatives_are_differences_of_sensitivities(task):
    model = random_model(task, dim=7, members=3, seed=1)
    target = model.classes[0] if model.classes else None
    checked = 0
    for row in random_rows(60, seed=2):
        if row["width"] is None or row["price"] is None or row["price"] < 0.6:
            continue
        found = model.interactions(row, target)
        assert found.features == FEATURES.names
        steps = {"width": 1e-6, "price": 1e-6 * row["price"]}
        kinks = {name: curve.kinks for name, curve in model.response_curves(row, list(steps)).items()}
        if any(len(k) and np.abs(k - row[name]).min() < 10 * steps[name] for name, k in kinks.items()):
            continue
        if model.explain([row], target=target).gap[0] < 0.05:
            continue
        for a, name in enumerate(("width", "price")):
            moved = [{**row, name: row[name] + sign * steps[name]} for sign in (-1, 1)]
            slopes = model.explain(moved, target=target).sensitivities
            numeric = (slopes[1] - slopes[0]) / (2 * steps[name])
            # Rounding of the sensitivities over the step, and the third derivative, which grows as 1 / gap^2.
            np.testing.assert_allclose(found.second_derivatives[a, :2], numeric, rtol=1e-4, atol=1e-6)
            checked += 1
        np.testing.assert_array_equal(found.second_derivatives, found.second_derivatives.T)
        assert np.isnan(found.second_derivatives[2:]).all()
    assert checked > 20


def test_there_is_no_second_derivative_at_a_repeated_eigenvalue_or_of_what_is_missing():
    model = numeric_model(2, pairs=(), dim=4, members=1)
    pencil = model.ensemble.pencil
    flat = replace(pencil, constant_diag=np.full((1, 4), 2.0), constant_off_diag=np.zeros((1, 3)))
    flat = replace(flat, diag=np.zeros_like(flat.diag), off_diag=np.zeros_like(flat.off_diag))
    repeated = replace(model, ensemble=replace(model.ensemble, pencil=flat))
    assert np.isnan(repeated.interactions([0.1, 0.2]).second_derivatives).all()
    found = random_model().interactions({"width": 1.0, "price": None})
    assert np.isnan(found.second_derivatives[1]).all()
    assert np.isfinite(found.second_derivatives[0, 0])


def test_matrices_of_one_number_do_not_interact_but_in_pairs():
    model = random_model(dim=1, members=1)
    row = {"width": 0.3, "price": 20.0, "sold": True, "town": "York", "kind": "a"}
    found = model.interactions(row)
    # Sums have no curvature; the logarithm has one of its own.
    assert found.second_derivatives[0, 0] == 0.0
    assert found.second_derivatives[0, 1] == 0.0
    sensitivity = model.explain([row]).sensitivities[0, 1]
    assert abs(found.second_derivatives[1, 1] + sensitivity / 20.0) <= 1e-14
    assert abs(found.shapley[0, 2]) <= 1e-14
    assert abs(found.shapley[0, 3]) > 1e-3


@pytest.mark.parametrize("task", TASKS)
def test_shapley_interactions_are_those_of_the_definition(task):
    model = random_model(task, seed=3)
    target = model.classes[0] if model.classes else None
    rows = random_rows(5, seed=4)
    base = rows.pop()
    sign = -1.0 if task == "binary" else 1.0
    names = FEATURES.names
    n = len(names)
    for row in rows:
        found = model.interactions(row, target, baseline=base).shapley

        def score(coalition, row=row):
            return sign * slow_scores(model, {k: (row if k in coalition else base)[k] for k in names})[0]

        for i, j in combinations(range(n), 2):
            others = [name for name in names if name not in (names[i], names[j])]
            expected = 0.0
            for size in range(n - 1):
                share = factorial(size) * factorial(n - size - 2) / factorial(n - 1)
                for s in combinations(others, size):
                    with_i, with_j = {*s, names[i]}, {*s, names[j]}
                    expected += share * (score(with_i | with_j) - score(with_i) - score(with_j) + score(set(s)))
            # The definition is over all features; leaving dummies out changes no value.
            assert abs(found[i, j] - expected) <= 1e-12
            assert found[j, i] == found[i, j]
        assert not found.diagonal().any()


def test_too_many_features_are_left_out_with_the_reason():
    model = numeric_model(13, pairs=((0, 1),))
    found = model.interactions(np.ones(13).tolist())
    assert found.shapley is None
    assert found.reason == "13 features differ from the baseline; at most 12 may"
    few = model.interactions([*np.ones(12), 0.0])
    assert few.shapley is not None
    assert not few.reason
    assert not few.shapley[12].any()
    assert not model.interactions(np.zeros(13).tolist()).shapley.any()
