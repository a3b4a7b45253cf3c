"""The fast parts against slow readable twins: counts, steps, transposes, the training tile, caching."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.linalg import eigh_tridiagonal as lapack
from tests.support import exact

from eigenserve.model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal
from eigenserve.model.eigensolvers.tiles.sturm import BLOCK, count_below, newton_step
from eigenserve.model.eigensolvers.tiles.tile import PAD, aligned_rows
from eigenserve.model.eigensolvers.tiles.training import (
    SCRATCH_TILES,
    TRAINING_LANES,
    aligned_tile,
    padded_rows,
    training_eigenpairs_tile,
)
from eigenserve.model.kernels.lanes import LANES_F64, load, rows_of, store
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest
from eigenserve.model.kernels.transpose import SIDE, load_transposed, store_transposed
from eigenserve.training.kernels import epoch

EPS = np.finfo(np.float64).eps
TINY = Fraction(1, 10**12)  # below the least distance of distinct eigenvalues and quarters there


@njit
def counts(d, e2, shift, out):
    store(out, 0, count_below(rows_of(d, 0), rows_of(e2, 0), load(shift, 0), d.shape[0] // BLOCK))


@njit
def newton_steps(d, e2, shift, out):
    store(out, 0, newton_step(rows_of(d, 0), rows_of(e2, 0), load(shift, 0), d.shape[0] // BLOCK))


def tile(diag, off_diag):
    """LANES_F64 matrices as the kernels want them: rows padded, e^2 shifted."""
    n = diag.shape[1]
    rows = -(-n // BLOCK) * BLOCK
    d, e2, shift, out = (aligned_rows(1, rows)[0] for _ in range(4))
    d[:], e2[:] = PAD, 0
    d[:n], e2[1:n] = diag.T, (off_diag**2).T
    return d, e2, shift, out


@pytest.mark.parametrize("n", [2, 7, 8, 9, 30])
def test_sturm_counts_are_exact_where_arithmetic_is(n):
    """Quarters and small integers: no rounding, many zero minors, many shifts on eigenvalues' midpoints."""
    rng = np.random.default_rng(n)
    diag = rng.integers(-4, 5, (LANES_F64, n)) / 4
    off_diag = rng.choice([-1.0, 1.0, 0.5], (LANES_F64, n - 1))
    d, e2, shift, out = tile(diag, off_diag)
    for _ in range(20):
        shift[0] = rng.integers(-8, 9, LANES_F64) / 4
        counts(d, e2, shift, out)
        for j, s in enumerate(shift[0]):
            # On an eigenvalue itself the last minor is zero and either count is right.
            least, most = (exact.count_below(diag[j], off_diag[j], Fraction(s) + x) for x in (0, TINY))
            assert least <= out[0, j] <= most


def test_newton_steps_are_the_logarithmic_derivative_of_the_determinant():
    rng = np.random.default_rng(0)
    n = 12
    diag, off_diag = rng.standard_normal((LANES_F64, n)), rng.standard_normal((LANES_F64, n - 1))
    d, e2, shift, out = tile(diag, off_diag)
    values = np.array([lapack(*matrix, eigvals_only=True) for matrix in zip(diag, off_diag, strict=True)])
    shift[0] = values[:, 5] + 1e-3
    newton_steps(d, e2, shift, out)
    padding = 4 / (PAD - shift[0])  # sixteen rows hold twelve
    # The step is relative to 1e-3 here and the recurrence loses eps / 1e-3 of it to cancellation.
    assert out[0] == pytest.approx(1 / ((1 / (values - shift[0][:, None])).sum(1) + padding), rel=1e-9)


@njit
def through_the_tile(source, rows, lanes, target):
    n = source.shape[1]
    for lane in range(0, LANES_F64, SIDE):
        for i in range(0, n, SIDE):
            load_transposed(source, rows, lane, i, rows_of(lanes, 0), lane)
    for lane in range(0, LANES_F64, SIDE):
        for i in range(0, n, SIDE):
            store_transposed(rows_of(lanes, 0), lane, target, i, rows, lane)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 24])
def test_transposes_move_every_element_and_touch_no_other(n):
    rng = np.random.default_rng(n)
    source, target = rng.standard_normal((40, n)), np.full((40, n), np.nan)
    rows = rng.permutation(40)[:LANES_F64]
    lanes = aligned_rows(1, -(-n // SIDE) * SIDE)[0]
    through_the_tile(source, rows, lanes, target)
    assert np.array_equal(lanes[:n], source[rows].T)
    assert np.array_equal(target[rows], source[rows])
    assert np.isnan(np.delete(target, rows, axis=0)).all()


@pytest.mark.parametrize("n", [1, 2, 8, 15, 45])
def test_the_training_tile_agrees_with_lapack_in_single_precision(n):
    rng = np.random.default_rng(n)
    rows = padded_rows(n)
    d, e, v = aligned_tile(3, rows)
    scratch, lam = aligned_tile(SCRATCH_TILES, rows), aligned_tile(1, 1)[0]
    d[:], e[:] = rng.standard_normal(d.shape), rng.standard_normal(e.shape)
    e[:, 3] = 0
    d[:, 4], e[:, 4] = 2.5, 0
    d[:, 5] = e[:, 5] = 0
    d[:, 6] *= 1e-30
    e[:, 6] *= 1e-30
    d[:, 7] += 100
    for eig_idx in {0, n // 2, n - 1}:
        training_eigenpairs_tile(d, e, n, eig_idx, scratch, lam, v)
        for lane in range(TRAINING_LANES):
            diag, off_diag = d[:n, lane].astype(float), e[1:n, lane].astype(float)
            values = lapack(diag, off_diag, eigvals_only=True) if n > 1 else diag
            size = np.abs(values).max() + 1e-28  # the tile takes a width below 1e-30 for 1e-30
            # Bisection to 2^-20 of the width, a Rayleigh step, and float32's own 6e-8 of every entry.
            assert abs(lam[0, lane] - values[eig_idx]) <= 2e-6 * size
            vector = v[:n, lane].astype(float)
            assert abs(vector @ vector - 1) <= 1e-5
            product = diag * vector
            product[:-1] += off_diag * vector[1:]
            product[1:] += off_diag * vector[:-1]
            assert np.linalg.norm(product - lam[0, lane] * vector) <= 1e-5 * size


entries = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0, 1e-8, -1e-8, 1e-16, 1.0 + EPS, 1e-60, 1e60, 3e-160, 1e-300]),
    st.floats(-4, 4, width=32),
)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(2, 12))
def test_no_matrix_hypothesis_can_think_of_breaks_the_bounds(data, n):
    diag = np.array(data.draw(st.lists(entries, min_size=n, max_size=n)))
    off_diag = np.array(data.draw(st.lists(entries, min_size=n - 1, max_size=n - 1)))
    eig_idx = data.draw(st.integers(0, n - 1))
    result = eigh_tridiagonal(diag, off_diag, eig_idx=eig_idx, window=1)
    size = exact.norm(diag, off_diag)
    assert exact.proves(diag, off_diag, eig_idx, result.eigenvalues[1], 8 * EPS * size)
    inside = np.isfinite(result.eigenvalues)
    vectors, values = result.eigenvectors[inside], result.eigenvalues[inside]
    assert np.abs(vectors @ vectors.T - np.eye(len(vectors))).max() < 1e-12
    if size > 1e-290:
        d, e = diag / size, off_diag / size
        rest = (d - values[:, None] / size) * vectors
        rest[:, :-1] += e * vectors[:, 1:]
        rest[:, 1:] += e * vectors[:, :-1]
        assert np.sqrt((rest**2).sum(1)).max() <= 32 * EPS


def test_compiled_code_follows_the_content_of_the_sources_not_their_age(tmp_path):
    folders = (*SOLVER_SOURCES, Path(epoch.__file__).parent)
    copies = [tmp_path / str(i) / folder.name for i, folder in enumerate(folders)]
    for folder, copy in zip(folders, copies, strict=True):
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    digest = source_digest(*folders)
    assert source_digest(*copies) == digest
    files = [file for copy in copies for file in copy.rglob("*.py")]
    assert {"lanes.py", "twisted.py", "solver.py", "ramps.py"} <= {file.name for file in files}
    for file in files:
        text = file.read_text()
        file.write_text(text + "\n# changed\n")
        assert source_digest(*copies) != digest, file
        file.write_text(text)


def test_large_matrices_are_found_at_the_right_index():
    rng = np.random.default_rng(0)
    diag, off_diag = rng.standard_normal((3, 3000)), rng.standard_normal((3, 2999))
    values = eigvalsh_tridiagonal(diag, off_diag, eig_idx=1500)
    for j in range(3):
        truth = lapack(diag[j], off_diag[j], eigvals_only=True, select="i", select_range=(1500, 1500))[0]
        assert abs(values[j] - truth) <= 16 * EPS * exact.norm(diag[j], off_diag[j])  # 8 eps each
