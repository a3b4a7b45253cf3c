"""Scale: results at 1e-300 and 1e300 are those at 1, digit by digit."""

import numpy as np
import pytest
import scipy.sparse
import torch

from eigenserve.model.operators import (
    CallableOperator,
    DenseOperator,
    SparseOperator,
    block_lanczos,
    deflated_power_iteration,
    lanczos,
    shift_invert_lanczos,
    spectrum,
)
from eigenserve.model.operators.products import Products

EXACT = np.concatenate([[-8.0, 6.0, 5.0], np.linspace(-1, 1, 60)])
#: Products of 2^-900 with entries of unit vectors keep all their digits above the denormal numbers.
EXPONENTS = [-900, -500, -1, 500, 900]
METHODS = {
    "lanczos": lambda operator: lanczos(operator, 3, max_iter=200, tol=1e-8, max_basis=12),
    "bare lanczos": lambda operator: lanczos(operator, 3, max_iter=40, tol=1e-8, reorthogonalize=False),
    "block lanczos": lambda operator: block_lanczos(operator, 3, tol=1e-8, block_size=2, max_basis=16),
    "power iteration": lambda operator: deflated_power_iteration(operator, 3, max_iter=500, tol=1e-6),
    "shift-invert": lambda operator: shift_invert_lanczos(operator, 3, tol=1e-8),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [DenseOperator, lambda matrix: SparseOperator(scipy.sparse.csr_array(matrix.numpy()))])
def test_a_power_of_two_changes_no_digit(method, kind, with_spectrum):
    matrix = with_spectrum(EXACT)
    plain = METHODS[method](kind(matrix))
    assert plain.converged.all()
    for exponent in EXPONENTS:
        found = METHODS[method](kind(matrix * 2.0**exponent))
        assert found.converged.all()
        assert found.iterations == plain.iterations
        assert torch.equal(found.eigenvectors, plain.eigenvectors)
        assert torch.equal(found.eigenvalues, plain.eigenvalues * 2.0**exponent)
        assert torch.equal(found.residuals, plain.residuals * 2.0**exponent)


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e300])
@pytest.mark.parametrize("method", ["lanczos", "bare lanczos", "block lanczos", "power iteration"])
def test_the_largest_magnitudes_are_right_at_any_scale(method, factor, with_spectrum):
    found = METHODS[method](DenseOperator(factor * with_spectrum(EXACT)))
    assert found.converged.all()
    np.testing.assert_allclose(found.eigenvalues, factor * EXACT[:3], rtol=1e-9)
    errors = found.eigenvectors @ (with_spectrum(EXACT)) - found.eigenvalues[:, None] / factor * found.eigenvectors
    # Residuals are relative 1e-6 at most, and so is their unit.
    assert (torch.linalg.vector_norm(errors, dim=1) <= 8e-6).all()
    np.testing.assert_allclose(found.residuals / factor, torch.linalg.vector_norm(errors, dim=1), atol=1e-13, rtol=1e-3)


@pytest.mark.parametrize("factor", [1e-37, 1e-30, 1e30, 1e37])
@pytest.mark.parametrize("method", ["lanczos", "block lanczos", "power iteration"])
def test_float32_has_its_own_range(method, factor):
    # Where a vector of ones has the norm 1e38, and the squares of its entries are infinite.
    values = torch.from_numpy(factor * EXACT).float()
    operator = CallableOperator(lambda v: values * v, len(values), dtype=torch.float32)
    run = {
        "lanczos": lambda: lanczos(operator, 3, tol=1e-3),
        "block lanczos": lambda: block_lanczos(operator, 3, tol=1e-3, block_size=2),
        "power iteration": lambda: deflated_power_iteration(operator, 3, max_iter=500, tol=1e-3),
    }
    found = run[method]()
    assert found.converged.all()
    np.testing.assert_allclose(found.eigenvalues / factor, EXACT[:3], rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.0, 5.2, -8.5])
@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e200, 1e300])
def test_the_nearest_are_right_at_any_scale(factor, sigma, with_spectrum):
    matrix = with_spectrum([*EXACT[:3], *np.geomspace(1e-9, 1.0, 40)])
    plain = shift_invert_lanczos(DenseOperator(matrix), 2, tol=1e-8, sigma=sigma)
    for operator in (
        DenseOperator(factor * matrix),
        SparseOperator(scipy.sparse.csr_array(factor * matrix.numpy())),
    ):
        # The inverse of 1e-300 * 1e-9 is no number, but nothing here needs it.
        found = shift_invert_lanczos(operator, 2, tol=1e-8, sigma=factor * sigma)
        assert found.converged.all()
        # The matrix is rounded to 1e-15, one part in 1e6 of the smallest eigenvalue.
        np.testing.assert_allclose(found.eigenvalues / factor, plain.eigenvalues, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_trace_and_density_scale(factor, with_spectrum):
    matrix = with_spectrum(EXACT)
    plain = spectrum(DenseOperator(matrix), probes=4, steps=20, known=lanczos(DenseOperator(matrix), 2, tol=1e-8))
    operator = DenseOperator(factor * matrix)
    found = spectrum(operator, probes=4, steps=20, known=lanczos(operator, 2, tol=1e-8))
    assert found.trace / factor == pytest.approx(plain.trace, rel=1e-9)
    assert found.trace_error / factor == pytest.approx(plain.trace_error, rel=1e-9)
    np.testing.assert_allclose(np.sort(found.nodes / factor)[[0, 1, -1]], np.sort(plain.nodes)[[0, 1, -1]], rtol=1e-9)


def test_momentum_is_in_the_operators_own_unit(with_spectrum):
    matrix = with_spectrum([5.2, *np.linspace(-5, 5, 200)])
    plain = deflated_power_iteration(DenseOperator(matrix), 1, max_iter=2000, tol=1e-6, momentum=6.25)
    small = deflated_power_iteration(
        DenseOperator(matrix * 2.0**-200), 1, max_iter=2000, tol=1e-6, momentum=6.25 * 2.0**-400
    )
    assert small.iterations == plain.iterations
    # Far above (lambda_1 / 2)^2 nothing grows; no infinity comes of it either.
    wild = deflated_power_iteration(DenseOperator(matrix * 2.0**-900), 1, max_iter=50, momentum=1e300)
    assert not wild.converged.any()
    assert torch.isfinite(wild.eigenvectors).all()


def test_products_that_begin_with_zero_find_their_scale():
    # The first vector's product is zero: what follows is not scaled by that.
    calls = 0

    def late(vector):
        nonlocal calls
        calls += 1
        return vector * (0.0 if calls == 1 else 1e200)

    products = Products(CallableOperator(late, 3))
    vector = torch.ones(3, dtype=torch.float64)
    assert (products.matvec(vector) == 0).all()
    assert products.exponent == 0
    product = products.matvec(vector)
    assert 0.5 <= float(product.abs().max()) < 1.0
    assert products.restored(product.numpy()).tolist() == [1e200] * 3
    assert products.count == 2


def test_eigenvalues_that_are_not_numbers_are_refused():
    # Entries of 1.5e308 make an eigenvalue of 3e308; their differences are numbers, and so are products.
    matrix = torch.full((2, 2), 1.5e308, dtype=torch.float64)
    for method in (lanczos, block_lanczos, deflated_power_iteration):
        with pytest.raises(ValueError, match=r"finite|overflow"):
            method(DenseOperator(matrix), 1)


@pytest.mark.parametrize("method", [lanczos, block_lanczos, deflated_power_iteration, spectrum])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_products_that_are_not_finite_are_refused(method, wrong):
    calls = 0

    def late(vector):
        nonlocal calls
        calls += 1
        return torch.where(torch.arange(30) == 7, wrong, vector) if calls == 4 else vector * torch.arange(30)

    with pytest.raises(ValueError, match="products must be finite"):
        method(CallableOperator(late, 30))


@pytest.mark.parametrize("method", [lanczos, block_lanczos, deflated_power_iteration, shift_invert_lanczos])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, ValueError, r"k must be in \[1, 8\]; got 0"),
        ({"k": 9}, ValueError, r"k must be in \[1, 8\]; got 9"),
        ({"k": 2.0}, TypeError, "k must be a whole number; got 2.0"),
        ({"k": torch.ones(2)}, TypeError, "k must be a whole number"),
        ({"k": None}, TypeError, "k must be a whole number; got None"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least"),
        ({"max_iter": 1e3}, TypeError, "max_iter must be a whole number"),
        ({"tol": -1e-3}, ValueError, "tol must be finite and at least 0"),
        ({"tol": float("nan")}, ValueError, "tol must be finite and at least 0; got nan"),
        ({"tol": float("inf")}, ValueError, "tol must be finite"),
        ({"tol": None}, TypeError, "tol must be a number"),
        ({"tol": torch.ones(2)}, TypeError, "tol must be a number"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"seed": 2**64}, ValueError, "seed must be in"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number"),
    ],
)
def test_a_bad_request_is_refused(method, change, error, message):
    operator = DenseOperator(torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64)))
    with pytest.raises(error, match=message):
        method(operator, **{"k": 2, **change})


@pytest.mark.parametrize("method", [lanczos, block_lanczos, deflated_power_iteration, spectrum, shift_invert_lanczos])
def test_a_matrix_is_not_an_operator(method):
    with pytest.raises(TypeError, match="SymmetricOperator; got Tensor"):
        method(torch.eye(3))


def test_numbers_of_any_type_will_do():
    operator = DenseOperator(torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64)))
    plain = lanczos(operator, 2, 8, 1e-8, seed=5, max_basis=6)
    for whole, real in ((np.int64, np.float64), (np.array, np.array), (torch.tensor, torch.tensor)):
        found = lanczos(operator, whole(2), whole(8), real(1e-8), seed=whole(5), max_basis=whole(6))
        assert torch.equal(found.eigenvalues, plain.eigenvalues)
