"""Derivatives of eigenpairs: by finite differences, at repeated eigenvalues, and smoothed."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from scipy.optimize import brentq  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from eigenserve.model import eigensolvers  # noqa: E402
from eigenserve.model.autograd import (  # noqa: E402
    derivatives,
    eigh_tridiagonal,
    eigvalsh_tridiagonal,
    library,
    smoothed_eigvalsh_tridiagonal,
)


def matrices(count, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(count, size, dtype=torch.float64, generator=generator).requires_grad_() for size in (n, n - 1)
    )


@pytest.mark.parametrize("n", [1, 2, 5])
def test_eigenvalues_have_right_first_and_second_derivatives(n):
    diag, off_diag = matrices(3, n)
    for eig_idx in range(n):

        def value(d, e, eig_idx=eig_idx):
            return eigvalsh_tridiagonal(d, e, eig_idx=eig_idx)

        assert gradcheck(value, (diag, off_diag))
        assert gradgradcheck(value, (diag, off_diag))


def test_windows_of_eigenpairs_have_right_first_and_second_derivatives():
    diag, off_diag = matrices(3, 5)

    def signless(d, e):
        result = eigh_tridiagonal(d, e, eig_idx=1, window=2)
        v = result.eigenvectors
        return (
            result.eigenvalues[..., 1:],
            v**2,
            v[..., 1:] * v[..., :-1],
            v[..., 1:, :] * v[..., 1:, ::2].sum(-1)[..., None],
        )

    assert gradcheck(signless, (diag, off_diag))
    assert gradgradcheck(signless, (diag, off_diag))


def test_values_are_those_of_the_array_solver():
    diag, off_diag = matrices(6, 9)
    ours = eigh_tridiagonal(diag.reshape(2, 3, 9), off_diag.reshape(2, 3, 8), eig_idx=4, window=1)
    theirs = eigensolvers.eigh_tridiagonal(diag.detach().numpy(), off_diag.detach().numpy(), eig_idx=4, window=1)
    assert np.array_equal(ours.eigenvalues.detach().numpy().reshape(6, 3), theirs.eigenvalues)
    assert np.array_equal(ours.eigenvectors.detach().numpy().reshape(6, 3, 9), theirs.eigenvectors)


def test_single_precision_and_broadcasting():
    diag = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    off_diag = torch.ones(4, requires_grad=True)
    value = eigvalsh_tridiagonal(diag, off_diag, eig_idx=2)
    value.sum().backward()
    assert value.dtype == diag.grad.dtype == off_diag.grad.dtype == torch.float32
    assert value.shape == (4,)
    assert off_diag.grad.shape == (4,)
    # The trace of v v' is one, in each of four matrices.
    assert diag.grad.sum(1).tolist() == pytest.approx([1] * 4, rel=1e-6)


@pytest.mark.parametrize(
    ("diag", "off_diag"),
    [
        ([1.0, 1, 1, 1], [0.0, 0, 0]),
        ([0.0, 0, 0, 0], [0.0, 0, 0]),
        ([1.0, 2, 1, 2], [0.5, 0.0, 0.5]),
        ([3.0, 1, 1, 3], [0.0, 1e-17, 0.0]),
        ([1.0, 1, 1, 1], [1.0, 1e-200, 1.0]),
    ],
)
def test_gradients_at_repeated_eigenvalues_are_clarke_subgradients(diag, off_diag):
    """Every element v v' of the subdifferential has v in the eigenspace: checked by projecting onto it."""
    d, e = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (diag, off_diag))
    dense = np.diag(diag) + np.diag(off_diag, 1) + np.diag(off_diag, -1)
    values, vectors = np.linalg.eigh(dense)
    for eig_idx in range(4):
        result = eigh_tridiagonal(d, e, eig_idx=eig_idx, window=1)
        grad_diag, grad_off = torch.autograd.grad(result.eigenvalues[0, 1], (d, e), retain_graph=True)
        v = result.eigenvectors[0, 1].detach().numpy()
        space = vectors[:, np.abs(values - values[eig_idx]) < 1e-12]
        # Rounding turns v out of the eigenspace by a few eps over the gap to the rest of the spectrum, here
        # 1/2.
        assert np.linalg.norm(v - space @ (space.T @ v)) < 1e-14
        assert grad_diag[0].numpy() == pytest.approx(v * v, abs=1e-15)
        assert grad_off[0].numpy() == pytest.approx(2 * v[1:] * v[:-1], abs=1e-15)
        assert grad_diag.sum().item() == pytest.approx(1, abs=1e-14)
        # Derivatives that divide by a gap are damped to something finite.
        weights = torch.arange(1.0, 5, dtype=torch.float64)
        first = torch.autograd.grad((result.eigenvectors[0, 1] * weights).sum(), (d, e), create_graph=True)
        second = torch.autograd.grad(sum(g.sum() for g in first), (d, e))
        assert all(torch.isfinite(g).all() for g in (*first, *second))


def test_the_pseudo_inverse_agrees_with_its_dense_twin_and_with_numpy():
    diag, off_diag = (t.detach() for t in matrices(5, 7))
    off_diag[4] = 0
    result = eigh_tridiagonal(diag, off_diag, eig_idx=3, window=1)
    values, vectors = result.eigenvalues, result.eigenvectors
    rhs = torch.randn(5, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = library.pseudo_inverse(diag, off_diag, values, vectors, rhs)
    twin = derivatives.pseudo_inverse_dense(diag, off_diag, values, vectors, rhs)
    for j in range(5):
        dense = np.diag(diag[j]) + np.diag(off_diag[j], 1) + np.diag(off_diag[j], -1)
        for place in range(3):
            # delta^2 / gap^2 = 1e-12 of damping at a gap of 1e-2, and eps / gap^2 of rounding.
            pinv = np.linalg.pinv(dense - values[j, place].item() * np.eye(7), rcond=1e-10)
            assert ours[j, place].numpy() == pytest.approx(pinv @ rhs[j, place].numpy(), abs=1e-7)
            assert ours[j, place].numpy() == pytest.approx(twin[j, place].numpy(), abs=1e-9)


def smoothed_by_full_spectrum(diag, off_diag, eig_idx, smoothing):
    """The definition: two concave quadratic programs over all eigenvalues, solved by root finding."""
    values = np.linalg.eigvalsh(np.diag(diag) + np.diag(off_diag, 1) + np.diag(off_diag, -1))

    def envelope(rank):
        def excess(shift):
            return np.clip(values / smoothing + shift, 0, 1).sum() - rank

        if rank == 0:
            return 0.0
        reach = np.abs(values).max() / smoothing + 2
        q = np.clip(values / smoothing + brentq(excess, -reach, reach, xtol=1e-15), 0, 1)
        return (q * values).sum() - smoothing / 2 * (q * q).sum()

    n = len(values)
    return envelope(n - eig_idx) - envelope(n - eig_idx - 1)


@pytest.mark.parametrize("smoothing", [1e-3, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("n", [1, 2, 9, 20])
def test_smoothed_eigenvalues_agree_with_the_full_spectrum(n, smoothing):
    diag, off_diag = (t.detach() for t in matrices(5, n))
    diag[3], off_diag[3] = 1.5, 0
    for eig_idx in range(n):
        ours = smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=eig_idx, smoothing=smoothing)
        truth = [smoothed_by_full_spectrum(diag[j], off_diag[j], eig_idx, smoothing) for j in range(5)]
        # The reference sums r values and quadratic terms and cancels them: eps times their number and size.
        assert ours.numpy() == pytest.approx(truth, abs=1e-11 * max(1, smoothing * n))


@pytest.mark.parametrize("smoothing", [0.1, 1.0, 10.0])
def test_smoothed_eigenvalues_have_right_first_and_second_derivatives(smoothing):
    def value(d, e):
        return smoothed_eigvalsh_tridiagonal(d, e, eig_idx=2, smoothing=smoothing)

    assert gradcheck(value, matrices(4, 6))
    assert gradgradcheck(value, matrices(4, 6))


def test_smoothing_shares_the_gradient_among_equal_eigenvalues():
    diag = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    off_diag = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=2, smoothing=0.5).sum().backward()
    assert diag.grad[0].tolist() == pytest.approx([0.2] * 5)
    assert off_diag.grad[0].tolist() == pytest.approx([0] * 4, abs=1e-15)


def test_not_a_number_passes_through_smoothing():
    diag, off_diag = (t.detach() for t in matrices(3, 9))
    clean = smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=4, smoothing=1.0)
    diag[1, 0] = torch.nan
    value = smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=4, smoothing=1.0)
    assert torch.isnan(value).tolist() == [False, True, False]
    assert torch.equal(value[[0, 2]], clean[[0, 2]])


def test_mistakes_are_named():
    diag, off_diag = matrices(2, 3)
    with pytest.raises(ValueError, match=r"eig_idx must be in \[0, 3\); got 3"):
        eigvalsh_tridiagonal(diag, off_diag, eig_idx=3)
    with pytest.raises(ValueError, match="off_diag"):
        eigvalsh_tridiagonal(diag, diag, eig_idx=0)
    with pytest.raises(ValueError, match="smoothing must be positive and finite; got 0"):
        smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=0, smoothing=0)
    with pytest.raises(ValueError, match="floating"):
        eigvalsh_tridiagonal(diag.long(), off_diag, eig_idx=0)
    with pytest.raises(ValueError, match="must broadcast"):
        eigvalsh_tridiagonal(diag, off_diag[:1].expand(5, 2), eig_idx=0)
    with pytest.raises(TypeError, match="must be tensors; got ndarray"):
        eigvalsh_tridiagonal(diag.detach().numpy(), off_diag, eig_idx=0)
    with pytest.raises(TypeError, match="integer"):
        eigvalsh_tridiagonal(diag, off_diag, eig_idx=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_tensors_have_the_same_values_and_derivatives():
    on_cpu = matrices(40, 9)
    on_gpu = tuple(t.detach().cuda().requires_grad_() for t in on_cpu)
    results = []
    for diag, off_diag in (on_cpu, on_gpu):
        result = eigh_tridiagonal(diag, off_diag, eig_idx=4, window=1)
        first = torch.autograd.grad(
            (result.eigenvalues**2).sum() + (result.eigenvectors**4).sum(),
            (diag, off_diag),
            create_graph=True,
        )
        second = torch.autograd.grad(sum((g**2).sum() for g in first), (diag, off_diag))
        results.append([result.eigenvalues, *first, *second])
    for ours, theirs in zip(*results, strict=True):
        # Second derivatives divide by squared gaps, here above 1e-2, what rounding and damping leave.
        assert torch.allclose(ours, theirs.cpu(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [1e-15, 1e-16, 1e-100])
def test_a_tiny_smoothing_gives_the_eigenvalue_itself(smoothing):
    diag, off_diag = matrices(8, 5)
    sharp = eigvalsh_tridiagonal(diag, off_diag, eig_idx=2)
    # The envelope moves an eigenvalue by about the smoothing; what is left is rounding.
    torch.testing.assert_close(
        smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=2, smoothing=smoothing), sharp, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-300, 1e300])
def test_derivatives_of_vectors_are_numbers_at_every_scale(scale):
    generator = torch.Generator().manual_seed(0)
    plain = [torch.randint(1, 9, (3, m), generator=generator).double() for m in (6, 5)]

    def gradients(factor):
        d, e = (t.clone().mul_(factor).requires_grad_() for t in plain)
        vectors = eigh_tridiagonal(d, e, eig_idx=2).eigenvectors
        return torch.autograd.grad((vectors**4).sum(), (d, e))

    unscaled = gradients(1.0)
    for ours, truth in zip(gradients(scale), unscaled, strict=True):
        assert torch.isfinite(ours).all()
        if scale >= 1e-300:  # below, derivatives are too large for a number
            torch.testing.assert_close(ours * scale, truth, rtol=1e-6, atol=1e-9)


def test_values_of_eigenvalues_and_of_eigenpairs_have_the_same_gradients():
    d, e = (torch.randn(70, m, dtype=torch.float64, requires_grad=True) for m in (9, 8))
    weights = torch.linspace(-1.0, 1.0, 70, dtype=torch.float64)
    alone = torch.autograd.grad((weights * eigvalsh_tridiagonal(d, e, eig_idx=4)).sum(), (d, e))
    pairs = torch.autograd.grad((weights * eigh_tridiagonal(d, e, eig_idx=4).eigenvalues[:, 0]).sum(), (d, e))
    for ours, truth in zip(alone, pairs, strict=True):
        assert torch.equal(ours, truth)
