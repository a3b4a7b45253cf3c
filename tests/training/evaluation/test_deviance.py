"""Deviances of counts and costs, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import mean_tweedie_deviance

from eigenserve.training.evaluation.metrics import unit_deviance


@pytest.mark.parametrize("power", [1.0, 1.2, 1.5, 1.9, 2.0])
def test_deviances_are_those_of_scikit_learn(power):
    rng = np.random.default_rng(0)
    target, rate, weight = rng.gamma(2.0, 3.0, 200), rng.gamma(2.0, 3.0, 200), rng.uniform(0.5, 2.0, 200)
    if power < 2.0:
        target[:50] = 0.0
    expected = mean_tweedie_deviance(target, rate, sample_weight=weight, power=power)
    # Sums of 200 terms of a size near 10.
    assert np.average(unit_deviance(target, rate, power), weights=weight) == pytest.approx(expected, rel=1e-12)
