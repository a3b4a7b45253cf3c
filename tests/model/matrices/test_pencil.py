"""Matrices and decompositions are those of dense NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.twin import CURVES, TERMS, dense, random_pencil, random_rows, slow_coordinates, slow_matrices

from eigenserve.model.matrices.pencil import weighted_forms


def coordinates(count, seed):
    return np.array([slow_coordinates(row) for row in random_rows(count, seed)])


@pytest.mark.parametrize(("heads", "dim"), [(1, 1), (1, 2), (3, 5), (8, 15)])
def test_matrices_are_the_sums_of_the_curves(heads, dim):
    pencil = random_pencil(np.random.default_rng(dim), heads, dim)
    z = coordinates(60, seed=3)
    found = dense(*pencil.matrices(pencil.curves.walk(z)))
    for matrices, row in zip(found, z, strict=True):
        constant, parts = slow_matrices(pencil, row)
        # Eleven terms of size up to ten, each with a few roundings.
        np.testing.assert_allclose(matrices, constant + sum(parts), atol=1e-13)


def forms_of(vectors, weights):
    """What a decomposition takes, of eigenvectors."""
    forms = np.empty((*vectors.shape[:2], 2 * vectors.shape[2] - 1))
    weighted_forms(vectors, weights, forms)
    return forms


@pytest.mark.parametrize(("outputs", "members", "dim"), [(1, 1, 1), (1, 4, 6), (3, 2, 5)])
def test_a_decomposition_is_that_of_dense_quadratic_forms(outputs, members, dim):
    rng = np.random.default_rng(dim)
    pencil = random_pencil(rng, outputs * members, dim)
    z = coordinates(40, seed=4)
    vectors = rng.standard_normal((len(z), outputs * members, dim))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    weights = rng.random(members)
    heads = [slice(o * members, (o + 1) * members) for o in range(outputs)]
    walk, all_forms = pencil.curves.walk(z), forms_of(vectors, weights)
    each = [pencil.decompose(walk, np.ascontiguousarray(all_forms[:, own]), own) for own in heads]

    def forms(matrices, v):  # (H, n, n) and (H, n) -> (O,)
        each = np.einsum("hi,hij,hj->h", v, matrices, v)
        return (each.reshape(outputs, members) * weights).sum(axis=1)

    for j, row in enumerate(z):
        constant, parts = slow_matrices(pencil, row)
        np.testing.assert_allclose([e.constant[j] for e in each], forms(constant, vectors[j]), atol=1e-13)
        expected = np.array([forms(part, vectors[j]) for part in parts])
        np.testing.assert_allclose(np.stack([e.terms[j] for e in each], axis=1), expected, atol=1e-13)


def test_slopes_are_derivatives_of_the_terms_by_the_coordinates():
    rng = np.random.default_rng(7)
    pencil = random_pencil(rng, 2, 4)
    z = coordinates(50, seed=5)
    vectors = rng.standard_normal((len(z), 2, 4))
    forms = forms_of(vectors, np.array([0.25, 0.75]))
    found = pencil.decompose(pencil.curves.walk(z), forms, slice(0, 2))
    h = 1e-7
    for feature in (0, 1):
        ahead = z.copy()
        ahead[:, feature] += h
        moved = pencil.decompose(pencil.curves.walk(ahead), forms, slice(0, 2))
        same_piece = (pencil.curves.walk(ahead).starts == pencil.curves.walk(z).starts).all(axis=1)
        assert same_piece.mean() > 0.9
        slope = (moved.terms - found.terms).sum(axis=1) / h
        present = ~np.isnan(z[:, feature])
        assert not found.slopes[~present, feature].any()
        # Terms are linear between knots: what is left is rounding, 1e-14 / h.
        good = present & same_piece
        np.testing.assert_allclose(found.slopes[good, feature], slope[good], atol=1e-5)


def test_categories_have_no_slope():
    pencil = random_pencil(np.random.default_rng(8), 1, 3)
    z = coordinates(50, seed=6)
    found = pencil.decompose(pencil.curves.walk(z), np.ones((50, 1, 5)), slice(0, 1))
    assert not found.slopes[:, 3:].any()


def test_arrays_are_read_only_and_not_those_of_the_caller_made_read_only():
    pencil = random_pencil(np.random.default_rng(9), 2, 3)
    own = np.array(pencil.diag)
    made = replace(pencil, diag=own)
    assert own.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        made.diag[0, 0, 0] = 1.0


@pytest.mark.parametrize("name", ["constant_off_diag", "diag", "off_diag"])
def test_a_wrong_shape_is_refused_by_name(name):
    pencil = random_pencil(np.random.default_rng(9), 2, 3)
    with pytest.raises(ValueError, match=f"{name} must have shape"):
        replace(pencil, **{name: getattr(pencil, name)[:-1]})


@pytest.mark.parametrize("name", ["constant_diag", "constant_off_diag", "diag", "off_diag"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_name(name, value):
    pencil = random_pencil(np.random.default_rng(9), 2, 3)
    spoilt = np.array(getattr(pencil, name))
    spoilt.flat[-1] = value
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        replace(pencil, **{name: spoilt})


def test_all_terms_have_curves_in_the_random_model():
    assert {curve.term for curve in CURVES.curves} == set(range(len(TERMS)))
