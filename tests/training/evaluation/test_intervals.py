"""Prediction intervals hold what they promise, everywhere along the prediction, and follow it only where that helps."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.made_models import make_model, make_rows

from eigenserve.training.evaluation.intervals import prediction_intervals
from eigenserve.training.evaluation.trust import coverage_by_thirds

ROWS = 6000


def made(spread, seed):
    """Predictions and targets whose errors have a spread that depends on the prediction."""
    rng = np.random.default_rng(seed)
    predicted = rng.gamma(2.0, 100.0, ROWS)
    return predicted, predicted + spread(predicted) * rng.normal(size=ROWS)


def intervals(kept, predicted):
    scale = kept.get("interval_scale")
    width = 1.0 if scale is None else np.interp(predicted, scale["at"], scale["width"])
    radius = kept["intervals"]["0.9"] * width
    return np.stack([predicted - radius, predicted + radius], axis=1)


def test_intervals_follow_errors_that_grow_with_the_prediction():
    predicted, target = made(lambda value: 0.2 * value, seed=0)
    kept = prediction_intervals(predicted, target, np.ones(ROWS))
    new, truth = made(lambda value: 0.2 * value, seed=1)
    shares = coverage_by_thirds(intervals(kept, new), new, truth, np.ones(ROWS))
    even = coverage_by_thirds(intervals({"intervals": kept["intervals"]}, new), new, truth, np.ones(ROWS))
    # Three standard errors of a share of 2,000 rows are .02; below the median of the lowest part the width is one.
    assert np.abs(shares - 0.9).max() < 0.03
    assert np.abs(even - 0.9).max() > 0.05
    assert np.mean((intervals(kept, new)[:, 0] <= truth) & (truth <= intervals(kept, new)[:, 1])) > 0.888


def test_intervals_stay_equally_wide_where_errors_are():
    for seed in range(5):
        predicted, target = made(lambda value: np.full(len(value), 10.0), seed)
        kept = prediction_intervals(predicted, target, np.ones(ROWS))
        assert list(kept) == ["intervals"]
        assert kept["intervals"]["0.9"] == pytest.approx(16.45, rel=0.05)
    few = prediction_intervals(predicted[:60], target[:60], np.ones(60))
    assert list(few) == ["intervals"]


def test_a_model_serves_the_scale_that_its_card_keeps():
    rows = make_rows(20)
    plain = replace(make_model(), card={"intervals": {"0.9": 2.0}})
    predicted = np.sort(plain.predict(rows))
    scale = {"at": [float(predicted[0]), float(predicted[-1])], "width": [0.5, 3.0]}
    model = replace(plain, card={**plain.card, "interval_scale": scale})
    widths = np.diff(model.predict_interval(rows, 0.9)[np.argsort(plain.predict(rows))])[:, 0] / 2.0
    np.testing.assert_allclose(widths, 2.0 * np.interp(predicted, scale["at"], scale["width"]), rtol=1e-12)
