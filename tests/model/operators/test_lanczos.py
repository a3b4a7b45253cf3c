"""Lanczos against dense solvers, ARPACK and its own promises."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from eigenserve.model.operators import CallableOperator, DenseOperator, SparseOperator, lanczos

SPECTRA = {
    "random": np.random.default_rng(0).normal(size=200),
    "clustered": np.concatenate([np.linspace(0, 1, 190), 5 + 1e-3 * np.arange(10)]),
    "graded": 10.0 ** -np.arange(0, 10, 0.05),
    "huge": 1e150 * np.random.default_rng(1).normal(size=200),
    "tiny": 1e-150 * np.random.default_rng(2).normal(size=200),
    "one sided": -np.random.default_rng(3).exponential(size=200),
}


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("family", SPECTRA)
def test_finds_the_most_wanted_eigenpairs_in_order(family, which, with_spectrum):
    if family == "graded" and which == "SA":
        pytest.skip("the small end of a graded spectrum is for shift-invert: its relative gaps are far below eps")
    matrix = with_spectrum(SPECTRA[family])
    found = lanczos(DenseOperator(matrix), 5, max_iter=2000, tol=1e-9, which=which)
    exact = SPECTRA[family]
    key = {"LM": -np.abs(exact), "LA": -exact, "SA": exact}[which]
    exact = exact[np.argsort(key)][:5]
    assert found.converged.all()
    # The error of a Ritz value is at most its residual, plus rounding of the matrix itself.
    slack = 1e-9 * np.abs(exact) + 1e-13 * np.abs(SPECTRA[family]).max()
    assert (np.abs(found.eigenvalues.numpy() - exact) <= slack).all()


@pytest.mark.parametrize("max_basis", [20, 300])
def test_residuals_are_those_of_the_pairs(max_basis, with_spectrum):
    matrix = with_spectrum(np.random.default_rng(0).normal(size=300))
    found = lanczos(DenseOperator(matrix), 4, max_iter=1000, tol=1e-6, max_basis=max_basis)
    vectors, values = found.eigenvectors, found.eigenvalues
    errors = torch.linalg.vector_norm(vectors @ matrix - values[:, None] * vectors, dim=1)
    # |beta_m s_mi| equals the residual up to rounding of products of norm 3.
    torch.testing.assert_close(found.residuals, errors, rtol=1e-4, atol=1e-13)
    # Orthogonality of the basis to rounding carries over to the Ritz vectors.
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_residuals_do_not_claim_more_than_rounding_allows():
    spectrum = torch.from_numpy(np.append(np.linspace(0, 1, 500), 1e6))
    found = lanczos(CallableOperator(lambda v: spectrum * v, 501), 1, max_iter=40, tol=0.0)
    # The estimate is below 1e-100 by then; a product of norm 1e6 is rounded to 1e-10.
    assert found.residuals[0] >= 2.2e-16 * 1e6 * 0.99


def test_agrees_with_arpack_on_a_sparse_matrix():
    draw = scipy.sparse.random_array((2000, 2000), density=0.002, rng=np.random.default_rng(0))
    matrix = (draw + draw.T).tocsr()
    found = lanczos(SparseOperator(matrix), 6, max_iter=500, tol=1e-8)
    theirs = scipy.sparse.linalg.eigsh(matrix, 6, which="LM", tol=1e-12, return_eigenvectors=False)
    ours = np.sort(found.eigenvalues.numpy())
    np.testing.assert_allclose(ours, np.sort(theirs), rtol=1e-8)


def test_a_bounded_basis_costs_few_more_products(with_spectrum, counted):
    matrix = with_spectrum(np.random.default_rng(0).normal(size=400))
    whole, bounded = counted(DenseOperator(matrix)), counted(DenseOperator(matrix))
    lanczos(whole, 5, max_iter=400, tol=1e-8, max_basis=400)
    found = lanczos(bounded, 5, max_iter=400, tol=1e-8, max_basis=30)
    assert found.converged.all()
    assert found.iterations == bounded.products
    # Measured: 81 against 98; a restart forgets directions that matter little.
    assert bounded.products <= 1.5 * whole.products


def test_stops_at_the_first_step_that_satisfies_the_tolerance(with_spectrum):
    operator = DenseOperator(with_spectrum(np.random.default_rng(0).normal(size=200)))
    found = lanczos(operator, 3, tol=1e-6, max_iter=200, max_basis=200)
    earlier = lanczos(operator, 3, tol=1e-6, max_iter=found.iterations - 1, max_basis=200)
    assert found.converged.all()
    assert not earlier.converged.all()


def test_ghosts_appear_without_reorthogonalization_and_not_with_it():
    # One far eigenvalue converges within a few steps; what follows is rounding, which grows back into it.
    spectrum = np.append(np.linspace(0, 1, 500), 100.0)
    operator = CallableOperator(lambda v: torch.from_numpy(spectrum) * v, 501)
    bare = lanczos(operator, 3, max_iter=60, tol=0.0, which="LA", reorthogonalize=False)
    whole = lanczos(operator, 3, max_iter=60, tol=0.0, which="LA", reorthogonalize=True, max_basis=60)
    # The matrix has one eigenvalue above 1, so a second 100 (to rounding) is a ghost.
    assert (np.abs(bare.eigenvalues.numpy() - 100.0) < 1e-9).sum() > 1
    assert (np.abs(whole.eigenvalues.numpy() - 100.0) < 1e-9).sum() == 1
    # Nor are its vectors orthonormal: those of ghosts lie in the one-dimensional eigenspace.
    gram = bare.eigenvectors @ bare.eigenvectors.T
    assert float((gram - torch.eye(3, dtype=torch.float64)).abs().max()) > 0.1


def test_the_default_is_full_reorthogonalization():
    spectrum = torch.from_numpy(np.append(np.linspace(0, 1, 500), 100.0))
    found = lanczos(CallableOperator(lambda v: spectrum * v, 501), 3, max_iter=400, tol=1e-10, which="LA")
    assert (np.abs(found.eigenvalues.numpy() - 100.0) < 1e-9).sum() == 1


def test_the_seed_decides_and_the_ambient_generator_stays(with_spectrum):
    operator = DenseOperator(with_spectrum(np.random.default_rng(0).normal(size=100)))
    state = torch.random.get_rng_state()
    first, again, other = (lanczos(operator, 2, max_iter=10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.eigenvectors, again.eigenvectors)
    assert not torch.equal(first.residuals, other.residuals)
    assert torch.equal(state, torch.random.get_rng_state())


def test_an_invariant_space_goes_on_in_another_direction():
    found = lanczos(DenseOperator(2 * torch.eye(7, dtype=torch.float64)), 7)
    torch.testing.assert_close(found.eigenvalues, torch.full((7,), 2.0, dtype=torch.float64))
    product = found.eigenvectors @ found.eigenvectors.T
    torch.testing.assert_close(product, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-13)


def test_the_zero_matrix_has_zero_eigenvalues():
    found = lanczos(DenseOperator(torch.zeros(5, 5, dtype=torch.float64)), 2)
    assert found.converged.all()
    assert (found.eigenvalues == 0).all()


@pytest.mark.parametrize("size", [1, 2])
def test_the_smallest_operators(size):
    values = torch.tensor([3.0, -4.0], dtype=torch.float64)[:size]
    found = lanczos(DenseOperator(torch.diag(values)), size, which="SA")
    torch.testing.assert_close(found.eigenvalues, values.sort().values)


def test_float32_operators_give_float32_results(with_spectrum):
    matrix = with_spectrum(np.arange(100.0)).float()
    found = lanczos(DenseOperator((matrix + matrix.T) / 2), 3, max_iter=100, tol=1e-4, max_basis=100)
    assert found.eigenvalues.dtype == torch.float32
    # float32 products of norm 99: eps ||A|| is 1e-5.
    np.testing.assert_allclose(found.eigenvalues.numpy(), [99, 98, 97], atol=1e-3)


def test_what_did_not_converge_says_so(with_spectrum):
    operator = DenseOperator(with_spectrum(np.random.default_rng(0).normal(size=200)))
    found = lanczos(operator, 5, max_iter=8, tol=1e-10)
    assert not found.converged.any()
    assert found.iterations == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be"),
        ({"k": 11}, "k must be"),
        ({"k": 3, "max_iter": 2}, "max_iter must be"),
        ({"k": 3, "tol": -1.0}, "tol must be"),
        ({"k": 3, "which": "SM"}, "which must be"),
        ({"k": 3, "max_basis": 4}, "max_basis must be"),
        ({"k": 3, "max_basis": 6, "max_iter": 9, "reorthogonalize": False}, "restarts need"),
    ],
)
def test_a_bad_request_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        lanczos(DenseOperator(torch.eye(10, dtype=torch.float64)), **change)


def test_products_that_are_not_finite_are_refused():
    operator = CallableOperator(lambda v: v * torch.nan, 5)
    with pytest.raises(ValueError, match="finite"):
        lanczos(operator, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_basis_can_stay_off_the_device(with_spectrum):
    matrix = with_spectrum(np.arange(300.0))
    here = lanczos(DenseOperator(matrix), 4, max_iter=200)
    there = lanczos(DenseOperator(matrix.cuda()), 4, max_iter=200, basis_device="cpu")
    assert there.eigenvectors.device.type == "cpu"
    # The same start on either device; products differ by rounding alone.
    torch.testing.assert_close(there.eigenvalues, here.eigenvalues, rtol=1e-9, atol=0)
