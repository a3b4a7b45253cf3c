"""Sketches and drift: bins, limits under chance, power, and the checkpoint that keeps them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from tests.support.drifting import like_training, sketched_model
from tests.support.made_models import make_model, make_rows

from eigenserve.model import ModelStore
from eigenserve.model.monitoring import CARD_KEY, Counting, make_sketch, measure_drift, read_sketch, sketch_document
from eigenserve.model.monitoring.channels import EQUAL_BINS, Counter, number_channel
from eigenserve.model.monitoring.distances import (
    kolmogorov,
    kolmogorov_limit,
    share_evidence,
    share_limit,
    stability,
    stability_limit,
)


@pytest.fixture(scope="module", params=["regression", "multiclass"])
def model(request: pytest.FixtureRequest):
    return sketched_model(request.param)


def drifts(model, rows, level=0.001):
    sketch = read_sketch(model, model.card)
    counting = Counting(model, sketch)
    counts, columns = counting.zeros(), model.features.encode(rows)
    counting.count(columns, model.scores(columns), counts)
    counting.count_contributions(columns, counts)
    return {(drift.kind, drift.name): drift for drift in measure_drift(sketch, counts, level)}


@pytest.mark.parametrize("values", ["normal", "heavy", "few", "one", "none"])
def test_bins_hold_equally_many_values_as_far_as_they_can(values):
    draw = np.random.default_rng(1)
    numbers = {
        "normal": draw.normal(size=3000),
        "heavy": np.where(draw.random(3000) < 0.9, 0.0, draw.exponential(size=3000)),
        "few": draw.integers(0, 4, 3000).astype(float),
        "one": np.ones(3000),
        "none": np.full(3000, np.nan),
    }[values]
    numbers[:30] = np.nan
    channel = number_channel("feature", "x", numbers)
    assert sum(channel.counts) == 3000
    assert channel.counts[-1] == np.isnan(numbers).sum()
    if values == "none":
        return
    assert channel.counts[0] == channel.counts[-2] == 0  # nothing beyond the training range
    distinct, times = np.unique(numbers[30:], return_counts=True)
    inner = channel.counts[1:-2]
    assert max(inner) <= max(2970 // EQUAL_BINS + 1, times.max())
    if values in ("few", "one"):
        # Each value has a bin, and so has what lies between two.
        assert inner[::2] == tuple(times)
        assert not any(inner[1::2])
    counts = np.zeros(len(channel.counts), np.int64)
    Counter((channel,), (0,)).count(np.array([[-1e9], [1e9], [np.nan], [distinct[0]], [distinct[-1]]]), counts)
    assert (counts[0], counts[-2], counts[-1], counts[1:-2].sum()) == (1, 1, 1, 2)


def test_every_row_is_counted_once_in_every_channel(model):
    rows = make_rows(500, seed=4)
    for drift in drifts(model, rows).values():
        assert drift.rows == 500
    city = drifts(model, rows)["feature", "city"]
    assert city.outside == pytest.approx(np.mean([row["city"] == "Atlantis" for row in rows]))
    assert city.missing == pytest.approx(np.mean([row["city"] is None for row in rows]))


def test_windows_of_training_rows_raise_no_alarm_at_the_level(model):
    for i in range(20):
        found = drifts(model, like_training(300, seed=100 + i))
        assert not [drift for drift in found.values() if drift.alarm]


CHANGES = {
    "rate": lambda i, row: {**row, "rate": row["rate"] + 0.2},
    "income": lambda i, row: {**row, "income": None} if i % 100 == 0 else row,
    "city": lambda i, row: {**row, "city": "Rome"} if i % 15 == 0 else row,
    "age": lambda i, row: {**row, "age": 120.0} if i % 100 == 0 else row,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", range(3))
def test_a_change_is_found_within_two_thousand_rows(model, name, seed):
    rows = [CHANGES[name](i, row) for i, row in enumerate(like_training(2000, seed=50 + seed))]
    found = drifts(model, rows)
    assert found["feature", name].alarm
    assert {key[1] for key, drift in found.items() if key[0] == "feature" and drift.alarm} == {name}


def test_a_drift_of_reasons_is_seen_where_no_feature_has_drifted():
    """Two features that change places among the rows: each is as before, their pair's contribution is not."""
    model = sketched_model()
    rows = like_training(2000, seed=9)
    ages = sorted(row["age"] for row in rows if row["age"] is not None)
    order = np.argsort([row["rate"] for row in rows if row["age"] is not None])
    present = [row for row in rows if row["age"] is not None]
    for place, age in zip(order, ages, strict=True):
        present[place]["age"] = age
    found = drifts(model, rows)
    assert not found["feature", "age"].alarm
    assert found["contribution", "age & rate"].alarm


@pytest.mark.parametrize("window", [200, 2000])
@pytest.mark.parametrize("statistic", ["stability", "kolmogorov", "share"])
def test_limits_are_exceeded_by_chance_about_as_often_as_they_say(statistic, window):
    draw = np.random.default_rng(7)
    chance, trials, training = 0.01, 3000, 5000
    shares = np.r_[np.full(18, 0.05), 0.06, 0.03, 0.01]
    exceeded = 0
    samples = (draw.multinomial(rows, shares, trials) for rows in (training, window))
    for before, now in zip(*samples, strict=True):
        if statistic == "stability":
            index, freedom = stability(before, now)
            exceeded += index > stability_limit(training, window, freedom, chance)
        elif statistic == "kolmogorov":
            exceeded += kolmogorov(before, now) > kolmogorov_limit(training, window, chance)
        else:
            exceeded += share_evidence(before, now).max() > share_limit(len(shares), chance)
    # Twice as often at most: chi-squared is an approximation. The other is a bound.
    assert exceeded <= (1.0 if statistic == "kolmogorov" else 2.0) * chance * trials + 3 * (chance * trials) ** 0.5
    if statistic != "kolmogorov":
        assert exceeded >= 0.3 * chance * trials


def test_distances_are_those_of_the_textbook():
    before, now = np.array([400, 300, 300]), np.array([50, 30, 20])
    p, q = (now + 0.5) / 101.5, (before + 0.5) / 1001.5
    assert stability(before, now)[0] == pytest.approx(((p - q) * np.log(p / q)).sum())
    values = np.arange(3)
    assert kolmogorov(before, now) == pytest.approx(
        scipy.stats.ks_2samp(np.repeat(values, before), np.repeat(values, now)).statistic
    )
    for freedom in (1, 5, 20):
        exact = scipy.stats.chi2.isf(1e-5, freedom) * (1 / 1000 + 1 / 100)
        assert stability_limit(1000, 100, freedom, 1e-5) == pytest.approx(exact, rel=0.12)


def test_a_checkpoint_keeps_its_sketch_and_an_old_one_has_none(tmp_path, model):
    store = ModelStore(tmp_path)
    loaded = store.load("kept", int(store.save("kept", model).card["version"]))
    assert read_sketch(loaded, loaded.card) == read_sketch(model, model.card)
    assert read_sketch(model, {}) is None
    assert len(json.dumps(loaded.card[CARD_KEY])) < 20_000


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: d["channels"].pop(), None),
        (lambda d: d["channels"].reverse(), "in this order"),
        (lambda d: d["channels"][0].pop("counts"), "damaged"),
        (lambda d: d.update(method="guess"), "one of integrated"),
        (lambda d: d["channels"][0]["edges"].reverse(), "must ascend"),
        (lambda d: d["channels"][0]["counts"].pop(), "do not fit together"),
        (lambda d: d["channels"][0].update(name="nobody"), "no feature 'nobody'"),
        (lambda d: d["channels"][-1].update(name="nobody"), "contribution of 'nobody'"),
    ],
)
def test_a_damaged_sketch_is_named(damage, words):
    model = make_model()
    document = json.loads(json.dumps(sketch_document(make_sketch(model, model.features.encode(like_training(200, 1))))))
    damage(document)
    if words is None:
        assert len(read_sketch(model, {CARD_KEY: document}).channels) == 12
        return
    with pytest.raises(ValueError, match=words):
        read_sketch(model, {CARD_KEY: document})
