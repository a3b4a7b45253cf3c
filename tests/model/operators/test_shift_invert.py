"""Shift-invert finds the eigenvalues nearest to a number."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from eigenserve.model.operators import CallableOperator, DenseOperator, SparseOperator, shift_invert_lanczos


def test_five_smallest_magnitudes_of_a_large_laplacian(path_laplacian):
    n = 100_000
    found = shift_invert_lanczos(SparseOperator(path_laplacian(n)), 5, tol=1e-8)
    exact = 4 * np.sin(np.arange(1, 6) * np.pi / (2 * n + 2)) ** 2
    assert found.converged.all()
    # The matrix itself is rounded to eps ||A|| = 1e-15, which is 1e-6 of the smallest eigenvalue.
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=1e-6)
    # The factors of a tridiagonal matrix have 4/3 of its entries, so a solution costs 4/3 of a product.
    assert found.iterations * 4 / 3 / 5 < 30


@pytest.mark.parametrize("sigma", [0.0, 0.31])
def test_dense_and_sparse_agree_with_arpack(sigma, path_laplacian):
    matrix = path_laplacian(300).tocsc()
    theirs = scipy.sparse.linalg.eigsh(matrix, 4, sigma=sigma, return_eigenvectors=False)
    for operator in (SparseOperator(matrix), DenseOperator(torch.from_numpy(matrix.toarray()))):
        found = shift_invert_lanczos(operator, 4, tol=1e-10, sigma=sigma)
        np.testing.assert_allclose(np.sort(found.eigenvalues), np.sort(theirs), rtol=1e-9)
        vectors, values = found.eigenvectors, found.eigenvalues
        errors = operator.matmat(vectors) - values[:, None] * vectors
        np.testing.assert_allclose(found.residuals, torch.linalg.vector_norm(errors, dim=1), atol=1e-14)


def test_a_callable_brings_its_own_solve():
    spectrum = torch.arange(1.0, 51.0, dtype=torch.float64)
    operator = CallableOperator(lambda v: spectrum * v, 50)
    with pytest.raises(ValueError, match="give solve"):
        shift_invert_lanczos(operator, 2, sigma=7.2)
    found = shift_invert_lanczos(operator, 2, tol=1e-10, sigma=7.2, solve=lambda b: b / (spectrum - 7.2))
    np.testing.assert_allclose(found.eigenvalues, [7, 8], rtol=1e-12)


def test_a_shift_that_is_an_eigenvalue_is_refused():
    identity = torch.eye(6, dtype=torch.float64)
    for operator in (DenseOperator(identity), SparseOperator(scipy.sparse.eye_array(6))):
        with pytest.raises(ValueError, match="move sigma"):
            shift_invert_lanczos(operator, 1, sigma=1.0)
