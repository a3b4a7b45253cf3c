"""Features keep which values are possible: steps, the few values of training, the order of categories."""

import numpy as np
import pandas as pd
import pytest
from tests.support.twin import random_ensemble

from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.schema import infer_features
from eigenserve.training.fit import fit
from eigenserve.training.settings import FitSettings


def feature(values):
    return infer_features(pd.DataFrame({"x": values})).features[0]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1.0, 3.0, 8.0], 1.0),
        ([0.0, 500.0, 1500.0], 500.0),
        ([7.25, 8.05, 512.33], 0.01),
        ([0.25, 1.75, 2.5], 0.25),
        ([0.1234, 3.5], 0.0002),
        ([np.pi, np.e], 0.0),
        ([1e16, 1.5], 0.0),
        ([-2.5, 0.0, 5.0], 2.5),
    ],
)
def test_the_step_is_the_largest_decimal_of_which_all_values_are_multiples(values, step):
    found = feature(values)
    assert found.step == step
    if step:
        counts = np.round(np.array(values) / step)
        assert found.multiples(counts).tolist() == values


def test_few_values_seen_often_are_the_only_ones_unless_they_are_all_multiples():
    assert feature([1.0, 2.0, 5.0] * 40).values == (1.0, 2.0, 5.0)
    assert feature([1.0, 2.0, 3.0] * 40).values == ()
    assert feature([1.0, 2.0, 5.0] * 4).values == ()
    assert feature([0.1, np.pi] * 40).values == (0.1, np.pi)
    assert feature(np.arange(25.0).repeat(40) ** 2).values == ()


def test_an_ordered_column_keeps_its_order():
    sizes = pd.Categorical(["small", "large", "medium", "small"] * 10, ["small", "medium", "large"], ordered=True)
    frame = pd.DataFrame({"size": sizes, "sold": np.arange(40.0)})
    model = fit(frame, "sold", FitSettings(members=1, dim=3, epochs=1)).model
    (found,) = model.features.features
    assert found.ordered
    assert found.categories == ("small", "medium", "large")
    assert not feature(pd.Series(["small", "large"] * 10).astype("category")).ordered


def test_a_checkpoint_keeps_what_is_possible(tmp_path):
    kept = (
        Feature("x", "numeric", 2.0, step=0.5, values=(0.5, 2.0, 9.0)),
        Feature("size", "categorical", "small", categories=("small", "large"), ordered=True),
    )
    curves = CurveSet((Curve(0, (0,), (1.0,), knots=(0.0, 1.0)),))
    ensemble = random_ensemble(np.random.default_rng(0), terms=(Term("x", (0,)),), curves=curves)
    write_checkpoint(tmp_path, SpectralModel("regression", "y", FeatureSpace(kept), ensemble))
    assert read_checkpoint(tmp_path).features.features == kept
