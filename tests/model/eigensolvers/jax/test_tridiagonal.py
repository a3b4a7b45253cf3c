"""Eigenpairs in JAX: against dense matrices and finite differences, under every transform, at repeated eigenvalues."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="needs the jax extra")
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from eigenserve.jax import eigh_tridiagonal, eigvalsh_tridiagonal  # noqa: E402


@pytest.fixture(autouse=True)
def float64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def matrices(*shape, seed=0):
    generator = np.random.default_rng(seed)
    diag = generator.normal(size=shape)
    return jnp.asarray(diag), jnp.asarray(generator.normal(size=(*shape[:-1], shape[-1] - 1)))


def dense(diag, off_diag):
    n = diag.shape[-1]
    out = np.zeros((*diag.shape[:-1], n, n))
    i = np.arange(n)
    out[..., i, i] = diag
    out[..., i[1:], i[:-1]] = out[..., i[:-1], i[1:]] = off_diag
    return out


def projector(diag, off_diag, eig_idx=2):
    """An expression of an eigenvector that its sign does not change."""
    values, vectors = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=1)
    weights = jnp.arange(vectors.shape[-1]) * 0.3 - 0.5
    return values[..., 1] + (vectors[..., 0, :] @ weights) ** 2 + (vectors[..., 2, :] @ weights) ** 2


DERIVATIVES = jax.jit(lambda d, e: (jax.grad(projector, (0, 1))(d, e), jax.hessian(projector)(d, e)))


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_eigenpairs_are_those_of_dense_matrices(n):
    diag, off_diag = matrices(3, 4, n)
    k = n // 2
    truth = np.linalg.eigvalsh(dense(diag, off_diag))[..., k]
    found = eigh_tridiagonal(diag, off_diag, eig_idx=k)
    assert found.eigenvalues.shape == (3, 4, 1)
    assert found.eigenvectors.shape == (3, 4, 1, n)
    # Both are right to rounding of the norm, below 10.
    np.testing.assert_allclose(found.eigenvalues[..., 0], truth, atol=1e-13)
    np.testing.assert_allclose(eigvalsh_tridiagonal(diag, off_diag, eig_idx=k), truth, atol=1e-13)
    image = dense(diag, off_diag) @ np.asarray(found.eigenvectors[..., 0, :, None])
    np.testing.assert_allclose(image[..., 0], truth[..., None] * found.eigenvectors[..., 0, :], atol=1e-13)


def test_values_and_gradients_are_the_same_compiled_mapped_and_plain():
    diag, off_diag = matrices(5, 6)

    def one(d, e):
        return eigvalsh_tridiagonal(d, e, eig_idx=3)

    plain = jnp.stack([one(d, e) for d, e in zip(diag, off_diag, strict=True)])
    for call in (jax.vmap(one), jax.jit(jax.vmap(one)), jax.vmap(jax.jit(one)), one, jax.jit(one)):
        np.testing.assert_array_equal(call(diag, off_diag), plain)
    np.testing.assert_array_equal(jax.vmap(one, (1, None))(diag.T, off_diag[0]), [one(d, off_diag[0]) for d in diag])
    _, vectors = eigh_tridiagonal(diag, off_diag, eig_idx=3)
    by_diag, by_off = jax.jit(jax.vmap(jax.grad(one, (0, 1))))(diag, off_diag)
    np.testing.assert_allclose(by_diag, vectors[:, 0] ** 2, atol=1e-15)
    np.testing.assert_allclose(by_off, 2 * vectors[:, 0, 1:] * vectors[:, 0, :-1], atol=1e-15)


def test_derivatives_are_finite_differences_in_both_modes_and_the_second_order():
    diag, off_diag = matrices(6, seed=3)
    # The default steps of check_grads give finite differences seven digits.
    check_grads(jax.jit(projector), (diag, off_diag), order=1, rtol=1e-5)
    gradient = jax.jit(jax.grad(projector))
    step = 1e-5
    differences = [
        (gradient(diag + step * e, off_diag) - gradient(diag - step * e, off_diag)) / (2 * step) for e in jnp.eye(6)
    ]
    for hessian in (jax.hessian(projector), jax.jacrev(jax.jacrev(projector))):
        # The error of these differences goes with the square of the step over the gaps, 0.1 and more.
        np.testing.assert_allclose(jax.jit(hessian)(diag, off_diag), differences, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("diag", "off_diag"),
    [
        (np.ones(5), np.zeros(4)),
        (np.array([1.0, 2.0, 1.0, 2.0, 1.0]), np.zeros(4)),
        (np.zeros(5), np.zeros(4)),
        (np.arange(5.0), np.array([1.0, 0.0, 1e-200, 1.0])),
    ],
)
def test_derivatives_are_finite_and_those_of_torch_where_eigenvalues_agree(diag, off_diag):
    by_value = jax.jit(jax.grad(lambda d: eigvalsh_tridiagonal(d, off_diag, eig_idx=2)))(jnp.asarray(diag))
    np.testing.assert_allclose(by_value.sum(), 1.0, atol=1e-14)  # of v_i^2
    by_vector, curvature = DERIVATIVES(jnp.asarray(diag), jnp.asarray(off_diag))
    assert all(np.isfinite(part).all() for part in (*by_vector, curvature))
    torch = pytest.importorskip("torch", reason="compares with the torch extra")
    from eigenserve.torch import eigh_tridiagonal as torch_pairs

    d, e = (torch.tensor(a, requires_grad=True) for a in (diag, off_diag))
    pairs = torch_pairs(d, e, eig_idx=2, window=1)
    weights = torch.arange(5) * 0.3 - 0.5
    value = pairs.eigenvalues[1] + ((pairs.eigenvectors[[0, 2]] @ weights.double()) ** 2).sum()
    for ours, theirs in zip(by_vector, torch.autograd.grad(value, (d, e)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


def test_float32_is_solved_in_float64_and_rounded_once():
    diag, off_diag = matrices(4, 9)
    narrow = diag.astype(jnp.float32), off_diag.astype(jnp.float32)
    values = eigvalsh_tridiagonal(*narrow, eig_idx=4)
    assert values.dtype == jnp.float32
    wide = eigvalsh_tridiagonal(*(a.astype(jnp.float64) for a in narrow), eig_idx=4)
    np.testing.assert_array_equal(values, wide.astype(jnp.float32))
    gradient = jax.jit(jax.grad(projector))
    ours, truth = gradient(narrow[0][0], narrow[1][0]), gradient(diag[0], off_diag[0])
    np.testing.assert_allclose(ours, truth, rtol=1e-4, atol=1e-5)  # float32 has seven digits; gaps are above 0.1


def test_a_large_batch_goes_through_a_compiled_gradient():
    diag, off_diag = matrices(20_000, 9)
    step = jax.jit(jax.value_and_grad(lambda d: (eigvalsh_tridiagonal(d, off_diag, eig_idx=4) ** 2).sum()))
    for _ in range(3):
        value, slope = step(diag)
    assert np.isfinite(value)
    # Multiples of the identity move eigenvalues by as much.
    np.testing.assert_allclose(slope.sum(), 2 * eigvalsh_tridiagonal(diag, off_diag, eig_idx=4).sum(), rtol=1e-9)


def test_batch_axes_broadcast_and_empty_batches_stay_empty():
    diag, off_diag = matrices(3, 1, 5)[0], matrices(4, 5)[1]
    assert eigvalsh_tridiagonal(diag, off_diag, eig_idx=0).shape == (3, 4)
    assert eigh_tridiagonal(jnp.zeros((0, 5)), jnp.zeros((0, 4)), eig_idx=0).eigenvectors.shape == (0, 1, 5)
    assert eigvalsh_tridiagonal([2, 2], [1], eig_idx=0) == 1.0


@pytest.mark.parametrize(
    ("diag", "off_diag", "options", "text"),
    [
        (np.ones(3), np.ones(3), {"eig_idx": 0}, "off_diag (..., n - 1); got (3,) and (3,)"),
        (np.ones(3), np.ones(2), {"eig_idx": 3}, "eig_idx must be in [0, 3); got 3"),
        (np.ones(3), np.ones(2), {"eig_idx": 0, "window": -1}, "window must be at least 0; got -1"),
        (np.ones((2, 3)), np.ones((4, 2)), {"eig_idx": 0}, "must broadcast; got (2, 3) and (4, 2)"),
        (np.ones(3) * 1j, np.ones(2), {"eig_idx": 0}, "must be real; got complex128 and float64"),
    ],
)
def test_what_is_wrong_is_said(diag, off_diag, options, text):
    with pytest.raises(ValueError) as error:
        eigh_tridiagonal(diag, off_diag, **options)
    assert text in str(error.value)
