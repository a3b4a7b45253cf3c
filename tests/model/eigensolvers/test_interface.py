"""The public solvers agree with LAPACK and keep their promises about shapes, dtypes, order and errors."""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal as lapack

from model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("n", [1, 2, 3, 15, 40])
def test_eigenpairs_agree_with_lapack(n):
    rng = np.random.default_rng(n)
    diag, off_diag = rng.standard_normal((50, n)), rng.standard_normal((50, n - 1))
    for eig_idx in range(n):
        result = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx)
        for j in range(50):
            values = lapack(diag[j], off_diag[j], eigvals_only=True) if n > 1 else diag[j]
            norm = np.abs(values).max()
            # 8 eps for ours, as much again for LAPACK's QR iteration.
            assert abs(result.eigenvalues[j, 0] - values[eig_idx]) <= 16 * EPS * norm
        assert np.array_equal(result.eigenvalues[:, 0], eigvalsh_tridiagonal(diag, off_diag, eig_idx=eig_idx))


def test_a_matrix_gives_the_same_bits_in_every_batch():
    rng = np.random.default_rng(0)
    diag, off_diag = rng.standard_normal((100, 15)), rng.standard_normal((100, 14))
    whole = eigh_tridiagonal(diag, off_diag, eig_idx=7, window=1)
    for j in (0, 31, 32, 99):
        alone = eigh_tridiagonal(diag[j], off_diag[j], eig_idx=7, window=1)
        assert np.array_equal(alone.eigenvalues, whole.eigenvalues[j])
        assert np.array_equal(alone.eigenvectors, whole.eigenvectors[j])


def test_places_beyond_the_spectrum_hold_infinity_and_zero_vectors():
    result = eigh_tridiagonal([1.0, 2.0], [0.5], eig_idx=0, window=2)
    assert result.eigenvalues[[0, 1, 4]].tolist() == [-np.inf, -np.inf, np.inf]
    assert not result.eigenvectors[[0, 1, 4]].any()


def test_not_a_number_stays_in_its_matrix():
    rng = np.random.default_rng(0)
    diag, off_diag = rng.standard_normal((40, 5)), rng.standard_normal((40, 4))
    clean = eigh_tridiagonal(diag, off_diag, eig_idx=2)
    diag[3, 1], off_diag[35, 0] = np.nan, np.inf
    result = eigh_tridiagonal(diag, off_diag, eig_idx=2)
    spoilt = np.isnan(result.eigenvalues[:, 0])
    assert np.flatnonzero(spoilt).tolist() == [3, 35]
    assert np.isnan(result.eigenvectors[spoilt]).all()
    assert np.array_equal(result.eigenvectors[~spoilt], clean.eigenvectors[~spoilt])
    with pytest.raises(ValueError, match="finite"):
        eigvalsh_tridiagonal(diag, off_diag, eig_idx=2, check_finite=True)
