"""Lanczos against hessian-eigenthings 1.0.0a5: the same eigenvalues from no more products."""

import numpy as np
import pytest

from eigenserve.model.operators import DenseOperator, lanczos

rival = pytest.importorskip(
    "hessian_eigenthings", reason="needs hessian-eigenthings: pip install --pre hessian-eigenthings==1.0.0a5"
)

SPECTRA = {
    "random": np.random.default_rng(0).normal(size=200),
    "clustered": np.concatenate([np.linspace(0, 1, 190), 2 + 1e-3 * np.arange(10)]),
}


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("family", SPECTRA)
def test_no_more_products_for_the_same_residuals(family, which, with_spectrum, counted):
    operator = DenseOperator(with_spectrum(SPECTRA[family] + 0.5))  # no eigenvalue near 0: theirs has no floor
    ours = counted(operator)
    found = lanczos(ours, 5, max_iter=200, tol=1e-6, which=which, max_basis=200)
    assert found.converged.all()

    def theirs(steps: int):
        other = rival.LambdaOperator(operator.matvec, operator.size, operator.device, operator.dtype)
        return rival.lanczos(other, k=5, max_iter=steps, tol=1e-6, which=which, reorthogonalize=True, seed=0)

    assert not theirs(ours.products - 1).converged.all()
    same = theirs(ours.products)
    # Both residuals are below 1e-6 |lambda|, and errors of Ritz values go with their squares.
    np.testing.assert_allclose(found.eigenvalues, same.eigenvalues, rtol=1e-9)
