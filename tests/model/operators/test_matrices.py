"""Operators from matrices and functions."""

import numpy as np
import pytest
import scipy.sparse
import torch

from eigenserve.model.operators import (
    CallableOperator,
    DenseOperator,
    SparseOperator,
    SymmetricOperator,
    block_lanczos,
    deflated_power_iteration,
    lanczos,
    spectrum,
)


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
    nearly = scipy.sparse.csr_array(np.array([[1.0, 2.0], [2.0 + 1e-12, 4.0]]))
    with pytest.raises(ValueError, match="symmetric"):
        SparseOperator(nearly)
    with pytest.raises(ValueError, match="symmetric"):
        SparseOperator(scipy.sparse.csr_array(np.array([[0.0, 1e300], [0.0, 0.0]])))
    with pytest.raises(ValueError, match=r"\(n, n\)"):
        SparseOperator(scipy.sparse.eye_array(3, 4))


@pytest.mark.parametrize("factor", [1e-310, 1e-300, 1.0, 1e300])
def test_symmetry_to_rounding_is_enough_at_any_scale(factor):
    draw = np.random.default_rng(0).normal(size=(30, 30))
    matrix = factor * (draw @ np.diag(np.arange(30.0)) @ draw.T)  # its two triangles are summed in another order
    DenseOperator(torch.from_numpy(matrix))
    SparseOperator(scipy.sparse.csr_array(matrix))
    SparseOperator(scipy.sparse.csr_array((30, 30)))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: DenseOperator(np.eye(3)), TypeError, "matrix must be a tensor; got ndarray"),
        (lambda: DenseOperator(torch.zeros(0, 0)), ValueError, "n at least 1"),
        (lambda: DenseOperator(torch.eye(3, dtype=torch.int64)), ValueError, "float32 or float64; got torch.int64"),
        (lambda: DenseOperator(torch.eye(3, dtype=torch.complex128)), ValueError, "float32 or float64"),
        (lambda: DenseOperator(torch.full((2, 2), torch.nan)), ValueError, "finite"),
        (lambda: DenseOperator(torch.full((2, 2), torch.inf)), ValueError, "finite"),
        (lambda: SparseOperator(np.eye(3)), TypeError, "SciPy sparse matrix; got ndarray"),
        (lambda: SparseOperator(scipy.sparse.csr_array((0, 0))), ValueError, "n at least 1"),
        (lambda: SparseOperator(1j * scipy.sparse.eye_array(3)), ValueError, "real numbers; got complex128"),
        (lambda: SparseOperator(np.inf * scipy.sparse.eye_array(3)), ValueError, "finite"),
        (lambda: SparseOperator(np.nan * scipy.sparse.eye_array(3)), ValueError, "finite"),
        # Finite as it is, and infinite in the type that is asked for.
        (lambda: SparseOperator(1e200 * scipy.sparse.eye_array(3), dtype=torch.float32), ValueError, "finite"),
        (lambda: SparseOperator(scipy.sparse.eye_array(3), dtype=torch.int32), ValueError, "float32 or float64"),
        (lambda: CallableOperator(torch.eye(3), 3), TypeError, "function"),
        (lambda: CallableOperator(torch.neg, 0), ValueError, "size must be at least 1; got 0"),
        (lambda: CallableOperator(torch.neg, 3.0), TypeError, "size must be a whole number; got 3.0"),
        (lambda: CallableOperator(torch.neg, 3, dtype=torch.float16), ValueError, "float32 or float64"),
    ],
)
def test_a_value_that_is_not_an_operator_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("size", [np.int64(3), np.array(3), torch.tensor(3)])
def test_sizes_are_whole_numbers_of_any_type(size):
    operator = CallableOperator(torch.neg, size)
    assert type(operator.size) is int
    assert lanczos(operator, k=size).converged.all()


@pytest.mark.parametrize(
    ("product", "message"),
    [
        (lambda v: v[:2], r"shape of the vector, \(3,\); got \(2,\)"),
        (lambda v: v[:, None], "shape"),
        (lambda v: v.float(), "dtype"),
        (lambda v: v.numpy(), "must be a tensor; got ndarray"),
    ],
)
def test_a_function_that_gives_no_such_vector_is_refused(product, message):
    with pytest.raises(ValueError, match=message):
        CallableOperator(product, 3).matvec(torch.ones(3, dtype=torch.float64))


SPECTRUM = torch.tensor([9.0, 7.0, 5.0, 3.0, 1.0, 0.5, 0.2, 0.1], dtype=torch.float64)
BUFFER = torch.empty_like(SPECTRUM)


class InPlace(SymmetricOperator):
    """An operator of one's own that overwrites what it is given."""

    size, dtype, device = 8, torch.float64, torch.device("cpu")

    def matvec(self, vector):
        return vector.mul_(SPECTRUM)


class Reused(InPlace):
    """One that returns the same memory every time."""

    def matvec(self, vector):
        return torch.mul(SPECTRUM, vector, out=BUFFER)


@pytest.mark.parametrize(
    "operator",
    [
        CallableOperator(InPlace().matvec, 8),
        CallableOperator(Reused().matvec, 8),
        CallableOperator(lambda v: v * SPECTRUM.clone().requires_grad_(), 8),
        InPlace(),
        Reused(),
    ],
    ids=["function in place", "function with a buffer", "function with a gradient", "in place", "with a buffer"],
)
def test_operators_may_overwrite_their_vectors_and_reuse_their_memory(operator):
    for found in (
        lanczos(operator, 3, tol=1e-10),
        block_lanczos(operator, 3, tol=1e-10, block_size=2),
        deflated_power_iteration(operator, 3, max_iter=500, tol=1e-7),
    ):
        np.testing.assert_allclose(found.eigenvalues, SPECTRUM[:3], rtol=1e-9)
        assert not found.eigenvectors.requires_grad
    # Eight steps from each probe see the whole spectrum.
    assert spectrum(operator, probes=200, seed=1).trace == pytest.approx(float(SPECTRUM.sum()), rel=1e-9)


def test_the_identity_as_a_function_keeps_its_argument():
    identity = CallableOperator(lambda v: v, 4)
    vector = torch.ones(4, dtype=torch.float64)
    assert identity.matvec(vector).data_ptr() != vector.data_ptr()
    np.testing.assert_allclose(lanczos(identity, 4).eigenvalues, 1.0, rtol=1e-15)
    np.testing.assert_allclose(block_lanczos(identity, 4, block_size=2).eigenvalues, 1.0, rtol=1e-14)
    CallableOperator(lambda v: v.mul_(2.0), 4).matvec(vector)
    assert (vector == 1.0).all()
