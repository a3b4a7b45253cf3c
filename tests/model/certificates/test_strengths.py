"""Strengths: no slope and no change between categories exceeds them, and simple models attain them."""

import numpy as np
import pytest
from tests.support.twin import FEATURES, random_model

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel


def rows_in_range(rng, count):
    """Columns of the twin's features within the training range, present or, where that has a matrix, missing."""
    width, price = rng.uniform(-5.0, 5.0, count), np.exp(rng.uniform(np.log(0.5), np.log(900.0), count))
    sold = np.where(rng.random(count) < 0.2, np.nan, rng.integers(0, 2, count))
    kind = np.where(rng.random(count) < 0.2, np.nan, rng.integers(0, 3, count))
    return np.stack([width, price, sold, rng.integers(0, 5, count).astype(float), kind], axis=1)


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("dim", [1, 5])
def test_no_change_of_the_score_exceeds_the_strengths(task, dim):
    model, rng = random_model(task, dim=dim, seed=dim), np.random.default_rng(0)
    strengths = model.strengths()
    assert list(strengths) == list(FEATURES.names)
    columns = rows_in_range(rng, 4000)
    before = model.scores(columns)
    for i, feature in enumerate(FEATURES.features):
        moved = columns.copy()
        if feature.num_codes:
            moved[:, i] = rng.integers(0, feature.num_codes, len(columns))
            there = ~np.isnan(columns[:, i])
            change = np.abs(model.scores(moved) - before)[there].max()
            assert change <= strengths[feature.name]
            assert change >= 0.2 * strengths[feature.name]
            continue
        # Short ways find the steepest pieces, long ones cross knots.
        step = np.where(rng.random(len(columns)) < 0.5, 1e-3, rng.uniform(0.0, 2.0, len(columns)))
        moved[:, i] = np.clip(columns[:, i] + step, feature.low, feature.high)
        way = moved[:, i] - columns[:, i]
        rate = np.abs(model.scores(moved) - before)[way > 0] / way[way > 0, None]
        assert rate.max() <= strengths[feature.name] * (1 + 1e-9)  # 1e-9: the difference quotient rounds
        if feature.transform == "identity":
            assert rate.max() >= 0.2 * strengths[feature.name]


def test_a_sum_of_ramps_has_the_strength_of_its_steepest_piece():
    diag = np.array([0.0, 3.0, 4.0, 0.0, -2.0])[:, None, None] * np.ones((1, 1, 2))
    pencil = TridiagonalPencil(
        terms=(Term("x", (0,)),),
        curves=CurveSet(
            (
                Curve(0, (0,), (1.0,), knots=(-1.0, 0.0, 1.0)),
                Curve(0, (0,), (1.0,), knots=(-1.0, 1.0), extend=True),
            )
        ),
        constant_diag=np.zeros((1, 2)),
        constant_off_diag=np.zeros((1, 1)),
        diag=diag,
        off_diag=np.zeros((5, 1, 1)),
    )
    ensemble = SpectralEnsemble(pencil, 0, np.ones(1), np.zeros(1))
    for low, expected in ((-1.0, 2.0), (0.0, 1.0)):  # slopes 3 and 1 of the first curve, -1 of the second
        features = FeatureSpace((Feature("x", "numeric", 0.0, scale=2.0, low=2.0 * low, high=8.0),))
        model = SpectralModel("regression", "y", features, ensemble)
        assert model.strengths()["x"] == pytest.approx(expected / 2.0)
