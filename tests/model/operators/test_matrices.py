"""Operators from matrices and functions."""

import numpy as np
import pytest
import scipy.sparse
import torch

from model.operators import CallableOperator, DenseOperator, SparseOperator


def test_dense_and_sparse_give_the_same_products(path_laplacian):
    matrix = path_laplacian(20)
    dense = DenseOperator(torch.from_numpy(matrix.toarray()))
    vectors = torch.randn(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for operator in (dense, SparseOperator(matrix), CallableOperator(dense.matvec, 20)):
        expected = vectors @ dense.matrix
        torch.testing.assert_close(operator.matmat(vectors), expected)
        torch.testing.assert_close(operator.matvec(vectors[0]), expected[0])


def test_a_matrix_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="symmetric"):
        DenseOperator(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\(n, n\)"):
        DenseOperator(torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="SciPy sparse"):
        SparseOperator(np.eye(3))
    with pytest.raises(ValueError, match="SciPy sparse"):
        SparseOperator(scipy.sparse.eye_array(3, 4))


def test_a_function_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        CallableOperator(lambda v: v[:2], 3).matvec(torch.ones(3, dtype=torch.float64))


def test_the_identity_as_a_function_does_not_share_memory():
    vector = torch.ones(3, dtype=torch.float64)
    assert CallableOperator(lambda v: v, 3).matvec(vector).data_ptr() != vector.data_ptr()
