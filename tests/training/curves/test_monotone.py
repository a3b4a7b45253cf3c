"""No pair of rows and no adversary finds a monotone score falling; they do find one that is not."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.monotone import adversary, along_knots, random_pairs

from eigenserve.training.data.table import read_table
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings

DATA = Path(__file__).parents[3] / "examples" / "data" / "california_housing_train.csv"
SEARCHES = [(random_pairs, 20_000), (along_knots, 100), (adversary, 200)]


@pytest.fixture(scope="module")
def models():
    frame = read_table(DATA).sample(1500, random_state=0, ignore_index=True)
    options = {"members": 2, "dim": 7, "budget": 0.5, "reproducible": True, "pairs": "median_income:households"}
    free = fit(frame, "median_house_value", make_settings(options)).model
    kept = fit(frame, "median_house_value", make_settings({**options, "monotone": "median_income=+"})).model
    return kept, free, kept.features.encode(frame)


@pytest.mark.parametrize(("search", "count"), SEARCHES)
def test_a_monotone_score_never_falls(models, search, count):
    kept, _, columns = models
    index = kept.features.names.index("median_income")
    found = search(kept, columns, index, 1.0, count, np.random.default_rng(1))
    assert found.held
    assert found.tried >= count
    assert kept.card["certificates"]["monotone"] == {"median_income": "+"}


@pytest.mark.parametrize(("search", "count"), SEARCHES)
def test_the_searches_find_a_score_that_falls(models, search, count):
    _, free, columns = models
    index = free.features.names.index("households")
    assert not search(free, columns, index, 1.0, count, np.random.default_rng(1)).held
