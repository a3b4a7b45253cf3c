"""Gradients of the general eigendecomposition, where they exist and what stands in where they do not."""

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck

from eigenserve.model.autograd import eig


def _random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    draw = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return draw.requires_grad_()


def _matrix(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (5, 5), (2, 3, 3)])
def test_first_and_second_derivatives(shape, dtype):
    matrix = _random(*shape, dtype=dtype)
    assert gradcheck(lambda a: eig(a, gauge="fixed"), (matrix,))
    assert gradgradcheck(lambda a: eig(a, gauge="fixed"), (matrix,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_agrees_with_torch_where_that_is_defined(dtype):
    matrix = _random(3, 6, 6, dtype=dtype)

    def loss(pair):
        values, vectors = pair
        return (values.real**3).sum() + (values * values).imag.sum() + (vectors.abs() ** 4).sum()

    ours, theirs = eig(matrix), torch.linalg.eig(matrix)
    torch.testing.assert_close(ours.eigenvalues, theirs.eigenvalues, rtol=0, atol=0)
    # Both are exact; eigenvector matrices of random matrices have conditions of a few hundred.
    torch.testing.assert_close(grad(loss(ours), matrix), grad(loss(theirs), matrix), rtol=1e-9, atol=1e-11)


def test_eigenvectors_are_unit_with_a_real_positive_largest_entry():
    vectors = eig(_random(4, 7, 7).detach()).eigenvectors
    torch.testing.assert_close(torch.linalg.vector_norm(vectors, dim=-2), torch.ones(4, 7, dtype=torch.float64))
    pivot = vectors.gather(-2, vectors.abs().argmax(dim=-2, keepdim=True))
    assert float(pivot.imag.abs().max()) < 1e-15
    assert bool((pivot.real > 0).all())


DEFECTIVE = {
    "a Jordan block": [[1.0, 1.0], [0.0, 1.0]],
    "a Jordan block next to another eigenvalue": [[2.0, 1.0, 0.3], [0.0, 2.0, -0.7], [0.0, 0.0, 5.0]],
    "the zero matrix": [[0.0, 0.0], [0.0, 0.0]],
    "a double eigenvalue": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]],
    "two Jordan blocks": [[1.0, 1, 0, 0.5], [0, 1, 0.2, 0], [0, 0, -2, 1], [0, 0, 0, -2]],
}


def _turned(rows, seed: int) -> torch.Tensor:
    """A similar matrix, in which nothing is exact any more."""
    matrix = _matrix(rows).detach()
    if seed == 0:
        return matrix.requires_grad_()
    turn = torch.linalg.qr(_random(len(matrix), len(matrix), seed=seed).detach()).Q
    return (turn @ matrix @ turn.T).requires_grad_()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", DEFECTIVE)
def test_all_derivatives_are_finite_where_eigenvalues_coincide(name, seed):
    matrix = _turned(DEFECTIVE[name], seed)
    values, vectors = eig(matrix)
    loss = (values.real**2).sum() + values.imag.sum() + (vectors.abs() ** 4).sum()
    (slope,) = grad(loss, matrix, create_graph=True)
    assert bool(torch.isfinite(slope).all())
    if slope.requires_grad:
        (second,) = grad(slope.square().sum(), matrix)
        assert bool(torch.isfinite(second).all())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", DEFECTIVE)
def test_the_sum_of_all_eigenvalues_has_the_trace_s_gradient(name, seed):
    matrix = _turned(DEFECTIVE[name], seed)
    (slope,) = grad(eig(matrix).eigenvalues.real.sum(), matrix)
    # LAPACK splits a hidden double eigenvalue by sqrt(eps); the mean of the halves keeps more digits.
    torch.testing.assert_close(slope, torch.eye(len(matrix), dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["the zero matrix", "a double eigenvalue"])
def test_symmetric_functions_of_repeated_eigenvalues_get_their_gradient(name, seed):
    # The sum of squares of all eigenvalues is tr(A A), with gradient 2 A'.
    matrix = _turned(DEFECTIVE[name], seed)
    (slope,) = grad((eig(matrix).eigenvalues ** 2).real.sum(), matrix)
    torch.testing.assert_close(slope, 2 * matrix.detach().T, rtol=0, atol=1e-12)


def test_each_eigenvalue_of_a_cluster_moves_like_its_mean():
    matrix = _turned(DEFECTIVE["a Jordan block next to another eigenvalue"], 1)
    values = eig(matrix).eigenvalues
    pair = [i for i in range(3) if abs(values[i].item() - 2) < 1]
    (single,) = [i for i in range(3) if i not in pair]
    first, second = (grad(values[i].real, matrix, retain_graph=True)[0] for i in pair)
    (other,) = grad(values[single].real, matrix)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    # All eigenvalues add up to the trace.
    torch.testing.assert_close(first + second + other, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-7)


def test_second_derivatives_of_a_defective_cluster_complete_those_of_the_rest():
    matrix = _turned(DEFECTIVE["a Jordan block next to another eigenvalue"], 1)

    def hessian(pick):
        return torch.autograd.functional.hessian(lambda a: pick(eig(a).eigenvalues.real), matrix.detach())

    cluster = hessian(lambda values: values[values < 3.5].sum())
    other = hessian(lambda values: values[values > 3.5].sum())
    # The trace is linear.
    torch.testing.assert_close(cluster, -other, rtol=0, atol=1e-6)


def test_the_subspace_of_a_cluster_gets_its_gradient():
    # A symmetric matrix with a double eigenvalue: its projector's derivative has only the gap to the rest.
    matrix = _matrix([[1.0, 0, 0], [0, 1, 0], [0, 0, 3]])
    vectors = eig(matrix).eigenvectors.real
    projector = vectors[:, :2] @ vectors[:, :2].T
    direction = torch.tensor([[0.0, 0, 1], [0, 0, 2], [1, 2, 0]], dtype=torch.float64)
    (slope,) = grad((projector * direction).sum(), matrix)
    # dP = - (P dA Q + Q dA P) / 2 for projectors P on the pair and Q on the other, gap 2.
    expected = -direction / 2
    torch.testing.assert_close((slope + slope.T) / 2, expected, rtol=0, atol=1e-12)


def test_a_wide_enough_reach_joins_a_triple_that_rounding_splits():
    matrix = _turned([[1.0, 1, 0], [0, 1, 1], [0, 0, 1]], 1)  # eps^(1/3) = 6e-6 apart
    (slope,) = grad(eig(matrix, coincide=1e-4).eigenvalues[0].real, matrix)
    torch.testing.assert_close(slope, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=1e-9)


def test_a_loss_that_depends_on_phases_is_refused_unless_they_are_fixed():
    matrix = _random(4, 4, dtype=torch.complex128)
    weights = _random(4, 4, dtype=torch.complex128, seed=1).detach()
    with pytest.raises(RuntimeError, match="phase"):
        (eig(matrix).eigenvectors * weights).real.sum().backward()
    (eig(matrix, gauge="fixed").eigenvectors * weights).real.sum().backward()
    assert bool(torch.isfinite(torch.view_as_real(matrix.grad)).all())


def test_single_precision_stays_single():
    matrix = _random(4, 4).detach().float().requires_grad_()
    values, _ = eig(matrix)
    assert values.dtype == torch.complex64
    (slope,) = grad(values.real.sum(), matrix)
    torch.testing.assert_close(slope, torch.eye(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "message"), [(torch.zeros(2, 3), "n, n"), (torch.zeros(2, 2, dtype=torch.int64), "floating")]
)
def test_a_value_that_is_not_a_square_matrix_of_numbers_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        eig(bad)
    with pytest.raises(ValueError, match="gauge"):
        eig(torch.eye(2), gauge="free")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_gives_the_same_gradients():
    matrix = _random(3, 5, 5)
    there = matrix.detach().cuda().requires_grad_()
    (ours,) = grad((eig(matrix).eigenvalues.real ** 2).sum(), matrix)
    (theirs,) = grad((eig(there).eigenvalues.real ** 2).sum(), there)
    torch.testing.assert_close(theirs.cpu(), ours, rtol=1e-9, atol=1e-11)
