"""Gaps are those of LAPACK's eigenvalues, to one part in 128, however small they are."""

import numpy as np
import pytest
from scipy.linalg import eigvalsh_tridiagonal

from eigenserve.model.eigensolvers.cpu import solve_eigenpairs, solve_eigenpairs_and_gaps


def solve(diag, off_diag, eig_idx):
    count, n = diag.shape
    values, vectors, gaps = np.empty(count), np.empty((count, n)), np.empty(count)
    solve_eigenpairs_and_gaps(diag, off_diag, eig_idx, values, vectors, gaps)
    return values, vectors, gaps


def assert_gaps_are_lapacks(diag, off_diag, eig_idx):
    _, _, gaps = solve(diag, off_diag, eig_idx)
    for d, e, gap in zip(diag, off_diag, gaps, strict=True):
        distances = np.diff(eigvalsh_tridiagonal(d, e))[max(eig_idx - 1, 0) : eig_idx + 1]
        # LAPACK's eigenvalues and our counts are each good to a few eps of the norm.
        rounding = 20 * np.finfo(float).eps * (np.abs(d).max() + 2 * np.abs(e).max())
        assert abs(gap - distances.min()) <= distances.min() / 128 + rounding


@pytest.mark.parametrize("n", [2, 3, 8, 15, 40])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_gaps_of_random_matrices_of_any_scale(n, scale):
    rng = np.random.default_rng(n)
    diag, off_diag = rng.standard_normal((70, n)) * scale, rng.standard_normal((70, n - 1)) * scale
    for eig_idx in {0, n // 2, n - 1}:
        assert_gaps_are_lapacks(diag, off_diag, eig_idx)


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-9, 1e-12])
def test_small_gaps_keep_their_digits(size):
    rng = np.random.default_rng(3)
    n = 10
    # Pairs of equal numbers, barely coupled: neighbours differ by twice the coupling, or about one.
    diag = np.repeat(np.arange(n // 2) + rng.random((40, n // 2)) * 0.1, 2, axis=1)
    off_diag = np.full((40, n - 1), size)
    off_diag[:, 1::2] = size * 0.01
    for eig_idx in (0, 5, 9):
        assert_gaps_are_lapacks(diag, off_diag, eig_idx)


def test_the_pairs_and_gaps_of_a_matrix_do_not_depend_on_the_other_matrices():
    rng = np.random.default_rng(5)
    diag, off_diag = rng.standard_normal((70, 9)), rng.standard_normal((70, 8))
    off_diag[::3, 4] = 1e-10  # small gaps among large ones
    diag[::3, 5] = diag[::3, 4]
    together = solve(diag, off_diag, 4)
    for j in range(70):
        for found, alone in zip(together, solve(diag[j : j + 1], off_diag[j : j + 1], 4), strict=True):
            assert np.array_equal(found[j : j + 1], alone)
    values, vectors = np.empty(70), np.empty((70, 9))
    solve_eigenpairs(diag, off_diag, 4, values, vectors)
    assert np.array_equal(values, together[0])
    assert np.array_equal(vectors, together[1])


def test_equal_eigenvalues_have_no_gap_and_a_single_one_an_infinite_one():
    assert solve(np.full((3, 6), 2.0), np.zeros((3, 5)), 2)[2].tolist() == [0.0] * 3
    assert solve(np.zeros((2, 5)), np.zeros((2, 4)), 0)[2].tolist() == [0.0] * 2
    assert solve(np.ones((2, 1)), np.empty((2, 0)), 0)[2].tolist() == [np.inf] * 2


def test_a_matrix_that_is_not_finite_has_gap_nan_and_its_neighbours_their_own():
    diag, off_diag = np.arange(12.0).reshape(3, 4), np.zeros((3, 3))
    diag[1, 2] = np.nan
    gaps = solve(diag, off_diag, 1)[2]
    assert np.isnan(gaps[1])
    np.testing.assert_allclose(gaps[[0, 2]], 1.0, rtol=1 / 128)
