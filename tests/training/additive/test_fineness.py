"""Features get more knots where those explain something, and only there."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.training.evaluation.evaluate import evaluate
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings


def waves(rows, seed):
    rng = np.random.default_rng(seed)
    x, smooth = rng.uniform(0.0, 1.0, (2, rows))
    levels = rng.integers(0, 40, rows)
    noise = 0.3 * rng.standard_normal(rows)
    return pd.DataFrame({"x": x, "smooth": smooth, "levels": levels, "y": np.sin(90.0 * x) + smooth**2 + noise})


def test_a_feature_with_many_turns_is_learnt_and_the_others_stay_coarse():
    settings = make_settings({"members": 2, "budget": 2.0, "reproducible": True, "pairs": "none"})
    model = fit(waves(6000, 0), "y", settings).model
    pencil = model.ensemble.pencil
    knots = {pencil.terms[curve.term].name: len(curve.knots) for curve in pencil.curves.curves}
    # Fourteen waves are lost between 16 knots (the error is then 0.7), and 64 or 128 follow them.
    assert knots["x"] >= 64
    assert knots["smooth"] == 16
    assert knots["levels"] <= 40
    assert evaluate(model, waves(2000, 1)).metrics.values["rmse"] < 0.36


@pytest.mark.parametrize("rows", [200, 2000])
def test_noise_gets_no_knots(rows):
    frame = waves(rows, 2).assign(y=np.random.default_rng(3).standard_normal(rows))
    settings = make_settings({"members": 1, "budget": 0.2, "reproducible": True, "pairs": "none", "dim": 3})
    model = fit(frame, "y", settings).model
    assert max(len(curve.knots) for curve in model.ensemble.pencil.curves.curves) <= 12
