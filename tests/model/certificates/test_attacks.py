"""Attacks on certificates: `python -m benchmarks.certificates` at full size on the demo models, here on small ones."""

import numpy as np
import pytest
from benchmarks.attacks import attack
from tests.oracles.test_shap import numeric_model
from tests.support.twin import FEATURES, random_model, random_rows

from eigenserve.model.certificates.decision_radius import certified_radius
from eigenserve.model.certificates.intervals import score_interval
from eigenserve.model.certificates.reach import default_radii


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("share", [0.1, 1.0, 10.0])
def test_attacks_stay_inside_and_come_near_the_ends(task, share):
    model, rng = random_model(task, seed=3), np.random.default_rng(0)
    ratios = []
    for columns in FEATURES.encode(random_rows(10, seed=4)):
        radii = {name: share * radius for name, radius in default_radii(FEATURES, columns).items()}
        if not radii:
            continue
        seen = attack(model, columns, radii, rng, 1000)
        assert seen.random == 1000
        assert seen.adversarial >= 200
        found = score_interval(model, columns, radii)
        assert (found.low <= seen.low).all()
        assert (seen.high <= found.high).all()
        ratios.append(((found.high - found.low) / np.maximum(seen.high - seen.low, 1e-9)).min())
    assert np.median(ratios) <= (3.0 if share > 1.0 else 1.5)  # measured: 1.8 and 1.1


def test_an_attack_would_find_an_interval_that_is_too_narrow():
    model, rng = numeric_model(4, seed=3), np.random.default_rng(0)
    found = [score_interval(model, row, dict.fromkeys(model.features.names, 0.1)) for row in rng.normal(size=(8, 4))]
    rng = np.random.default_rng(0)
    escaped = 0
    for interval, row in zip(found, rng.normal(size=(8, 4)), strict=True):
        seen = attack(model, row, dict.fromkeys(model.features.names, 0.1), rng, 500)
        narrow = 0.7 * (interval.high - interval.score)
        escaped += bool((seen.high > interval.score + narrow).any())
    assert escaped >= 6


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_attacks_change_no_decision_within_the_certified_radius(task):
    model, rng = random_model(task, seed=6), np.random.default_rng(0)
    positive = 0
    for columns in FEATURES.encode(random_rows(8, seed=7)):
        scales = default_radii(FEATURES, columns)
        share = certified_radius(model, columns, scales)
        positive += 0.0 < share < 2.0**20
        seen = attack(model, columns, {name: share * scale for name, scale in scales.items()}, rng, 1000)
        score = model.scores(columns[None])[0]
        if task == "binary":
            assert (seen.low[0] > 0.0) if score[0] > 0.0 else (seen.high[0] < 0.0)
        else:
            assert seen.best_is == {int(score.argmax())}
    assert positive >= 4
