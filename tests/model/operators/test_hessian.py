"""Hessians: the explicit matrix, backward passes and the closed form agree."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.operators import lanczos
from eigenserve.model.operators.hessian import GaussNewtonOperator, HessianOperator
from eigenserve.model.operators.spectral_hessian import SpectralHessian
from eigenserve.model.operators.spectral_loss import SpectralLoss, spectral_loss

LOSSES = {
    "squared": lambda scores, target: 0.5 * (scores[:, 0] - target) ** 2,
    "logistic": lambda scores, target: functional.softplus(scores[:, 0]) - (target > 0) * scores[:, 0],
    "softmax": lambda scores, target: functional.cross_entropy(scores, (target > 0).long(), reduction="none"),
}


def small_loss(name: str, rows: int = 40, batch_rows: int = 16) -> SpectralLoss:
    """Two features, one of them categorical, two members of dimension 4: a few dozen parameters."""
    rng = np.random.default_rng(0)
    outputs = 2 if name == "softmax" else 1
    heads, dim = 2 * outputs, 4
    curves = CurveSet(
        (
            Curve(0, numeric=(0,), direction=(1.0,), knots=(-1.0, 0.0, 1.0), extend=True),
            Curve(1, categorical=(1,), num_codes=(3,), missing=True),
        )
    )
    pencil = TridiagonalPencil(
        (Term("a", (0,)), Term("b", (1,))),
        curves,
        rng.normal(size=(heads, dim)),
        rng.normal(size=(heads, dim - 1)),
        rng.normal(size=(curves.num_matrices, heads, dim)),
        rng.normal(size=(curves.num_matrices, heads, dim - 1)),
    )
    ensemble = SpectralEnsemble(pencil, 1, np.array([0.25, 0.75]), rng.normal(size=outputs))
    codes = rng.integers(0, 3, rows).astype(float)
    codes[:3] = np.nan
    coordinates = np.column_stack([rng.normal(size=rows), codes])
    target = rng.normal(size=rows)
    loss = spectral_loss(ensemble, coordinates, target, LOSSES[name], shift=0.3, scale=2.0, batch_rows=batch_rows)
    expected = (ensemble.scores(coordinates) - 0.3) / 2.0
    found = torch.cat([loss.scores(loss.parameters, batch) for batch in loss.batches])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-13)  # the twin scores as the model serves
    return loss


def explicit_hessian(loss: SpectralLoss) -> torch.Tensor:
    def whole(parameters: torch.Tensor) -> torch.Tensor:
        return torch.stack([loss.loss(parameters, batch) for batch in loss.batches]).sum()

    return torch.autograd.functional.hessian(whole, loss.parameters)


@pytest.mark.parametrize("name", LOSSES)
def test_eigenpairs_equal_those_of_the_explicit_hessian(name):
    loss = small_loss(name)
    exact = torch.linalg.eigh(explicit_hessian(loss))
    for which, places in (("LA", [-1, -2, -3]), ("SA", [0, 1, 2])):
        found = lanczos(SpectralHessian(loss), 3, max_iter=500, tol=1e-11, which=which, max_basis=60)
        values, vectors = exact.eigenvalues[places], exact.eigenvectors.T[places]
        torch.testing.assert_close(found.eigenvalues, values, rtol=1e-8, atol=1e-8)
        overlaps = (found.eigenvectors * vectors).sum(dim=1).abs()
        torch.testing.assert_close(overlaps, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_the_closed_form_equals_backward_passes(name):
    loss = small_loss(name)
    vector = torch.randn(len(loss.parameters), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for fast, twin in (
        (SpectralHessian(loss), loss.hessian()),
        (SpectralHessian(loss, gauss_newton=True), loss.gauss_newton()),
    ):
        # Both are exact; sums run in another order.
        torch.testing.assert_close(fast.matvec(vector), twin.matvec(vector), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_batches_of_any_size_give_the_same_product(name):
    vector = torch.ones(len(small_loss(name).parameters), dtype=torch.float64)
    whole = SpectralHessian(small_loss(name, batch_rows=40)).matvec(vector)
    for batch_rows in (7, 39):  # a last batch of 5, and of a single row
        parts = SpectralHessian(small_loss(name, batch_rows=batch_rows)).matvec(vector)
        torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-14)


def test_value_and_slope_are_those_of_the_loss():
    loss = small_loss("softmax")
    parameters = loss.parameters.clone().requires_grad_()
    whole = torch.stack([loss.loss(parameters, batch) for batch in loss.batches]).sum()
    (slope,) = torch.autograd.grad(whole, parameters)
    value, found = SpectralHessian(loss).value_and_slope()
    assert value == pytest.approx(whole.item(), rel=1e-12)
    torch.testing.assert_close(found, slope, rtol=1e-10, atol=1e-13)


def test_pseudo_inverses_that_do_not_fit_are_computed_again(monkeypatch):
    kept = SpectralHessian(small_loss("squared"))
    monkeypatch.setattr("eigenserve.model.operators.spectral_hessian.CACHE_BYTES", 0)
    again = SpectralHessian(small_loss("squared"))
    vector = torch.ones(kept.size, dtype=torch.float64)
    torch.testing.assert_close(again.matvec(vector), kept.matvec(vector), rtol=0, atol=0)
    assert again.smallest_gap == kept.smallest_gap


def test_repeated_eigenvalues_give_a_finite_hessian():
    # Every matrix a multiple of the identity: an additive model, with all eigenvalues equal.
    loss = small_loss("squared")
    tables, _ = loss.tables(loss.parameters)
    tables[..., 4:] = 0.0
    tables[..., 1:4] = tables[..., :1].clone()
    operator = SpectralHessian(loss)
    vector = torch.randn(operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(operator.matvec(vector)).all())


def test_a_quadratic_has_its_matrix_as_hessian():
    matrix = torch.tensor([[2.0, 1.0], [1.0, -3.0]], dtype=torch.float64)
    halves = [0.5 * matrix, 0.5 * matrix]
    operator = HessianOperator(lambda x, half: 0.5 * x @ half @ x, torch.ones(2, dtype=torch.float64), halves)
    vector = torch.tensor([1.0, 5.0], dtype=torch.float64)
    torch.testing.assert_close(operator.matvec(vector), matrix @ vector)


def test_a_linear_loss_has_no_hessian():
    operator = HessianOperator(lambda x, row: (x * row).sum(), torch.ones(3, dtype=torch.float64), [torch.ones(3)])
    assert not operator.matvec(torch.ones(3, dtype=torch.float64)).any()


def test_gauss_newton_of_a_network_equals_the_explicit_product():
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]

    def scores(w, x):
        return torch.tanh(x @ w[None, :3]) @ w[3:].reshape(3, 1)

    weights = torch.linspace(-1, 1, 6, dtype=torch.float64)
    operator = GaussNewtonOperator(scores, lambda s, _: functional.softplus(s).sum(), weights, [x])
    jacobian = torch.autograd.functional.jacobian(lambda w: scores(w, x)[:, 0], weights)
    p = torch.sigmoid(scores(weights, x)[:, 0])
    expected = jacobian.T @ ((p * (1 - p))[:, None] * jacobian)
    found = operator.matmat(torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)
