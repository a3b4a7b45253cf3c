"""Power iteration with deflation and momentum."""

import numpy as np
import pytest
import torch

from model.operators import CallableOperator, DenseOperator, deflated_power_iteration


def test_finds_the_largest_magnitudes_one_after_the_other(with_spectrum):
    operator = DenseOperator(with_spectrum([-8.0, 6.0, 4.0, *np.linspace(-2, 2, 100)]))
    found = deflated_power_iteration(operator, 3, max_iter=500, tol=1e-6)
    assert found.converged.all()
    # Errors of Rayleigh quotients go with the square of the residual, 6e-6.
    np.testing.assert_allclose(found.eigenvalues, [-8, 6, 4], rtol=1e-10)
    product = found.eigenvectors @ found.eigenvectors.T
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_momentum_saves_iterations(with_spectrum):
    operator = DenseOperator(with_spectrum([5.2, *np.linspace(-5, 5, 200)]))
    plain = deflated_power_iteration(operator, 1, max_iter=2000, tol=1e-6)
    fast = deflated_power_iteration(operator, 1, max_iter=2000, tol=1e-6, momentum=2.5**2)
    assert plain.converged.all()
    assert fast.converged.all()
    # The gap of 4% takes 1/0.04 steps per digit plainly and 1/sqrt(0.08) with the best momentum.
    assert fast.iterations < plain.iterations / 3
    np.testing.assert_allclose(fast.eigenvalues, plain.eigenvalues, rtol=1e-10)


def test_equal_magnitudes_do_not_converge_and_say_so(with_spectrum):
    operator = DenseOperator(with_spectrum([5.0, -5.0, *np.linspace(-1, 1, 50)]))
    found = deflated_power_iteration(operator, 1, max_iter=200, tol=1e-6)
    assert not found.converged.any()
    assert found.iterations == 200


def test_both_parts_of_the_criterion_must_hold(with_spectrum):
    # Near-equal eigenvalues: the Rayleigh quotient settles long before the vector.
    operator = DenseOperator(with_spectrum([5.0, 4.9, *np.linspace(-1, 1, 50)]))
    found = deflated_power_iteration(operator, 1, max_iter=20, tol=1e-3)
    later = deflated_power_iteration(operator, 1, max_iter=21, tol=1e-3)
    assert abs(float(later.eigenvalues - found.eigenvalues)) < 1e-3 * 5
    assert found.residuals[0] > 1e-3 * 5
    assert not found.converged.any()


def test_eigenvalues_of_zero_are_found():
    spectrum = torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)
    found = deflated_power_iteration(CallableOperator(lambda v: spectrum * v, 3), 3, max_iter=500, tol=1e-8)
    np.testing.assert_allclose(found.eigenvalues, [3, 0, 0], atol=1e-7)


def test_a_bad_request_is_refused():
    operator = DenseOperator(torch.eye(4, dtype=torch.float64))
    with pytest.raises(ValueError, match="momentum must be"):
        deflated_power_iteration(operator, 1, momentum=-1.0)
    with pytest.raises(ValueError, match="k must be"):
        deflated_power_iteration(operator, 5)
