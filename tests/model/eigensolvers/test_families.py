"""Every solver on every family of matrices at every index: proofs in exact arithmetic, and residuals."""

import importlib.util
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from tests.support.exact import norm, proves
from tests.support.families import FAMILIES

from eigenserve.model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal

EPS = np.finfo(np.float64).eps
ORDERS = (1, 2, 3, 8, 15)  # one block of eight rows exactly, and one that is padded, among them


def residuals(diag, off_diag, values, vectors):
    """||T v - lambda v|| / ||T|| per matrix, computed on matrices scaled to norm one."""
    size = np.array([norm(d, e) or 1.0 for d, e in zip(diag, off_diag, strict=True)])[:, None]
    d, e = diag / size, off_diag / size
    difference = (d - values[:, None] / size) * vectors
    difference[:, :-1] += e * vectors[:, 1:]
    difference[:, 1:] += e * vectors[:, :-1]
    return np.sqrt((difference**2).sum(1))


def check(diag, off_diag, eig_idx, result):
    values, vectors = result.eigenvalues[:, 0], result.eigenvectors[:, 0]
    for d, e, value in zip(diag, off_diag, values, strict=True):
        assert proves(d, e, eig_idx, value, 8 * EPS * norm(d, e)), (d, e, value)
    # Matrices of denormals cannot be divided by their norm exactly; their eigenvalues are proved above.
    normal = np.abs(diag).max(1) > 1e-300
    assert residuals(diag[normal], off_diag[normal], values[normal], vectors[normal]).max(initial=0) <= 32 * EPS
    # n + 2 roundings of a sum of squares, its root and a division.
    assert np.abs((vectors**2).sum(1) - 1).max() <= (diag.shape[1] + 4) * EPS


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cpu_solver_is_right_at_every_index(family):
    for n in ORDERS:
        diag, off_diag = FAMILIES[family](n)
        for eig_idx in range(n):
            check(diag, off_diag, eig_idx, eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, backend="numba"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cpu_solver_is_right_on_larger_matrices(family):
    diag, off_diag = FAMILIES[family](150)
    for eig_idx in (0, 49, 75, 149):
        result = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx)
        if family != "denormal":  # cannot be divided by its norm
            values, vectors = result.eigenvalues[:, 0], result.eigenvectors[:, 0]
            assert residuals(diag, off_diag, values, vectors).max() <= 32 * EPS
    if family not in ("graded", "denormal", "tiny_off_diagonals"):  # integers of 10^5 digits there
        check(diag[-1:], off_diag[-1:], 75, eigh_tridiagonal(diag[-1:], off_diag[-1:], eig_idx=75))


def all_families(n):
    # LAPACK's QR iteration underflows on denormals and loses graded matrices' last digits by its own bounds.
    pairs = [family(n) for name, family in FAMILIES.items() if name not in ("denormal", "graded")]
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_reference_agrees(n):
    diag, off_diag = all_families(n)
    size = np.array([norm(d, e) for d, e in zip(diag, off_diag, strict=True)])
    for eig_idx in range(n):
        ours = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=1)
        theirs = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=1, backend="scipy")
        inside = np.isfinite(theirs.eigenvalues)
        assert np.array_equal(inside, np.isfinite(ours.eigenvalues))
        assert np.array_equal(ours.eigenvalues[~inside], theirs.eigenvalues[~inside])
        # 8 eps ||T|| of ours and as much of a QR iteration, whose constant LAPACK does not state; the norm
        # is a bound.
        error = np.abs(np.where(inside, ours.eigenvalues - np.where(inside, theirs.eigenvalues, 0), 0))
        assert (error <= 32 * EPS * size[:, None]).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [2, 9])
def test_windows_are_orthonormal_and_hold_the_eigenvalues_of_single_calls(family, n):
    diag, off_diag = FAMILIES[family](n)
    for eig_idx, window in ((0, 1), (n // 2, 2), (n - 1, n)):
        result = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=window)
        inside = [p for p in range(2 * window + 1) if 0 <= eig_idx - window + p < n]
        vectors = result.eigenvectors[:, inside]
        # Residuals of a few eps over a gap of CLOSE = 1e-3, below which vectors are made orthogonal.
        assert np.abs(vectors @ vectors.swapaxes(1, 2) - np.eye(len(inside))).max() < 1e-12
        for place in inside:
            index = eig_idx - window + place
            alone = eigvalsh_tridiagonal(diag, off_diag, eig_idx=index)
            assert np.array_equal(result.eigenvalues[:, place], alone)
            if np.abs(diag).max() > 1e-300:
                values, own = result.eigenvalues[:, place], result.eigenvectors[:, place]
                assert residuals(diag, off_diag, values, own).max() <= 32 * EPS


def closed_forms():
    i = np.arange(1.0, 101)
    yield "toeplitz", 100, 2 - 2 * np.cos(i * np.pi / 101)
    yield "clement", 100, 2 * i - 101
    yield "legendre", 64, np.polynomial.legendre.leggauss(64)[0]
    yield "hermite", 40, np.polynomial.hermite.hermgauss(40)[0]
    yield "laguerre", 30, np.polynomial.laguerre.laggauss(30)[0]


@pytest.mark.parametrize(("family", "n", "exact"), list(closed_forms()), ids=lambda x: x if isinstance(x, str) else "")
def test_eigenvalues_with_a_closed_form(family, n, exact):
    diag, off_diag = FAMILIES[family](n)
    values = np.array([eigvalsh_tridiagonal(diag[0], off_diag[0], eig_idx=k) for k in range(n)])
    # 8 eps ||T||, and 4 more for the entries, which are themselves rounded (square roots, quotients).
    assert np.abs(values - exact).max() <= 12 * EPS * np.abs(exact).max()


@pytest.mark.parametrize("n", [1050, 4200])
def test_vectors_that_are_spread_over_many_rows_have_small_residuals(n):
    """At the edge of a smooth spectrum a twisted factorisation multiplies the error of its eigenvalue most."""
    i = np.arange(1.0, n)
    for off_diag, size in ((i / np.sqrt(4 * i * i - 1), 1.0), (np.ones(n - 1), 2.0)):  # Legendre and Toeplitz
        diag = np.zeros(n)
        for eig_idx in (0, 1, n // 2, n - 1):
            result = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=1)
            inside = np.isfinite(result.eigenvalues)
            values, vectors = result.eigenvalues[inside][:, None], result.eigenvectors[inside].astype(np.longdouble)
            rest = -values * vectors
            rest[:, 1:] += off_diag * vectors[:, :-1]
            rest[:, :-1] += off_diag * vectors[:, 1:]
            assert np.sqrt((rest**2).sum(1)).max() <= 32 * EPS * size


def test_eigenvalues_of_orders_whose_neighbours_crowd_have_their_closed_form():
    n = 4200  # beyond CROWDED_BLOCKS
    exact = 2 * np.cos(np.arange(n, 0, -1) * np.pi / (n + 1))
    for eig_idx in (0, 1, 2000, n - 2, n - 1):
        value = eigvalsh_tridiagonal(np.zeros(n), np.ones(n - 1), eig_idx=eig_idx)
        # 8 eps ||T||, and the cosine's own roundings.
        assert abs(value - exact[eig_idx]) <= 18 * EPS


NARROW_TRIAL = """
import numpy as np
from scipy.linalg import eigh_tridiagonal as lapack
from eigenserve.model.eigensolvers import eigh_tridiagonal
from eigenserve.model.kernels.lanes import ROW_BYTES
assert ROW_BYTES == 64
rng = np.random.default_rng(0)
for n in (1, 2, 9, 40):
    diag, off_diag = rng.standard_normal((37, n)), rng.standard_normal((37, n - 1))
    found = eigh_tridiagonal(diag, off_diag, eig_idx=n // 2, window=1)
    for d, e, values in zip(diag, off_diag, found.eigenvalues, strict=True):
        exact = lapack(d, e, eigvals_only=True) if n > 1 else d
        inside = np.isfinite(values)
        error = np.abs(values[inside] - exact[max(n // 2 - 1, 0) : n // 2 + 2]).max()
        assert error <= 1e-14 * (1 + np.abs(exact).max())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compiles for a level of x86-64")
def test_machines_without_wide_registers_get_tiles_of_half_the_width(tmp_path):
    environ = os.environ | {
        "NUMBA_CPU_NAME": "x86-64-v2",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", NARROW_TRIAL], env=environ, check=True, timeout=300)


triton_runs = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: it comes with CUDA builds of torch",
)


@triton_runs
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # the interpreter's; infinities are intended
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_gpu_solver_is_right_on_all_families(n, monkeypatch):
    if os.environ.get("TRITON_INTERPRET") != "1":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, or TRITON_INTERPRET=1 to interpret the kernels")
    pairs = [family(n) for family in FAMILIES.values()]
    diag, off_diag = (np.concatenate(side) for side in zip(*pairs, strict=True))
    for eig_idx in range(n):
        check(diag, off_diag, eig_idx, eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, backend="triton"))
