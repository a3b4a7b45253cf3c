"""Plausibility in models of few features: what judges it is kept in JSON, and read back as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.support.few_features import few_features_model

from eigenserve.model.counterfactuals.plausibility import MANY_ROWS, measure_typicality, read_typicality
from eigenserve.model.rows.date_cycles import CYCLES
from eigenserve.model.rows.features import Feature, FeatureSpace

CATEGORY = Feature("c", "categorical", "a", categories=("a", "b", "d"))
BOOLEAN = Feature("b", "boolean", True)
NUMBER = Feature("x", "numeric", 0.0, low=-1.0, high=1.0)
DATE = Feature("when", "datetime", 19000.0, center=19050.0, scale=50.0, low=19000.0, high=19100.0)
CYCLED = (DATE, *(Feature(f"when ({name})", "numeric", 1.0, source="when", cycle=name) for name in CYCLES))


@pytest.mark.parametrize(
    "features",
    [(CATEGORY,), (BOOLEAN,), (CATEGORY, BOOLEAN), (NUMBER,), (DATE,), CYCLED, (CATEGORY, NUMBER)],
    ids=lambda features: "-".join(feature.name for feature in features),
)
def test_a_checkpoint_keeps_it_whatever_the_kinds_of_features(features):
    model, rng = few_features_model(features), np.random.default_rng(0)
    values = {"c": ["a", "b", "d"], "b": [True, False], "x": [-0.5, 0.25, 1.0], "when": ["2022-01-09", "2022-02-09"]}
    given = [name for name in values if model.features.has(name)]
    rows = [{name: values[name][rng.integers(len(values[name]))] for name in given} for _ in range(50)]
    columns = model.features.encode(rows)
    measured = measure_typicality(model.features, columns)
    document = json.loads(json.dumps(measured.document()))
    read = read_typicality(model.features, document)
    np.testing.assert_array_equal(read.plausibility(columns), measured.plausibility(columns))
    kept = replace(model, card={"typicality": document})
    low, high = np.quantile(model.predict(rows), [0.0, 1.0])
    for found in kept.reasons(rows[:5], float(low)):
        assert found.adverse
    for (one, *_), *_ in zip(kept.counterfactuals(rows[:5], {"above": float(high)}), strict=True):
        assert 0.0 <= one.plausibility <= 1.0


def test_what_does_not_fit_the_features_is_refused():
    model = few_features_model([CATEGORY])
    document = measure_typicality(model.features, np.array([[0.0], [1.0]])).document()
    for wrong in ({"precision": [[1.0]]}, {"mean": [0.0]}, {"rarity": {"c": [0.0]}}):
        with pytest.raises(ValueError, match="does not fit the features"):
            read_typicality(model.features, {**document, **wrong})


def test_many_rows_are_as_unusual_as_few():
    rng = np.random.default_rng(0)
    features = FeatureSpace(tuple(Feature(name, "numeric", typical=0.0) for name in "abc"))
    columns = rng.normal(size=(MANY_ROWS + 500, 3)) @ rng.normal(size=(3, 3))
    typical = measure_typicality(features, columns)
    parts = [typical.unusualness(part) for part in np.array_split(columns, 3)]
    np.testing.assert_allclose(typical.unusualness(columns), np.concatenate(parts), rtol=1e-12)
