"""Power iteration with deflation and momentum."""

import numpy as np
import pytest
import torch

from eigenserve.model.operators import CallableOperator, DenseOperator, deflated_power_iteration


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
    np.testing.assert_allclose(found.eigenvalues, [3, 0, 0], atol=1e-14)
    assert found.converged.all()


@pytest.mark.parametrize("momentum", [0.0, 2.0])
def test_the_zero_operator_has_converged_at_once(momentum):
    operator = DenseOperator(torch.zeros(5, 5, dtype=torch.float64))
    found = deflated_power_iteration(operator, 3, momentum=momentum)
    assert found.converged.all()
    assert found.iterations == 3
    assert (found.eigenvalues == 0).all()
    assert (found.residuals == 0).all()
    product = found.eigenvectors @ found.eigenvectors.T
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("max_iter", [1, 3, 10, 30, 100, 1000])
@pytest.mark.parametrize(
    "spectrum",
    [
        [5.0, 4.95, 4.0, *np.linspace(-1, 1, 40)],
        [5.0, -5.0, 3.0, *np.linspace(-1, 1, 40)],
        [-8.0, 1e-3, 1e-6, *np.zeros(40)],
        np.random.default_rng(0).normal(size=60),
    ],
    ids=["near", "opposite", "graded", "random"],
)
def test_converged_says_what_the_residual_of_the_operator_itself_is(spectrum, max_iter, with_spectrum):
    matrix = with_spectrum(spectrum)
    found = deflated_power_iteration(DenseOperator(matrix), 4, max_iter=max_iter, tol=1e-5)
    vectors, values = found.eigenvectors, found.eigenvalues
    errors = torch.linalg.vector_norm(vectors @ matrix - values[:, None] * vectors, dim=1)
    torch.testing.assert_close(found.residuals, errors, rtol=1e-6, atol=1e-14)
    # Rounding of products of norm 8 is what zero eigenvalues have.
    within = errors <= 1e-5 * values.abs() + 10 * 2.2e-16 * 8
    assert (within | ~found.converged).all()
    assert (found.converged == within).all()


def test_opposite_eigenvalues_come_as_the_space_of_both(with_spectrum):
    # Each vector alone is a mixture that stays one; the two together span what they should.
    operator = DenseOperator(with_spectrum([5.0, -5.0, *np.linspace(-1, 1, 50)]))
    found = deflated_power_iteration(operator, 2, max_iter=200, tol=1e-6)
    assert found.converged.all()
    np.testing.assert_allclose(np.sort(found.eigenvalues), [-5, 5], rtol=1e-12)


def test_a_bad_momentum_is_refused():
    operator = DenseOperator(torch.eye(4, dtype=torch.float64))
    for momentum in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="momentum must be"):
            deflated_power_iteration(operator, 1, momentum=momentum)
