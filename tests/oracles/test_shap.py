"""Shapley and Aumann-Shapley values: the axioms, readable twins and shap's own exact explainer."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from tests.support.twin import FEATURES, random_model, random_pencil, random_rows, slow_scores

from eigenserve.model import InvalidRowsError
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.shapley import coalitions, features
from eigenserve.model.kernels.threads import num_threads
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

METHODS = ("path", "shapley")
TASKS = ("regression", "binary", "multiclass", "poisson")


def assert_complete(explanation):
    """The promise of the contract: within 1e-9 * max(1, |score|)."""
    total = explanation.baseline + explanation.contributions.sum(axis=1)
    assert (np.abs(total - explanation.score) / np.maximum(1.0, np.abs(explanation.score))).max() <= 1e-9


def numeric_model(count, seed=0, pairs=((0, 1),), dim=5, members=2):
    """A model of numeric features, each on a curve, some in pairs."""
    rng = np.random.default_rng(seed)
    features = FeatureSpace(tuple(Feature(f"x{i}", "numeric", 0.0, low=-3.0, high=3.0) for i in range(count)))
    terms = [Term(f"x{i}", (i,)) for i in range(count)] + [Term(f"x{a} & x{b}", (a, b)) for a, b in pairs]
    curves = [Curve(i, (i,), (1.0,), knots=(-2.0, -0.5, 0.3, 2.0)) for i in range(count)]
    curves += [Curve(count + p, pair, (0.6, 0.8), knots=(-1.5, 0.1, 1.5)) for p, pair in enumerate(pairs)]
    pencil = random_pencil(rng, members, dim, tuple(terms), CurveSet(tuple(curves)))
    ensemble = SpectralEnsemble(pencil, dim // 2, np.full(members, 1.0 / members), np.zeros(1))
    return SpectralModel("regression", "goal", features, ensemble)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_baseline_and_contributions_add_up_to_the_score_of_the_row_and_of_the_baseline(method, task):
    for dim in (1, 2, 6):
        model, rows = random_model(task, dim=dim, seed=dim), random_rows(25, seed=dim)
        found = model.explain(rows, method=method, baseline=rows[0])
        assert_complete(found)
        assert found.method == method
        assert found.terms == FEATURES.names
        if task != "multiclass":
            assert np.ptp(found.baseline) == 0.0
            assert abs(found.baseline[0] - slow_scores(model, rows[0])[0]) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_the_baseline_is_made_of_the_medians_and_modes_unless_given(method):
    model, rows = random_model(), random_rows(5)
    typical = {"width": 2.0, "price": 30.0, "sold": True, "town": "Bath", "kind": "a"}
    left_out, given = model.explain(rows, method=method), model.explain(rows, method=method, baseline=typical)
    as_array = model.explain(rows, method=method, baseline=list(typical.values()))
    assert np.array_equal(left_out.contributions, given.contributions)
    assert np.array_equal(as_array.contributions, given.contributions)
    assert not model.explain([typical], method=method).contributions.any()


@pytest.mark.parametrize("method", METHODS)
def test_a_feature_that_the_model_does_not_use_or_that_does_not_change_gets_exactly_nothing(method):
    model, rows = random_model(), random_rows(20, seed=5)
    for row in rows:
        row["town"] = "York"
    found = model.explain(rows, method=method, baseline=rows[0])
    assert not found.contributions[:, 3].any()
    lone = numeric_model(3, pairs=())
    pencil = lone.ensemble.pencil
    only = replace(pencil, diag=pencil.diag.copy(), off_diag=pencil.off_diag.copy())
    for table in (only.diag, only.off_diag):
        table.flags.writeable = True
        table[4:8] = 0.0
    model = replace(lone, ensemble=replace(lone.ensemble, pencil=only))
    found = model.explain(np.random.default_rng(0).normal(size=(20, 3)), method=method)
    assert np.abs(found.contributions[:, 1]).max() <= 1e-14


@pytest.mark.parametrize("method", METHODS)
def test_features_that_play_the_same_part_get_the_same(method):
    model = numeric_model(3, seed=2, pairs=())
    pencil = model.ensemble.pencil
    diag, off_diag = pencil.diag.copy(), pencil.off_diag.copy()
    diag[4:8], off_diag[4:8] = diag[:4], off_diag[:4]
    twin = replace(model, ensemble=replace(model.ensemble, pencil=replace(pencil, diag=diag, off_diag=off_diag)))
    rows = np.random.default_rng(1).normal(size=(30, 3))
    rows[:, 1] = rows[:, 0]
    found = twin.explain(rows, method=method)
    # The quadrature's seven nodes are the same for both; what differs is the order of the sums.
    np.testing.assert_allclose(found.contributions[:, 0], found.contributions[:, 1], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_contributions_to_a_weighted_mean_are_the_weighted_mean_of_contributions(method):
    model, rows = random_model(members=3, seed=3), random_rows(15, seed=8)
    whole = model.explain(rows, method=method, baseline=rows[1])
    parts = 0.0
    for g, weight in enumerate(model.ensemble.member_weights):
        pencil = model.ensemble.pencil
        one = replace(
            pencil,
            constant_diag=pencil.constant_diag[[g]],
            constant_off_diag=pencil.constant_off_diag[[g]],
            diag=pencil.diag[:, [g]],
            off_diag=pencil.off_diag[:, [g]],
        )
        alone = replace(model, ensemble=replace(model.ensemble, pencil=one, member_weights=np.ones(1)))
        parts = parts + weight * alone.explain(rows, method=method, baseline=rows[1]).contributions
    # A member's path is split where its own slope asks for it: equal to the quadrature's tolerance.
    np.testing.assert_allclose(whole.contributions, parts, atol=1e-13 if method == "shapley" else 1e-7)


def test_shapley_values_are_the_mean_over_all_orders_of_the_features():
    for task in ("regression", "multiclass"):
        model, rows = random_model(task, seed=4), random_rows(12, seed=6)
        base = rows.pop()
        found = model.explain(rows, method="shapley", baseline=base, target="y" if task == "multiclass" else None)
        output = 1 if task == "multiclass" else 0
        for j, row in enumerate(rows):
            expected, orders = np.zeros(5), list(permutations(range(5)))
            known = {}
            for order in orders:
                mixed = dict(base)
                for i in order:
                    before = known.setdefault(tuple(mixed.items()), None) or slow_scores(model, mixed)[output]
                    known[tuple(mixed.items())] = before
                    mixed[FEATURES.names[i]] = row[FEATURES.names[i]]
                    after = known.setdefault(tuple(mixed.items()), None) or slow_scores(model, mixed)[output]
                    known[tuple(mixed.items())] = after
                    expected[i] += after - before
            np.testing.assert_allclose(found.contributions[j], expected / len(orders), atol=1e-12)


def test_shapley_values_are_those_of_shaps_exact_explainer():
    shap = pytest.importorskip("shap")
    model = numeric_model(10, seed=7, pairs=((0, 1), (1, 2), (4, 9)))
    rows = np.random.default_rng(2).normal(size=(10, 10))
    base = np.random.default_rng(3).normal(size=10)
    theirs = shap.explainers.ExactExplainer(model.predict, shap.maskers.Independent(base[None], max_samples=1))(rows)
    ours = model.explain(rows, method="shapley", baseline=base)
    np.testing.assert_allclose(ours.contributions, theirs.values, atol=1e-11)
    np.testing.assert_allclose(ours.baseline, theirs.base_values, atol=1e-12)


def test_more_features_than_can_be_counted_are_sampled_with_an_honest_standard_error(monkeypatch):
    model = numeric_model(7, seed=9, pairs=((0, 1), (2, 5)))
    rows = np.random.default_rng(4).normal(size=(12, 7))
    exact = model.explain(rows, method="shapley")
    assert not exact.standard_error.any()
    for file in (coalitions, features):
        monkeypatch.setattr(file, "EXACT_PLAYERS", 3)
    sampled = model.explain(rows, method="shapley", seed=1)
    assert_complete(sampled)
    assert np.array_equal(sampled.contributions, model.explain(rows, method="shapley", seed=1).contributions)
    assert not np.array_equal(sampled.contributions, model.explain(rows, method="shapley", seed=2).contributions)
    off = np.abs(sampled.contributions - exact.contributions) / sampled.standard_error
    # Of a normal error 99.99% are within 3.9; half are beyond 0.67.
    assert off.max() <= 5.0
    assert np.median(off) >= 0.3


def test_a_wide_row_is_sampled():
    model = numeric_model(18, pairs=((0, 17),))
    found = model.explain(np.random.default_rng(5).normal(size=(1, 18)), method="shapley")
    assert_complete(found)
    assert (found.standard_error > 0.0).all()
    few = model.explain(np.r_[np.ones(16), 0.0, 0.0][None], method="shapley")
    assert_complete(few)
    assert not few.standard_error.any()


def test_path_values_are_the_integral_of_the_scores_own_slope():
    model = numeric_model(4, seed=10, pairs=((0, 1), (2, 3)))
    rows = np.random.default_rng(6).normal(size=(6, 4)) * 1.5
    base = np.array([0.2, -0.4, 0.9, 0.0])
    found = model.explain(rows, method="path", baseline=base)
    # The midpoint rule over 20,000 steps, with central differences for the slopes. At each of the knots on the way
    # the slope jumps by about 1, which costs the rule up to half a step times the change of up to 5: 1e-4.
    t = ((np.arange(20_000) + 0.5) / 20_000)[:, None]
    h = 1e-5
    for j, row in enumerate(rows):
        line = base + t * (row - base)
        for i in range(4):
            step = np.eye(4)[i] * h
            slope = (model.predict(line + step) - model.predict(line - step)) / (2 * h)
            assert abs(slope.mean() * (row - base)[i] - found.contributions[j, i]) <= 3e-4


def test_a_path_through_an_exact_crossing_and_through_near_ones_is_complete():
    for coupling in (0.0, 1e-12, 1e-8, 1e-4, 1e-2):
        model = numeric_model(2, pairs=(), dim=2, members=1)
        pencil = model.ensemble.pencil
        diag, off_diag = np.zeros_like(pencil.diag), np.zeros_like(pencil.off_diag)
        for i, slope in enumerate((1.0, 0.5)):
            line = np.array([-2.0, -0.5, 0.3, 2.0])
            diag[4 * i : 4 * i + 4, 0, 0] = slope * line
            diag[4 * i : 4 * i + 4, 0, 1] = -line
        crossing = replace(
            pencil,
            constant_diag=np.array([[0.0, 0.1234567]]),
            constant_off_diag=np.full((1, 1), coupling),
            diag=diag,
            off_diag=off_diag,
        )
        model = replace(model, ensemble=replace(model.ensemble, pencil=crossing))
        rows = np.random.default_rng(7).uniform(0.5, 2.0, size=(20, 2))
        found = model.explain(rows, method="path", baseline=[-1.7, -1.1])
        assert_complete(found)
        if coupling <= 1e-8:
            # The larger of two straight lines: each feature's slope is one thing before the crossing, another after.
            gap0 = np.array([-1.7, -1.1]) @ [2.0, 1.5] - 0.1234567
            gap1 = rows @ [2.0, 1.5] - 0.1234567
            share = -gap0 / (gap1 - gap0)
            slopes = share[:, None] * [-1.0, -1.0] + (1 - share)[:, None] * [1.0, 0.5]
            expected = (rows - np.array([-1.7, -1.1])) * slopes
            np.testing.assert_allclose(found.contributions, expected, atol=1e-7)


def test_a_switched_categorical_pair_without_eigenvalues_is_split_by_its_own_changes():
    # With matrices of one number the score is a sum, and the bilinear path gives each of a pair its Shapley value.
    model, rows = random_model(dim=1, members=1, seed=11), random_rows(40, seed=12)
    base = {"width": 1.0, "price": 20.0, "sold": None, "town": "York", "kind": "b"}
    for row in rows:
        row["width"], row["price"] = 1.0, 20.0
    path = model.explain(rows, method="path", baseline=base)
    shapley = model.explain(rows, method="shapley", baseline=base)
    np.testing.assert_allclose(path.contributions, shapley.contributions, atol=1e-12)


def test_a_wrong_baseline_is_refused():
    model, rows = random_model(), random_rows(2)
    with pytest.raises(InvalidRowsError, match=r"width.*must be a number"):
        model.explain(rows, method="path", baseline={"width": "wide"})
    with pytest.raises(ValueError, match="baseline must be left out"):
        model.explain(rows, baseline=rows[0])


@pytest.mark.parametrize("far", [1e8, 1e15, -1e300])
def test_a_path_from_far_away_ends_and_adds_up(far):
    model = numeric_model(4)
    rows = [[0.5, -0.2, 1.0, 0.1], [1.5, 0.3, -1.0, 0.0]]
    assert_complete(model.explain(rows, method="path", baseline=[far, 0.0, -far, 0.3]))


@pytest.mark.parametrize("method", METHODS)
def test_values_against_a_sample_are_the_mean_of_those_against_its_rows(method):
    model, rows, sample = random_model("multiclass", seed=3), random_rows(6, seed=1), random_rows(4, seed=2)
    found = model.explain(rows, method=method, baseline=sample)
    assert_complete(found)
    alone = [model.explain(rows, method=method, baseline=row) for row in sample]
    np.testing.assert_allclose(found.contributions, np.mean([one.contributions for one in alone], axis=0), atol=1e-12)
    np.testing.assert_allclose(found.baseline, np.mean([one.baseline for one in alone], axis=0), atol=1e-12)
    with pytest.raises(InvalidRowsError, match="at least one row"):
        model.explain(rows, method=method, baseline=[])


@pytest.mark.parametrize("method", METHODS)
def test_a_long_attribution_can_be_given_up(method):
    model = random_model("regression")
    columns, looks = FEATURES.encode(random_rows(200)), []

    def check():
        looks.append(1)
        if len(looks) >= 3:  # as a clock, in every thread
            raise TimeoutError

    with pytest.raises(TimeoutError):
        explain(model, columns, method, check=check)
    assert len(looks) < 3 + num_threads()
