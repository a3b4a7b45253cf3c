"""Traces and log-determinants: exact where they must be, within their error elsewhere; adapters to SciPy."""

import numpy as np
import pytest
import scipy.sparse.linalg

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch import nn  # noqa: E402

from eigenserve.operators import (  # noqa: E402
    DenseOperator,
    HessianOperator,
    from_scipy,
    hutchpp_trace,
    lanczos,
    log_determinant,
    to_scipy,
    xtrace,
)

ESTIMATORS = {"hutchpp": hutchpp_trace, "xtrace": xtrace}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_trace_of_a_low_rank_operator_is_exact(name, with_spectrum):
    values = np.zeros(200)
    values[:8] = np.linspace(-3, 7, 8)
    found = ESTIMATORS[name](DenseOperator(with_spectrum(values)), 60)
    assert found.value == pytest.approx(values.sum(), abs=1e-10)
    assert found.error < 1e-10
    assert found.iterations <= 60


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("values", [[], [5.0], [5.0, 1.0], [3.0, -3.0, 1e-3], [2.0] * 9], ids=str)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_trace_of_an_operator_of_rank_below_the_probes_is_exact(name, values, dtype):
    diagonal = torch.zeros(100, dtype=dtype)
    diagonal[: len(values)] = torch.tensor(values, dtype=dtype)
    found = ESTIMATORS[name](DenseOperator(diagonal.diag()), 30)
    assert found.value == pytest.approx(sum(values), abs=100 * torch.finfo(dtype).eps)
    assert found.error < 100 * torch.finfo(dtype).eps


def test_the_trace_of_a_network_of_dead_units_is_exact():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    nn.init.constant_(network[0].bias, -100.0)
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    operator = HessianOperator.from_module(network, nn.MSELoss(), [(x, y)])
    assert xtrace(operator, 20).value == pytest.approx(2.0, abs=1e-12)  # of the last bias alone


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_error_of_a_trace_is_what_it_says(name, scale, with_spectrum):
    values = scale / np.arange(1.0, 301.0)
    operator = DenseOperator(with_spectrum(values))
    found = [ESTIMATORS[name](operator, 60, seed) for seed in range(12)]
    misses = np.array([(one.value - values.sum()) / one.error for one in found])
    assert np.abs(misses).max() < 6.0  # Student's t with 19 degrees of freedom: one in a hundred thousand
    assert np.abs([one.value / values.sum() - 1 for one in found]).max() < 0.05


@pytest.mark.parametrize("name", ESTIMATORS)
def test_with_products_enough_the_trace_is_exact(name, with_spectrum):
    values = np.random.default_rng(0).normal(size=15)
    found = ESTIMATORS[name](DenseOperator(with_spectrum(values)), 200)
    assert found.value == pytest.approx(values.sum(), abs=1e-12)


def test_the_log_determinant_agrees_with_a_dense_one(with_spectrum):
    values = np.exp(np.random.default_rng(0).normal(size=150))
    operator = DenseOperator(with_spectrum(values))
    found = log_determinant(operator, probes=40, steps=40)
    assert abs(found.value - np.log(values).sum()) < 5 * found.error
    assert found.error < 4.0
    with pytest.raises(ValueError, match="must be positive definite"):
        log_determinant(DenseOperator(with_spectrum(values - 1.0)))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 10])
def test_the_log_determinant_of_few_different_eigenvalues_is_within_its_error(size):
    # An equicorrelation matrix: runs end after one step or two.
    matrix = 0.5 * torch.eye(size, dtype=torch.float64) + 0.5
    found = log_determinant(DenseOperator(matrix), probes=200)
    exact = float(torch.logdet(matrix))
    assert abs(found.value - exact) < 5 * found.error + 1e-12
    assert found.iterations <= 400


def test_operators_go_to_scipy_and_back(with_spectrum):
    values = np.concatenate([np.linspace(0, 1, 90), [3.0, 5.0, 9.0]])
    ours = DenseOperator(with_spectrum(values))
    theirs = to_scipy(ours)
    top = scipy.sparse.linalg.eigsh(theirs, 3, which="LA", return_eigenvectors=False)
    assert np.sort(top) == pytest.approx([3.0, 5.0, 9.0], rel=1e-10)
    columns = np.random.default_rng(1).normal(size=(93, 2))
    assert theirs @ columns == pytest.approx(ours.matrix.numpy() @ columns, abs=1e-12)
    back = from_scipy(theirs)
    assert lanczos(back, 2, which="LA", tol=1e-9).eigenvalues.tolist() == pytest.approx([9.0, 5.0], rel=1e-10)
    with pytest.raises(ValueError, match=r"must be square.*\(3, 4\)"):
        from_scipy(scipy.sparse.linalg.aslinearoperator(np.zeros((3, 4))))


def test_complex_operators_of_scipy_are_refused():
    matrix = np.array([[2, 1j], [-1j, 2]])
    with pytest.raises(ValueError, match=r"must be real.*got complex128.*\[\[A, -B\], \[B, A\]\]"):
        from_scipy(matrix)
    # Its dtype says real; its products are not.
    liar = scipy.sparse.linalg.LinearOperator((2, 2), matvec=lambda v: matrix @ v, dtype=np.float64)
    with pytest.raises(ValueError, match=r"must be real.*got complex128"):
        lanczos(from_scipy(liar), 1)


def test_mistakes_are_named(with_spectrum):
    operator = DenseOperator(with_spectrum(np.ones(5)))
    with pytest.raises(ValueError, match="products must be at least 6; got 5"):
        hutchpp_trace(operator, 5)
    with pytest.raises(ValueError, match="products must be at least 4; got 3"):
        xtrace(operator, 3)
