"""Calibration errors and coverages are what a slow count says."""

import numpy as np
import pytest

from eigenserve.training.evaluation.trust import BINS, calibration_error, coverage_by_thirds


def test_the_calibration_error_is_that_of_a_slow_count():
    rng = np.random.default_rng(0)
    chance, happened = rng.uniform(size=1500), rng.uniform(size=1500) < 0.4
    bins = np.array_split(np.argsort(chance), BINS)
    expected = sum(len(b) / 1500 * abs(chance[b].mean() - happened[b].mean()) for b in bins)
    assert calibration_error(chance, happened, np.ones(1500)) == pytest.approx(expected, rel=1e-12)


def test_chances_that_come_true_have_a_small_error_and_sure_mistakes_a_large_one():
    rng = np.random.default_rng(1)
    chance = rng.uniform(size=20_000)
    honest = calibration_error(chance, rng.uniform(size=20_000) < chance, np.ones(20_000))
    # 1,333 rows a bin: standard errors up to 0.014, whose mean size is 0.8 of that.
    assert honest < 0.02
    assert calibration_error(np.ones(100), np.zeros(100, bool), np.ones(100)) == 1.0


def test_a_row_that_weighs_twice_counts_as_two():
    rng = np.random.default_rng(2)
    chance, happened = rng.uniform(size=10), rng.uniform(size=10) < 0.5
    twice = calibration_error(np.repeat(chance, 2), np.repeat(happened, 2), np.ones(20))
    assert calibration_error(chance, happened, np.full(10, 2.0)) == pytest.approx(twice, rel=1e-12)


def test_coverage_is_counted_among_low_middle_and_high_predictions():
    predicted = np.arange(9.0)
    intervals = np.stack([predicted - 1.0, predicted + 1.0], axis=1)
    target = predicted + np.array([0, 0, 0, 0, 2, 0, 2, 2, 2])
    assert coverage_by_thirds(intervals, predicted, target, np.ones(9)).tolist() == [1.0, pytest.approx(2 / 3), 0.0]
