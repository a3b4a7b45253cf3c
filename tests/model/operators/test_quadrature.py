"""Stochastic Lanczos quadrature against spectra that are known."""

import numpy as np
import pytest

from eigenserve.model.operators import DenseOperator, lanczos, spectrum

SPECTRUM = np.concatenate([np.linspace(-1, 1, 300), [50.0, 40.0]])


def test_trace_and_distribution_lie_within_their_errors(with_spectrum):
    matrix = with_spectrum(SPECTRUM)
    found = spectrum(DenseOperator(matrix), probes=20, steps=40)
    assert abs(found.trace - float(matrix.trace())) < 4 * found.trace_error
    assert found.iterations == 20 * 40
    grid = np.array([-0.5, 0.0, 0.5])
    exact = (grid[:, None] >= SPECTRUM).mean(axis=1)
    # Shares have a standard error near 1 / sqrt(probes n) = 0.013, and 40 steps blur 0.05 of the range.
    np.testing.assert_allclose(found.distribution(grid), exact, atol=0.06)


def test_known_eigenpairs_take_the_variance_away(with_spectrum):
    operator = DenseOperator(with_spectrum(SPECTRUM))
    plain = spectrum(operator, probes=10, steps=30)
    helped = spectrum(operator, probes=10, steps=30, known=lanczos(operator, 2, tol=1e-10))
    assert helped.trace_error < plain.trace_error / 3
    assert abs(helped.trace - 90.0) < 4 * helped.trace_error
    np.testing.assert_allclose(helped.distribution(np.array([30.0, 45.0, 60.0])), [300 / 302, 301 / 302, 1], atol=1e-9)


def test_the_density_has_area_one(with_spectrum):
    found = spectrum(DenseOperator(with_spectrum(SPECTRUM)), probes=3, steps=20)
    grid = np.linspace(-10, 60, 7001)
    assert np.trapezoid(found.density(grid, width=0.5), grid) == pytest.approx(1.0, abs=1e-6)


def test_knowing_all_eigenpairs_is_exact(with_spectrum):
    operator = DenseOperator(with_spectrum([3.0, 1.0, -2.0]))
    found = spectrum(operator, known=lanczos(operator, 3))
    assert found.trace == pytest.approx(2.0, abs=1e-12)
    np.testing.assert_allclose(found.weights.sum(), 1.0)


def test_a_bad_request_is_refused(with_spectrum):
    with pytest.raises(ValueError, match="at least 1"):
        spectrum(DenseOperator(with_spectrum([1.0, 2.0])), probes=0)
