"""Eigencurves keep their identity through crossings, and are kept apart from avoided ones."""

import numpy as np
import pytest

from eigenserve.model.eigensolvers.eigencurves import follow_eigencurves


def _issue_path(angle):
    """Eigenvalues t and exp(t^2) - 1, in a frame turned by angle(t)."""

    def path(t):
        c, s = np.cos(angle(t)), np.sin(angle(t))
        a, b = t, np.expm1(t * t)
        return [c * c * a + s * s * b, s * s * a + c * c * b], [c * s * (a - b)]

    return path


@pytest.mark.parametrize("angle", [lambda t: 0.0, lambda t: 0.7, lambda t: t], ids=["diagonal", "turned", "turning"])
@pytest.mark.parametrize("count", [31, 32])  # with and without a point at t = 0 itself
def test_t_and_exp_t_squared_minus_one_are_two_smooth_curves(angle, count):
    t = np.linspace(-1.0, 1.0, count)
    found = follow_eigencurves(_issue_path(angle), t)
    # The eigensolver's error is 8 eps ||A||; sorting would be wrong by up to 0.2 between the crossings.
    np.testing.assert_allclose(found.eigenvalues, np.column_stack([t, np.expm1(t * t)]), rtol=0, atol=1e-14)
    assert [(crossing.kind, crossing.curves, crossing.swapped) for crossing in found.crossings] == [
        ("crossing", (0, 1), True)
    ] * 2
    # exp(t^2) - 1 = t at 0 and at 0.746881742308528...
    np.testing.assert_allclose([c.t for c in found.crossings], [0.0, 0.746881742308528], rtol=0, atol=1e-14)
    # Eigenvectors are those of the frame, without a jump.
    frame = np.array([[[np.cos(angle(x)), np.sin(angle(x))], [-np.sin(angle(x)), np.cos(angle(x))]] for x in t])
    np.testing.assert_allclose(np.abs(np.sum(frame * found.eigenvectors, axis=2)), 1.0, atol=1e-12)
    steps = np.sum(found.eigenvectors[1:] * found.eigenvectors[:-1], axis=2)
    assert steps.min() > 0.9


def test_a_path_that_starts_at_a_crossing_leaves_it_smoothly():
    t = np.linspace(0.0, 0.5, 6)
    found = follow_eigencurves(_issue_path(lambda t: 0.7), t)
    expected = np.sort(np.column_stack([t, np.expm1(t * t)]), axis=1)
    np.testing.assert_allclose(np.sort(found.eigenvalues, axis=1), expected, atol=1e-14)
    overlaps = np.sum(found.eigenvectors * found.eigenvectors[-1], axis=2)
    np.testing.assert_allclose(overlaps, 1.0, atol=1e-12)


def _wilkinson(coupling: float, middle: float):
    """Wilkinson's matrix of order 21, |i| on the diagonal, its halves pulled apart by t sign(i)."""
    i = np.arange(-10, 11)
    off_diag = np.full(20, coupling)
    off_diag[9:11] *= middle
    return lambda t: (np.abs(i) + t * np.sign(i), off_diag)


def test_a_gap_of_1e_12_is_distinguished_from_a_crossing():
    t = np.linspace(-0.3, 0.3, 7)
    avoided = follow_eigencurves(_wilkinson(1.1875, 1.0), t)
    crossing = follow_eigencurves(_wilkinson(1.1875, 0.0), t)
    (near,) = (c for c in avoided.crossings if 20 in c.curves)
    (met,) = (c for c in crossing.crossings if 20 in c.curves)
    # By 40-digit arithmetic the two largest eigenvalues are 1.01405e-12 apart; errors 16 eps ||T|| = 4e-14.
    assert near.gap == pytest.approx(1.01405e-12, abs=4e-14)
    assert (near.kind, met.kind) == ("avoided", "crossing")
    assert met.gap < 4e-14
    assert abs(near.t) < 1e-13
    assert abs(met.t) < 1e-13
    # Both are narrower than the resolution: eigenvectors keep their half, and the order changes.
    for found in (avoided, crossing):
        top = found.eigenvectors[:, 20]
        halves = np.sum(top[:, 11:] ** 2, axis=1)
        assert halves.min() > 0.99 or halves.max() < 0.01
    assert near.swapped
    assert met.swapped


@pytest.mark.parametrize(("resolution", "swapped"), [(1e-6, False), (0.1, True)])
def test_the_resolution_decides_whether_an_avoided_crossing_is_followed_round(resolution, swapped):
    t = np.linspace(-1, 1, 11)
    found = follow_eigencurves(lambda x: ([x, -x], [1e-3]), t, resolution=resolution)
    (near,) = found.crossings
    assert (near.kind, near.swapped) == ("avoided", swapped)
    assert near.gap == pytest.approx(2e-3, rel=1e-9)
    assert near.width == pytest.approx(1e-3, rel=1e-3)
    exact = np.sqrt(t**2 + 1e-6)
    ends = [-exact[-1], exact[-1]][:: -1 if swapped else 1]
    np.testing.assert_allclose(found.eigenvalues[-1], ends, atol=1e-12)


def test_three_curves_through_one_point_keep_their_slopes():
    t = np.linspace(-1, 1, 12)
    found = follow_eigencurves(lambda x: ([x, 2 * x, -x], [0.0, 0.0]), t)
    slopes = (found.eigenvalues[-1] - found.eigenvalues[0]) / 2
    np.testing.assert_allclose(np.sort(slopes), [-1, 1, 2], atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues, t[:, None] * slopes, atol=1e-12)
    assert [crossing.kind for crossing in found.crossings] == ["crossing"] * 3


def test_an_eigenvalue_that_stays_double_is_crossed_in_both_its_curves():
    t = np.linspace(0, 2, 9)
    found = follow_eigencurves(lambda x: ([1.0, x, 1.0], [0.0, 0.0]), t)
    np.testing.assert_allclose(found.eigenvalues, np.column_stack([t, np.ones(9), np.ones(9)]), atol=1e-14)
    assert [crossing.curves for crossing in found.crossings] == [(0, 1), (0, 2)]
    np.testing.assert_allclose([crossing.t for crossing in found.crossings], 1.0, atol=1e-14)


def test_a_path_of_unreduced_matrices_never_crosses_and_pairs_stay_eigenpairs():
    rng = np.random.default_rng(0)
    d0, d1 = rng.normal(size=(2, 12))
    e0, e1 = 0.5 + rng.random(size=(2, 11))
    t = np.linspace(0, 1, 9)

    def path(x):
        return (1 - x) * d0 + x * d1, (1 - x) * e0 + x * e1

    found = follow_eigencurves(path, t)
    assert not any(crossing.swapped for crossing in found.crossings)
    for x, values, vectors in zip(t, found.eigenvalues, found.eigenvectors, strict=True):
        d, e = path(x)
        matrix = np.diag(d) + np.diag(e, 1) + np.diag(e, -1)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=1e-13)
        np.testing.assert_allclose(vectors @ matrix, values[:, None] * vectors, atol=1e-12)


def test_a_single_curve_is_its_entry():
    found = follow_eigencurves(lambda x: ([x * x], []), [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(found.eigenvalues[:, 0], [0, 1, 4])


@pytest.mark.parametrize(("t", "options"), [([0.0], {}), ([1.0, 0.0], {}), ([0.0, 1.0], {"resolution": 0.0})])
def test_a_bad_request_is_refused(t, options):
    with pytest.raises(ValueError, match="must be"):
        follow_eigencurves(lambda x: ([x], []), t, **options)


def test_matrices_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        follow_eigencurves(lambda x: ([np.nan, x], [1.0]), [0.0, 1.0])
