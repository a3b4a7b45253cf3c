"""Pairs are found in noisy labels, also where one feature means something else by another's gaps."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings


def gaps_and_a_product(rows: int) -> pd.DataFrame:
    """Labels by the product of two numbers, and by ``along`` and ``kind`` where ``gappy`` and ``other`` have gaps."""
    rng = np.random.default_rng(7)
    gappy, other, along, left, right = rng.standard_normal((5, rows))
    kind = rng.choice(["a", "b", "c"], rows)
    gap, second = rng.random((2, rows)) < 0.25
    score = 0.5 * left * right + np.where(gap, 2.0 * np.sin(2.0 * along), 0.3 * gappy)
    score += np.where(second, np.where(kind == "a", 2.0, -1.0), 0.3 * other)
    label = rng.random(rows) < 1.0 / (1.0 + np.exp(-score))
    numbers = {"gappy": np.where(gap, np.nan, gappy), "other": np.where(second, np.nan, other)}
    return pd.DataFrame(numbers | {"along": along, "left": left, "right": right, "kind": kind, "y": label.astype(int)})


@pytest.fixture(scope="module")
def fitted():
    settings = make_settings({"members": 2, "dim": 3, "budget": 2.0, "reproducible": True})
    return fit(gaps_and_a_product(3000), "y", settings)


def test_pairs_of_gaps_and_of_values_are_found(fitted):
    pairs = fitted.model.card["training"]["pairs"]
    assert {(pair["term"], pair["gaps_of"]) for pair in pairs} == {
        ("gappy & along", "gappy"),
        ("other & kind", "other"),
        ("left & right", None),
    }


def test_a_feature_counts_only_where_the_other_has_a_gap(fitted):
    row = {"gappy": None, "other": 0.0, "along": 0.8, "left": 0.0, "right": 0.0, "kind": "b"}
    there = row | {"gappy": 0.0}
    moved = {"along": -0.8}
    rows = fitted.model.features.encode([row, row | moved, there, there | moved])
    scores = fitted.model.scores(rows)[:, 0]
    assert scores[0] - scores[1] > 2.0
    assert abs(scores[2] - scores[3]) < 0.8


def test_the_additive_model_with_pairs_is_in_the_blend_and_exactly_explained(fitted):
    kinds = {member["kind"] for member in fitted.model.card["training"]["members"]}
    assert "additive" in kinds
    rows = gaps_and_a_product(200).drop(columns="y")
    explanation = fitted.model.explain(rows)
    total = explanation.baseline + explanation.contributions.sum(axis=1)
    assert_allclose(total, explanation.score, rtol=0.0, atol=1e-9)
    assert "gappy & along" in explanation.terms


def test_a_pair_by_gaps_keeps_a_monotone_feature_monotone():
    given = {"pairs": [("gappy", "along")], "monotone": {"along": "+"}}
    settings = make_settings({"members": 1, "dim": 3, "budget": 0.2, "reproducible": True, **given})
    model = fit(gaps_and_a_product(600), "y", settings).model
    assert model.card["certificates"]["monotone"] == {"along": "+"}
    directions = [c.direction for c in model.ensemble.pencil.curves.curves if c.numeric == (0, 2)]
    assert (0.0, 1.0) in directions


def test_labels_of_chance_have_no_pairs():
    frame = gaps_and_a_product(1500)
    frame["y"] = np.random.default_rng(1).integers(0, 2, len(frame))
    settings = make_settings({"members": 1, "dim": 3, "budget": 0.2, "reproducible": True})
    assert fit(frame, "y", settings).model.card["training"]["pairs"] == []
