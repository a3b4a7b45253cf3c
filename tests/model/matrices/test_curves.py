"""Rows stand where a reader with a ruler would put them on every kind of curve."""

import numpy as np
import pytest
from tests.support.made_models import make_model, make_rows
from tests.support.twin import CURVES, FEATURES, random_rows, slow_coordinates, slow_curve_matrix

from eigenserve.model.explanations.explain import explain
from eigenserve.model.matrices.curves import Curve, CurveSet


def stand(curve, z):
    """Where coordinates (N, F) stand on one curve, as weights of its matrices (N, num_matrices)."""
    curves = CurveSet((curve,))
    walk = curves.walk(np.asarray(z, float))
    shares = np.zeros((len(z), curve.num_matrices + 1))
    rows = np.arange(len(z))
    shares[rows, walk.starts[:, 0]] += 1.0 - walk.weights[:, 0]
    shares[rows, walk.starts[:, 0] + 1] += walk.weights[:, 0]
    assert not shares[:, -1].any()
    return shares[:, :-1]


@pytest.mark.parametrize("curve", CURVES.curves)
def test_a_walk_is_that_of_the_readable_twin(curve):
    z = np.array([slow_coordinates(row) for row in random_rows(300, seed=2)])
    expected = [slow_curve_matrix(curve, np.eye(curve.num_matrices), row) for row in z]
    # A few roundings of u, and of its distance to the knot; far outside, u is as large as 10.
    np.testing.assert_allclose(stand(curve, z), expected, atol=1e-14)


@pytest.mark.parametrize("count", [2, 3, 17, 18, 19, 129])
def test_a_walk_finds_the_piece_that_numpy_finds(count):
    rng = np.random.default_rng(count)
    knots = np.sort(rng.standard_normal(count))
    u = np.concatenate([knots, np.nextafter(knots, -np.inf), 2.0 * rng.standard_normal(200)])
    walk = CurveSet((Curve(0, (0,), (1.0,), knots=tuple(knots.tolist()), extend=True),)).walk(u[:, None])
    expected = np.clip(np.searchsorted(knots, u, side="right") - 1, 0, count - 2)
    np.testing.assert_array_equal(walk.starts[:, 0], expected)


def test_a_row_on_a_knot_has_that_matrix_alone():
    knots = (-1.0, -0.3, 0.7, 2.0)
    for extend in (False, True):
        curve = Curve(0, (0,), (1.0,), knots=knots, extend=extend)
        assert np.array_equal(stand(curve, np.array(knots)[:, None]), np.eye(4))


def test_a_curve_stays_or_goes_on_beyond_its_knots():
    stays = Curve(0, (0,), (1.0,), knots=(0.0, 1.0, 3.0))
    goes_on = Curve(0, (0,), (1.0,), knots=(0.0, 1.0, 3.0), extend=True)
    assert stand(stays, [[-5.0], [7.0]]).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert stand(goes_on, [[-5.0], [7.0]]).tolist() == [[6, -5, 0], [0, -2, 3]]


def test_slopes_are_derivatives_of_weights_and_zero_where_the_path_stays():
    curve = Curve(0, (0,), (1.0,), knots=(0.0, 1.0, 3.0))
    walk = CurveSet((curve,)).walk(np.array([[-1.0], [0.0], [0.5], [1.0], [2.0], [3.0], [4.0]]))
    assert walk.slopes[:, 0].tolist() == [0.0, 1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    goes_on = CurveSet((Curve(0, (0,), (1.0,), knots=(0.0, 1.0, 3.0), extend=True),))
    assert goes_on.walk(np.array([[-1.0], [3.0], [4.0]])).slopes[:, 0].tolist() == [1.0, 0.5, 0.5]


def test_a_missing_value_has_the_last_matrix():
    pair = Curve(0, (0, 1), (1.0, -1.0), knots=(0.0, 1.0), missing=True)
    assert stand(pair, [[np.nan, 0.0], [0.0, np.nan], [0.5, 0.0]]).tolist() == [
        [0, 0, 1],
        [0, 0, 1],
        [0.5, 0.5, 0],
    ]


def test_each_combination_of_categories_has_its_own_path():
    curve = Curve(0, (2,), (1.0,), (0, 1), (2, 3), knots=(0.0, 1.0))
    for a in range(2):
        for b in range(3):
            (shares,) = stand(curve, [[a, b, 0.25]])
            path = 2 * (3 * a + b)
            assert shares[path : path + 2].tolist() == [0.75, 0.25]
            assert shares.sum() == 1.0


@pytest.mark.parametrize("code", [-1.0, -1e-300, 0.5, 2.0, 3.0, 1e18, 1e300, -1e300, np.inf, -np.inf])
def test_a_code_that_is_none_is_refused_and_reads_nothing(code):
    """A code beyond the categories would be an index beyond the matrices."""
    first = Curve(0, categorical=(0,), num_codes=(2,))
    second = Curve(1, (2,), (1.0,), (0, 1), (2, 2), knots=(0.0, 1.0), missing=True)
    for curves, row in ((first, [code]), (second, [code, 0.0, 0.5]), (second, [0.0, code, 0.5])):
        good = [0.0] * len(row)
        with pytest.raises(ValueError, match=r"codes of categories must be whole numbers .*; row 1 has others"):
            CurveSet((curves,)).walk(np.array([good, row, row]))


def test_a_model_refuses_columns_with_codes_that_are_none():
    model = make_model()
    columns = model.features.encode(make_rows(3))
    city = model.features.names.index("city")
    columns[1, city] = 3  # three cities, and a code for unknown ones
    assert np.isfinite(model.scores(columns)).all()
    columns[1, city] = 4
    for ask in (model.scores, model.matrices, lambda columns: explain(model, columns)):
        with pytest.raises(ValueError, match="row 1"):
            ask(columns)


def test_a_curve_counts_its_matrices():
    assert Curve(0).num_matrices == 1
    assert Curve(0, (0,), (1.0,), (1, 2), (3, 4), (0.0, 1.0), missing=True).num_matrices == 25
    assert CURVES.num_matrices == sum(curve.num_matrices for curve in CURVES.curves) == CURVES.offsets[-1]


def test_no_rows_and_no_curves_walk_nowhere():
    assert CURVES.walk(np.empty((0, len(FEATURES)))).starts.shape == (0, len(CURVES.curves))
    assert CurveSet(()).walk(np.empty((3, 2))).weights.shape == (3, 0)
