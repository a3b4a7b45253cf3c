"""Metrics are those of scikit-learn, and their confidence intervals hold what they promise."""

import time

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from scipy.special import expit, softmax

from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.bootstrap import metric_intervals
from eigenserve.training.evaluation.evaluate import evaluate, evaluate_scores
from eigenserve.training.evaluation.metrics import Metrics, area_under_roc, score_metrics
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings

QUICK = {"members": 1, "dim": 3, "budget": 0.01, "reproducible": True}


class Scorer:
    """What of a model turns scores into predictions."""

    def __init__(self, task, classes=()):
        self.task, self.classes = task, classes

    interval_levels = ()

    def values(self, scores):
        return np.exp(scores[:, 0]) if self.task == "poisson" else scores[:, 0]

    def probabilities(self, scores):
        if self.task == "multiclass":
            return softmax(scores, axis=1)
        return np.stack([expit(-scores[:, 0]), expit(scores[:, 0])], axis=1)


def drawn(task, rows=500, seed=0):
    """(scorer, scores, target, weight): rows of a task, some scores equal."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(rows, 3 if task == "multiclass" else 1)), 1)
    weight = rng.uniform(0.5, 2.0, rows)
    classes = {"binary": ("a", "b"), "multiclass": ("a", "b", "c")}.get(task, ())
    values = {
        "regression": lambda: scores[:, 0] + rng.normal(size=rows),
        "poisson": lambda: rng.poisson(np.exp(scores[:, 0])).astype(float),
        "binary": lambda: (rng.random(rows) < expit(scores[:, 0])).astype(float),
        "multiclass": lambda: np.argmax(scores + rng.gumbel(size=scores.shape), axis=1).astype(float),
    }[task]()
    return Scorer(task, classes), scores, Target("y", task, values, classes), weight


@pytest.mark.parametrize("task", ["regression", "poisson", "binary", "multiclass"])
def test_metrics_are_those_of_scikit_learn(task):
    scorer, scores, target, weight = drawn(task)
    found = score_metrics(scorer, scores, target, weight).values
    weighted = {"sample_weight": weight}
    y = target.values
    if task in ("binary", "multiclass"):
        p = scorer.probabilities(scores)
        ranking = p[:, 1] if task == "binary" else p
        expected = {
            "log_loss": sk.log_loss(y, p, **weighted),
            "accuracy": sk.accuracy_score(y, p.argmax(axis=1), **weighted),
            "auc": sk.roc_auc_score(y, ranking, multi_class="ovr", **weighted),
        }
        if task == "binary":
            expected["brier"] = sk.brier_score_loss(y, p[:, 1], **weighted)
    else:
        p = scorer.values(scores)
        expected = {
            "rmse": sk.root_mean_squared_error(y, p, **weighted),
            "mae": sk.mean_absolute_error(y, p, **weighted),
            "r2": sk.r2_score(y, p, **weighted),
        }
        if task == "poisson":
            expected["deviance"] = sk.mean_poisson_deviance(y, p, **weighted)
            expected["d2"] = sk.d2_tweedie_score(y, p, power=1, **weighted)
    found = {name: value for name, value in found.items() if name != "ece"}  # scikit-learn has none
    # 500 terms are summed in another order.
    assert found == pytest.approx(expected, rel=1e-12)


def test_ties_count_half_in_the_area_under_the_curve():
    score, positive = np.array([0.0, 0.0, 0.0]), np.array([True, False, False])
    assert area_under_roc(score, positive, np.ones(3)) == 0.5


@pytest.mark.parametrize("rows", [300, 8_000], ids=["all rows", "a part of the rows"])
def test_intervals_hold_the_truth_as_often_as_they_say(rows):
    truth, held, repeats = 1.0, 0, 100
    for seed in range(repeats):
        miss = np.random.default_rng(seed).normal(size=rows)
        target = Target("y", "regression", miss)
        scorer, scores = Scorer("regression"), np.zeros((rows, 1))
        low, high = metric_intervals(scorer, scores, target, score_metrics(scorer, scores, target))["rmse"]
        held += low <= truth <= high
    # Of 100 trials at 95%: 95 +- 2.2, four of these.
    assert held >= 86
    assert held < repeats or high - low < 0.5


def test_intervals_of_metrics_that_a_resample_lacks_are_of_the_others():
    scorer = Scorer("binary", ("a", "b"))
    scores, values = np.linspace(-1, 1, 30)[:, None], np.zeros(30)
    values[-1] = 1.0  # a third of the resamples has no row of this class, and no area under a curve
    target = Target("y", "binary", values, ("a", "b"))
    found = evaluate_scores(scorer, scores, target)
    assert found.intervals["auc"] == (1.0, 1.0)
    assert set(found.intervals) == set(found.metrics.values) - {"ece"}


def test_the_interval_of_many_classes_area_is_that_of_resampling():
    rng, classes = np.random.default_rng(0), ("a", "b", "c")
    values = rng.integers(3, size=3_000).astype(float)
    scores = rng.normal(size=(3_000, 3)) + np.eye(3)[values.astype(int)]
    weight = rng.uniform(0.5, 2.0, 3_000)
    target, scorer = Target("y", "multiclass", values, classes), Scorer("multiclass", classes)
    found = evaluate_scores(scorer, scores, target, weight)
    areas = []
    for _ in range(300):
        rows = rng.integers(3_000, size=3_000)
        part = Target("y", "multiclass", values[rows], classes)
        areas.append(score_metrics(scorer, scores[rows], part, weight[rows]).values["auc"])
    low, high = found.intervals["auc"]
    assert low < found.metrics.values["auc"] < high
    # The spread of 300 resamples is known to 4%.
    assert high - low == pytest.approx(2 * 1.96 * np.std(areas), rel=0.15)


def test_the_intervals_of_300_classes_are_quickly_estimated():
    rng, classes = np.random.default_rng(0), tuple(map(str, range(300)))
    values = np.concatenate([np.arange(300), rng.integers(300, size=9_700)]).astype(float)
    scores = rng.normal(size=(10_000, 300)) + 2 * np.eye(300)[values.astype(int)]
    target, scorer = Target("y", "multiclass", values, classes), Scorer("multiclass", classes)
    metrics = score_metrics(scorer, scores, target)
    started = time.process_time()
    found = metric_intervals(scorer, scores, target, metrics)
    # 17 seconds by resampling the areas of all classes.
    assert time.process_time() - started < 4.0
    assert set(found) == {"log_loss", "accuracy", "auc"}


def test_no_interval_is_given_where_there_is_nothing_to_resample():
    scorer, scores = Scorer("regression"), np.zeros((2, 1))
    target = Target("y", "regression", np.array([1.0, 1.0]))
    assert metric_intervals(scorer, scores, target, Metrics(2, {"r2": 0.0})) == {}


def test_weights_and_exposures_are_those_that_the_model_was_trained_with():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "years": rng.uniform(0.2, 3.0, 300)})
    frame["claims"] = rng.poisson(frame["years"] * np.exp(frame["x"]))
    settings = make_settings({**QUICK, "task": "poisson", "exposure": "years"})
    model = fit(frame, "claims", settings).model
    found = evaluate(model, frame)
    rate = frame["claims"] / frame["years"]
    expected = sk.mean_poisson_deviance(rate, model.predict(frame), sample_weight=frame["years"])
    assert found.metrics.values["deviance"] == pytest.approx(expected, rel=1e-12)  # sums in another order
