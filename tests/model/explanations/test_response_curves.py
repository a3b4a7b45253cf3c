"""Response curves go through the model's own scores, are faithful between their vertices, and name their crossings."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.twin import FEATURES, dense, random_model, random_pencil, random_rows

from eigenserve.model import InvalidRowsError
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

TASKS = ("regression", "binary", "multiclass", "poisson")


def predictions(model, rows, target=None):
    """On the target's scale, as a curve has them."""
    if not model.classes:
        return model.predict(rows)
    return model.predict_proba(rows)[:, model.classes.index(target)]


@pytest.mark.parametrize("task", TASKS)
def test_curves_are_scores_and_predictions_of_the_row_with_one_value_changed(task):
    model = random_model(task, seed=1)
    target = model.classes[1] if model.classes else None
    for row in random_rows(6, seed=2):
        for name, curve in model.response_curves(row, target=target).items():
            assert curve.feature == name
            changed = [{**row, name: value} for value in curve.values.tolist()]
            found = model.explain(changed, target=target)
            np.testing.assert_array_equal(curve.scores, found.score)
            np.testing.assert_array_equal(curve.predictions, predictions(model, changed, target))
            if FEATURES.features[FEATURES.position(name)].missing:
                without = model.explain([{**row, name: None}], target=target)
                assert curve.missing[0] == without.score[0]
            else:
                assert curve.missing is None


def test_a_curve_runs_over_the_training_range_and_through_the_rows_own_value():
    model = random_model()
    curves = model.response_curves({"width": 7.5, "price": 12.25, "sold": True, "town": "Bath", "kind": "a"})
    width, price = curves["width"].values, curves["price"].values
    assert (width[0], width[-1]) == (-5.0, 7.5)
    assert (price[0], price[-1]) == (0.5, 900.0)
    assert 12.25 in price
    assert (np.diff(width) > 0.0).all()
    assert curves["town"].values.tolist() == ["3", "Bath", "York", "true"]
    assert curves["sold"].values.tolist() == [False, True]
    assert not len(curves["town"].kinks)
    alone = model.response_curves({"price": 3.0}, ["price"])
    assert list(alone) == ["price"]


@pytest.mark.parametrize("task", ["regression", "poisson"])
def test_straight_lines_between_vertices_are_faithful(task):
    model = random_model(task, dim=9, members=2, seed=3)
    for row in random_rows(8, seed=4):
        for name in ("width", "price"):
            curve = model.response_curves(row, [name])[name]
            fine = np.linspace(curve.values[0], curve.values[-1], 3001)
            changed = [{**row, name: value} for value in fine.tolist()]
            # Each interval is checked at one place: elsewhere it may be off by a little more.
            for exact, drawn in (
                (model.explain(changed).score, curve.scores),
                (model.predict(changed), curve.predictions),
            ):
                off = np.abs(np.interp(fine, curve.values, drawn) - exact)
                assert off.max() <= 0.025 * np.ptp(drawn)
                assert off.mean() <= 0.005 * np.ptp(drawn)


def test_the_kinks_are_the_knots_in_range():
    model = random_model()
    row = {"width": 1.0, "price": 20.0, "sold": True, "town": "Bath", "kind": "a"}
    curves = model.response_curves(row)
    z_price = (np.log(20.0) - 3.0) / 0.8
    # u = 0.6 z - 0.8 z_price in the pair; width = 2.5 z + 1.5.
    knots = {-1.0, -0.25, 0.5, 2.0, 1.0, 0.0, 1.5} | {(k + 0.8 * z_price) / 0.6 for k in (-1.5, 1.0)}
    expected = sorted(value for z in knots if -5.0 < (value := 2.5 * z + 1.5) < 5.0)
    np.testing.assert_allclose(curves["width"].kinks, expected, rtol=1e-14)
    assert set(curves["width"].kinks) <= set(curves["width"].values)
    # Where the pair's other feature is missing, the pair stands still.
    alone = model.response_curves({**row, "price": None})["width"].kinks
    np.testing.assert_allclose(alone, [-1.0, 0.875, 1.5, 2.75, 4.0], rtol=1e-14)


def line_model(couplings, dim=2):
    """One feature x: T = [[x, c], [c, -x]] about 0.3 for each member's coupling c; the upper eigenvalue."""
    features = FeatureSpace((Feature("x", "numeric", 0.0, low=-3.0, high=3.0), Feature("y", "numeric", 0.0)))
    curves = CurveSet((Curve(0, (0,), (1.0,), knots=(-3.0, 3.0)),))
    pencil = random_pencil(np.random.default_rng(0), len(couplings), dim, (Term("x", (0,)),), curves)
    pencil = replace(
        pencil,
        constant_diag=np.tile([-0.3, 0.3], (len(couplings), 1)),
        constant_off_diag=np.array(couplings)[:, None],
        diag=np.tile(np.array([[-3.0, 3.0], [3.0, -3.0]])[:, None], (1, len(couplings), 1)),
        off_diag=np.zeros((2, len(couplings), 1)),
    )
    ensemble = SpectralEnsemble(pencil, 1, np.full(len(couplings), 1.0 / len(couplings)), np.zeros(1))
    return SpectralModel("regression", "goal", features, ensemble)


@pytest.mark.parametrize("coupling", [0.0, 1e-9, 1e-4, 5e-3])
def test_a_crossing_is_found_where_it_is_with_its_gap(coupling):
    model = line_model([0.5, coupling])
    (found,) = model.response_curves({"x": 2.0, "y": 0.0})["x"].crossings
    assert found.member == 1
    # The gap is 2 sqrt((x - 0.3)^2 + c^2): flat at its least, so that the place is known to the root of rounding.
    assert abs(found.value - 0.3) <= 1e-7 + 1e-6 * coupling
    assert abs(found.gap - 2.0 * coupling) <= 1e-12 + 1e-6 * coupling
    wide = line_model([0.5, 0.2])
    assert not wide.response_curves({"x": 2.0, "y": 0.0})["x"].crossings


def test_every_narrow_place_of_a_random_model_is_found():
    model = random_model(dim=7, members=2, seed=8)
    rows = random_rows(40, seed=9)
    pencil, k = model.ensemble.pencil, model.ensemble.eig_idx
    met = 0
    for row in rows:
        curve = model.response_curves(row, ["width"])["width"]
        fine = np.linspace(curve.values[0], curve.values[-1], 4001)
        coordinates = FEATURES.coordinates(FEATURES.encode([{**row, "width": value} for value in fine.tolist()]))
        values = np.linalg.eigvalsh(dense(*pencil.matrices(pencil.curves.walk(coordinates))))
        narrow = 0.01 * (values[0, :, -1] - values[0, :, 0]) / 6
        for member in range(2):
            for gap in np.diff(values[:, member, k - 1 : k + 2], axis=1).T:
                least = np.flatnonzero((gap[1:-1] < gap[:-2]) & (gap[1:-1] < gap[2:])) + 1
                for i in least[gap[least] < 0.8 * narrow[member]]:
                    near = [c for c in curve.crossings if c.member == member and abs(c.value - fine[i]) < 0.01]
                    assert near
                    assert min(c.gap for c in near) <= gap[i] * 1.01
                    met += 1
    assert met >= 5


def test_a_surface_holds_the_scores_of_all_pairs_of_values():
    model = random_model()
    row = random_rows(1, seed=5)[0]
    for pair in (("width", "price"), ("town", "width"), ("sold", "kind")):
        surface = model.response_surface(row, pair)
        assert surface.features == pair
        a, b = (axis.tolist() for axis in surface.values)
        changed = [{**row, pair[0]: x, pair[1]: y} for x in a for y in b]
        np.testing.assert_array_equal(surface.scores.ravel(), model.explain(changed).score)
        np.testing.assert_array_equal(surface.predictions.ravel(), model.predict(changed))


def test_the_members_add_up_to_the_score():
    for task, target in (("regression", None), ("binary", "no"), ("multiclass", "z")):
        model, row = random_model(task), random_rows(1, seed=6)[0]
        members = model.eigenpairs(row, target)
        offset = model.ensemble.offset[model.classes.index(target) if task == "multiclass" else 0]
        score = model.explain([row], target=target).score[0]
        sign = -1.0 if target == "no" else 1.0
        assert abs(sign * offset + sum(m.weight * m.eigenvalue for m in members) - score) <= 1e-12
        for member in members:
            matrix = dense(member.diag, member.off_diag)
            np.testing.assert_allclose(matrix @ member.eigenvector, member.eigenvalue * member.eigenvector, atol=1e-12)
            assert member.eigenvector[np.abs(member.eigenvector).argmax()] > 0.0


def test_an_unknown_feature_or_a_bad_row_is_refused():
    model = random_model()
    with pytest.raises(ValueError, match="no feature 'depth'; the features are width, price"):
        model.response_curves({}, ["depth"])
    with pytest.raises(ValueError, match="a pair must be two different features; got 'width' twice"):
        model.response_surface({}, ("width", "width"))
    with pytest.raises(InvalidRowsError, match=r"width.*must be a number"):
        model.response_curves({"width": "wide"})


def test_a_feature_of_one_value_is_a_curve_of_one_point():
    features = list(FEATURES.features)
    features[0] = replace(features[0], low=2.0, high=2.0)
    model = replace(random_model(), features=FeatureSpace(tuple(features)))
    row = {"width": 2.0, "price": 20.0, "sold": True, "town": "Bath", "kind": "a"}
    curve = model.response_curves(row)["width"]
    assert curve.values.tolist() == [2.0]
    assert curve.scores.tolist() == model.explain([row]).score.tolist()
    assert not curve.crossings


def test_values_far_beyond_training_are_curves_too():
    model = random_model()
    row = {"width": 1e300, "price": 20.0, "sold": True, "town": "Bath", "kind": "a"}
    for curve in model.response_curves(row).values():
        assert np.isfinite(curve.scores).all()
