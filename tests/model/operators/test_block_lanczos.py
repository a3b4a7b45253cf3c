"""Block Lanczos finds what one vector cannot."""

import numpy as np
import pytest
import torch

from eigenserve.model.operators import CallableOperator, DenseOperator, block_lanczos, lanczos

#: 10 five times, and single eigenvalues far apart, which converge before rounding could bring a copy of 10.
MULTIPLE = np.concatenate([[10.0] * 5, [9.0, 7.0, 5.0], np.linspace(0, 1, 300)])


def test_finds_multiplicity_five_where_one_vector_cannot():
    spectrum = torch.from_numpy(MULTIPLE)
    operator = CallableOperator(lambda v: spectrum * v, len(spectrum))
    block = block_lanczos(operator, 7, tol=1e-8, block_size=5)
    single = lanczos(operator, 4, tol=1e-8)
    assert single.converged.all()  # and yet it has missed four copies:
    np.testing.assert_allclose(single.eigenvalues[:3], [10, 9, 7], atol=1e-12)
    assert block.converged.all()
    np.testing.assert_allclose(block.eigenvalues, [10, 10, 10, 10, 10, 9, 7], atol=1e-12)


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("block_size", [1, 3, 8])
def test_agrees_with_a_dense_solver_through_restarts(block_size, which, with_spectrum):
    exact = np.random.default_rng(0).normal(size=250)
    matrix = with_spectrum(exact)
    found = block_lanczos(
        DenseOperator(matrix), 4, max_iter=3000, tol=1e-8, which=which, block_size=block_size, max_basis=30
    )
    key = {"LM": -np.abs(exact), "LA": -exact, "SA": exact}[which]
    assert found.converged.all()
    np.testing.assert_allclose(found.eigenvalues, exact[np.argsort(key)][:4], rtol=1e-8)
    vectors, values = found.eigenvectors, found.eigenvalues
    errors = torch.linalg.vector_norm(vectors @ matrix - values[:, None] * vectors, dim=1)
    # ||R s|| equals the residual up to rounding.
    torch.testing.assert_close(found.residuals, errors, rtol=1e-4, atol=1e-12)


def test_a_block_as_large_as_the_space_is_exact():
    found = block_lanczos(DenseOperator(torch.diag(torch.arange(4.0, dtype=torch.float64))), 4, block_size=9)
    np.testing.assert_allclose(found.eigenvalues, [3, 2, 1, 0], atol=1e-14)


def test_an_operator_of_low_rank_does_not_stop_it():
    spectrum = torch.zeros(40, dtype=torch.float64)
    spectrum[:2] = torch.tensor([5.0, 4.0])
    found = block_lanczos(CallableOperator(lambda v: spectrum * v, 40), 6, max_iter=200, block_size=3)
    np.testing.assert_allclose(found.eigenvalues, [5, 4, 0, 0, 0, 0], atol=1e-12)
    product = found.eigenvectors @ found.eigenvectors.T
    torch.testing.assert_close(product, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_bad_request_is_refused():
    operator = DenseOperator(torch.eye(30, dtype=torch.float64))
    with pytest.raises(ValueError, match="block_size must be"):
        block_lanczos(operator, 2, block_size=0)
    with pytest.raises(ValueError, match="max_basis must be"):
        block_lanczos(operator, 2, block_size=5, max_basis=11)
