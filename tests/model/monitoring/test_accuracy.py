"""AccuracySums: metrics of sums are those of the rows, however these are split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from tests.support.made_models import make_model, make_rows

from eigenserve.model.monitoring import AccuracySums


def split_sums(sums: AccuracySums, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return sum(sums.of(s, y) for s, y in zip(np.array_split(scores, 3), np.array_split(labels, 3), strict=True))


def test_regressions_are_measured_as_the_library_does():
    made = make_model()
    model = replace(made, card={"intervals": {"0.5": 1.0, "0.9": 3.0}, "metrics": {"out_of_fold": {"rmse": 5.0}}})
    scores = model.scores(model.features.encode(make_rows(200, seed=1)))
    labels = model.values(scores) + np.random.default_rng(2).normal(0.3, 1.0, 200)
    sums = AccuracySums(model)
    metrics = sums.metrics(split_sums(sums, scores, sums.labels(labels.tolist())))
    assert metrics["rmse"].value == pytest.approx(sklearn.metrics.root_mean_squared_error(labels, model.values(scores)))
    assert metrics["mae"].value == pytest.approx(sklearn.metrics.mean_absolute_error(labels, model.values(scores)))
    assert metrics["bias"].value == pytest.approx(0.3, abs=0.25)
    assert metrics["coverage_50"].value == pytest.approx(np.mean(np.abs(labels - model.values(scores)) <= 1.0))
    assert metrics["rmse"].beyond
    assert metrics["coverage_90"].training == 0.9
    # The standard error of the root mean square, by many samples of the same.
    draws = np.random.default_rng(3).choice(labels - model.values(scores), (4000, 200))
    assert metrics["rmse"].standard_error == pytest.approx(np.sqrt((draws**2).mean(axis=1)).std(), rel=0.1)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classifiers_are_measured_as_the_library_does(task):
    model = make_model(task)
    scores = model.scores(model.features.encode(make_rows(300, seed=1)))
    draw = np.random.default_rng(4)
    values = [model.classes[i] for i in draw.integers(0, len(model.classes), 300)]
    sums = AccuracySums(model)
    labels = sums.labels(values)
    added = split_sums(sums, scores, labels)
    probabilities, metrics = model.probabilities(scores), sums.metrics(added)
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=range(len(model.classes)))
    assert metrics["log_loss"].value == pytest.approx(expected)
    assert metrics["accuracy"].value == pytest.approx(np.mean(probabilities.argmax(axis=1) == labels))
    assert sum(part["rows"] for part in sums.calibration(added)) == 300
    assert 0.0 <= metrics["ece"].value <= 1.0


def test_labels_that_are_not_of_the_model_are_named():
    assert AccuracySums(make_model("binary")).labels([True, "false"]).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="outcome 1 must be one of False, True; got 'maybe'"):
        AccuracySums(make_model("binary")).labels([True, "maybe"])
    with pytest.raises(ValueError, match="outcome 0 must be a finite number; got nan"):
        AccuracySums(make_model()).labels([float("nan")])


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_a_weight_counts_as_so_many_rows(task):
    model = replace(make_model(task), card={"intervals": {"0.5": 1.0}})
    rng = np.random.default_rng(5)
    scores = model.scores(model.features.encode(make_rows(100, seed=1)))
    labels = rng.integers(0, 2, 100).astype(float) if task == "binary" else scores[:, 0] + rng.normal(size=100)
    times, sums = rng.integers(1, 4, 100), AccuracySums(model)
    weighted = sums.metrics(sums.of(scores, labels, 0.1 * times))
    repeated = sums.metrics(sums.of(np.repeat(scores, times, axis=0), np.repeat(labels, times)))
    like = times.sum() ** 2 / (times @ times)
    for name, metric in repeated.items():
        assert weighted[name].value == pytest.approx(metric.value, rel=1e-9)
        if metric.standard_error:
            expected = metric.standard_error * np.sqrt(times.sum() / like)
            assert weighted[name].standard_error == pytest.approx(expected, rel=1e-9)
