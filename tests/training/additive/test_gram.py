"""Sums over rows on curves."""

import tracemalloc

import numpy as np

from eigenserve.training.additive.gram import SUMMED_ROWS, matrix_shares


def test_shares_of_matrices_need_little_memory_for_many_rows():
    rng = np.random.default_rng(0)
    rows, curves = 4 * SUMMED_ROWS + 7, 10
    starts = rng.integers(0, 49, (rows, curves)).astype(np.int32)
    weights = rng.uniform(size=(rows, curves)).astype(np.float32)
    expected = np.zeros(51)
    np.add.at(expected, starts, 1.0 - weights.astype(np.float64))
    np.add.at(expected, starts + 1, weights.astype(np.float64))
    tracemalloc.start()
    shares = matrix_shares(starts, weights, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(shares, expected[:50] / rows, rtol=1e-12)
    assert peak < starts.nbytes + weights.nbytes
