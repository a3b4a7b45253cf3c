"""The public solvers keep their promises about shapes, dtypes, batches, threads and errors."""

import sys
import threading

import numpy as np
import pytest
from tests.support.families import FAMILIES

from eigenserve.model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal, warm_up
from eigenserve.model.kernels import threads


def random_batch(count, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, n)), rng.standard_normal((count, n - 1))


def hard_and_easy(n):
    pairs = [family(n) for family in FAMILIES.values()]
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


def test_a_matrix_gives_the_same_bits_in_every_batch_and_place():
    diag, off_diag = hard_and_easy(15)
    whole = eigh_tridiagonal(diag, off_diag, eig_idx=7, window=1)
    order = np.random.default_rng(0).permutation(len(diag))
    shuffled = eigh_tridiagonal(diag[order], off_diag[order], eig_idx=7, window=1)
    assert np.array_equal(shuffled.eigenvalues, whole.eigenvalues[order])
    assert np.array_equal(shuffled.eigenvectors, whole.eigenvectors[order])
    for j in range(len(diag)):
        alone = eigh_tridiagonal(diag[j], off_diag[j], eig_idx=7, window=1)
        assert np.array_equal(alone.eigenvalues, whole.eigenvalues[j])
        assert np.array_equal(alone.eigenvectors, whole.eigenvectors[j])
        assert eigvalsh_tridiagonal(diag[j], off_diag[j], eig_idx=7) == whole.eigenvalues[j, 1]


def test_threads_do_not_change_a_bit():
    diag, off_diag = random_batch(5000, 15)
    before = threads._threads
    try:
        threads.set_num_threads(1)
        one = eigh_tridiagonal(diag, off_diag, eig_idx=7)
        threads.set_num_threads(3)
        three = eigh_tridiagonal(diag, off_diag, eig_idx=7)
    finally:
        threads._threads = before
    assert np.array_equal(one.eigenvalues, three.eigenvalues)
    assert np.array_equal(one.eigenvectors, three.eigenvectors)


def test_solvers_may_run_in_many_threads_at_once():
    diag, off_diag = random_batch(3000, 20)
    truth = eigvalsh_tridiagonal(diag, off_diag, eig_idx=3)
    results = [None] * 4

    def solve(i):
        results[i] = eigvalsh_tridiagonal(diag, off_diag, eig_idx=3)

    workers = [threading.Thread(target=solve, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(result, truth) for result in results)


def test_places_beyond_the_spectrum_hold_infinity_and_zero_vectors():
    result = eigh_tridiagonal([1.0, 2.0], [0.5], eig_idx=0, window=2)
    assert result.eigenvalues[[0, 1, 4]].tolist() == [-np.inf, -np.inf, np.inf]
    assert not result.eigenvectors[[0, 1, 4]].any()


@pytest.mark.parametrize("n", [1, 5])
def test_not_a_number_stays_in_its_matrix(n):
    diag, off_diag = random_batch(40, n)
    clean = eigh_tridiagonal(diag, off_diag, eig_idx=n // 2)
    diag[3, n - 1], diag[20, 0] = np.nan, -np.inf
    off_diag[35:36, 0:1] = np.inf
    result = eigh_tridiagonal(diag, off_diag, eig_idx=n // 2)
    spoilt = np.isnan(result.eigenvalues[:, 0])
    assert np.flatnonzero(spoilt).tolist() == ([3, 20] if n == 1 else [3, 20, 35])
    assert np.isnan(result.eigenvectors[spoilt]).all()
    assert np.array_equal(result.eigenvectors[~spoilt], clean.eigenvectors[~spoilt])
    with pytest.raises(ValueError, match="must be finite"):
        eigvalsh_tridiagonal(diag, off_diag, eig_idx=0, check_finite=True)


def test_batch_axes_broadcast():
    diag, off_diag = random_batch(6, 5)
    result = eigh_tridiagonal(diag.reshape(2, 3, 5), off_diag[0], eig_idx=2)
    assert result.eigenvalues.shape == (2, 3, 1)
    assert result.eigenvectors.shape == (2, 3, 1, 5)
    assert result.eigenvalues[1, 2, 0] == eigvalsh_tridiagonal(diag[5], off_diag[0], eig_idx=2)


def test_memory_layout_does_not_matter():
    diag, off_diag = random_batch(50, 9)
    truth = eigvalsh_tridiagonal(diag, off_diag, eig_idx=4)
    strided = np.zeros((50, 18))
    strided[:, ::2] = diag
    assert np.array_equal(eigvalsh_tridiagonal(strided[:, ::2], off_diag, eig_idx=4), truth)
    assert np.array_equal(eigvalsh_tridiagonal(np.asfortranarray(diag), off_diag, eig_idx=4), truth)
    frozen = diag.copy()
    frozen.flags.writeable = False
    assert np.array_equal(eigvalsh_tridiagonal(frozen, off_diag, eig_idx=4), truth)
    assert np.array_equal(eigvalsh_tridiagonal(diag[::-1], off_diag[::-1], eig_idx=4), truth[::-1])


def test_inputs_are_left_alone():
    diag, off_diag = random_batch(40, 6)
    before = diag.copy(), off_diag.copy()
    eigh_tridiagonal(diag, off_diag, eig_idx=3, window=2)
    assert np.array_equal(diag, before[0])
    assert np.array_equal(off_diag, before[1])


@pytest.mark.parametrize("backend", ["numba", "scipy"])
def test_dtypes_and_empty_batches(backend):
    result = eigh_tridiagonal(np.zeros((0, 3)), np.zeros((0, 2)), eig_idx=1, window=1, backend=backend)
    assert result.eigenvalues.shape == (0, 3)
    assert result.eigenvectors.shape == (0, 3, 3)
    single = eigh_tridiagonal(np.ones(3, np.float32), np.ones(2, np.float32), eig_idx=1, backend=backend)
    assert single.eigenvalues.dtype == single.eigenvectors.dtype == np.float32
    whole = eigvalsh_tridiagonal([2, 2], [1], eig_idx=1, backend=backend)
    assert whole.dtype == np.float64
    assert whole.ndim == 0
    assert whole == pytest.approx(3)


def test_single_precision_is_double_precision_rounded():
    diag, off_diag = (a.astype(np.float32) for a in random_batch(30, 7))
    double = eigvalsh_tridiagonal(diag.astype(float), off_diag.astype(float), eig_idx=3)
    assert np.array_equal(eigvalsh_tridiagonal(diag, off_diag, eig_idx=3), double.astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"diag": [1.0, 2.0], "off_diag": [1.0], "eig_idx": 2}, r"eig_idx must be in \[0, 2\); got 2"),
        ({"diag": [1.0, 2.0], "off_diag": [1.0], "eig_idx": -1}, r"eig_idx must be in \[0, 2\); got -1"),
        ({"diag": [1.0, 2.0], "off_diag": [1.0, 1.0], "eig_idx": 0}, r"off_diag \(\.\.\., n - 1\); got"),
        ({"diag": [], "off_diag": [], "eig_idx": 0}, "n >= 1"),
        ({"diag": 1.0, "off_diag": [1.0], "eig_idx": 0}, "n >= 1"),
        ({"diag": [1.0], "off_diag": [], "eig_idx": 0, "backend": "cuda"}, "backend must be one of"),
        ({"diag": [1.0], "off_diag": [], "eig_idx": 0, "window": -1}, "window must be at least 0; got -1"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        eigh_tridiagonal(**arguments)


def test_a_backend_that_is_not_there_is_the_callers_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "eigenserve.model.eigensolvers.cuda", raising=False)
    with pytest.raises(ValueError, match="backend 'triton' needs Triton"):
        eigvalsh_tridiagonal([1.0, 2.0], [0.5], eig_idx=0, backend="triton")


def test_warming_up_is_idempotent():
    warm_up()
    warm_up()


def test_an_index_of_any_whole_type_is_taken_and_a_fraction_refused():
    diag, off_diag = np.zeros((1, 6)), np.ones((1, 5))
    expected = eigh_tridiagonal(diag, off_diag, eig_idx=0, window=1).eigenvalues
    found = eigh_tridiagonal(diag, off_diag, eig_idx=np.uint8(0), window=np.int8(1)).eigenvalues
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match="integer"):
        eigh_tridiagonal(diag, off_diag, eig_idx=1.5)


def test_matrices_that_are_not_real_are_refused():
    with pytest.raises(ValueError, match="real"):
        eigh_tridiagonal(np.ones(2), np.array([3j]), eig_idx=0)
