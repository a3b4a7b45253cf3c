"""Reach holds every row within the radii, and its points hold the largest value of every convex function of E."""

import numpy as np
import pytest
from tests.oracles.test_shap import numeric_model
from tests.support.twin import FEATURES, dense, random_model, random_rows

from eigenserve.model.certificates.reach import Group, _corners, changes, default_radii, groups, reach
from eigenserve.model.matrices.curves import Curve


def rows_within(rng, within, count):
    """Coordinates at random within a reach, some of them at its ends."""
    out = np.tile(within.row, (count, 1))
    for i, values in enumerate(within.values):
        if i in within.of_codes:
            out[:, i] = rng.choice(values, count)
        elif len(values) > 1:
            share = np.where(rng.random(count) < 0.4, rng.integers(0, 2, count), rng.random(count))
            out[:, i] = values[0] + share * (values[1] - values[0])
    return out


def test_default_radii_are_a_tenth_of_a_deviation_of_numbers_that_are_there():
    row = {"width": 4.0, "price": 30.0, "sold": True, "town": "Bath", "kind": "a"}
    found = default_radii(FEATURES, FEATURES.encode([row])[0])
    assert set(found) == {"width", "price"}
    assert found["width"] == pytest.approx(0.1 * 2.5)
    # price is a logarithm of deviation 0.8: on the way down it moves by a tenth of it, on the way up by less.
    assert np.log(30.0) - np.log(30.0 - found["price"]) == pytest.approx(0.08)
    assert np.log(30.0 + found["price"]) - np.log(30.0) < 0.08
    assert set(default_radii(FEATURES, FEATURES.encode([{"width": None, "price": None}])[0])) == set()


@pytest.mark.parametrize("seed", range(4))
def test_the_groups_together_are_the_whole_change(seed):
    model, rng = random_model(seed=seed), np.random.default_rng(seed)
    pencil = model.ensemble.pencil
    columns = FEATURES.encode(random_rows(1, seed=seed))[0]
    within = reach(FEATURES, columns, {"width": 2.0, "price": 20.0, "sold": 1.0, "kind": 1.0})
    found = groups(pencil.curves.curves, within)
    members = [c for group in found for c in group.curves]
    assert len(set(members)) == len(members)
    rows = rows_within(rng, within, 50)
    diag, _ = pencil.matrices(pencil.curves.walk(rows))
    base, _ = pencil.matrices(pencil.curves.walk(within.row[None]))
    moved = np.zeros_like(diag)
    for group in found:
        moved += changes(pencil, within.row, Group(group.curves, rows, 1.0))[0]
    np.testing.assert_allclose(moved, diag - base, atol=1e-12)


@pytest.mark.parametrize("radius", [0.05, 0.3, 0.7, 3.0])
@pytest.mark.parametrize("max_lines", [2, 64])
def test_no_row_within_exceeds_a_convex_function_at_the_points(radius, max_lines):
    rng = np.random.default_rng(0)
    for model in (numeric_model(4, seed=1, pairs=((0, 1), (1, 2))), random_model(seed=2)):
        pencil, features = model.ensemble.pencil, model.features
        for j in range(6):
            columns = features.encode(random_rows(1, seed=j))[0] if len(features) == 5 else rng.normal(size=4)
            names = [f.name for f in features.features if f.name != "town"]
            within = reach(features, columns, dict.fromkeys(names, radius))
            for group in groups(pencil.curves.curves, within, max_lines=max_lines):
                at_rows = Group(group.curves, rows_within(rng, within, 1000), 1.0)
                inside, corners = (dense(*changes(pencil, within.row, g)) for g in (at_rows, group))
                for _ in range(5):
                    form = rng.normal(size=inside.shape[2:])
                    largest = np.einsum("phij,ij->ph", corners, form).max(axis=0)
                    assert (np.einsum("phij,ij->ph", inside, form).max(axis=0) <= largest + 1e-12).all()


def test_corners_of_crossing_lines_and_edges():
    ends = np.array([[-1.0, 1.0], [-2.0, 2.0]])
    found, sine = _corners(ends, np.array([[1.0, 0.0, 0.5], [1.0, 1.0, 0.0], [1.0, 0.0, 7.0]]), False, 64)
    expected = {(-1, -2), (-1, 2), (1, -2), (1, 2), (0.5, -2), (0.5, 2), (-1, 1), (1, -1), (0.5, -0.5)}
    assert {tuple(np.round(point, 9)) for point in found} == expected
    assert sine == pytest.approx(np.sqrt(0.5))


def test_flat_crossings_are_left_to_single_curves():
    ends = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    assert _corners(ends, np.array([[1.0, 0.0, 0.0], [1.0, 1e-6, 1e-9]]), False, 64)[0] is None
    curves = (
        Curve(0, (0, 1), (1.0, 0.0), knots=(-1.0, 0.0, 1.0)),
        Curve(0, (0, 1), (1.0, 1e-6), knots=(-1.0, 1e-9, 1.0)),
    )
    features = numeric_model(2).features
    found = groups(curves, reach(features, np.array([0.1, 0.2]), {"x0": 1.0, "x1": 1.0}))
    assert sorted(group.curves for group in found) == [(0,), (1,)]
