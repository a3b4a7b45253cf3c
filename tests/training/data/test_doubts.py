"""What may mean something else than it says is named: values that stand for missing ones, identifiers in disguise."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

ROWS = 200
RNG = np.random.default_rng(0)


def table_of(column, name="x", **settings):
    frame = pd.DataFrame({name: column, "z": RNG.uniform(size=ROWS), "y": RNG.uniform(size=ROWS)})
    return training_table(frame, "y", make_settings(settings))


def with_some(values, some, count=9):
    values = list(values)
    values[5 : 5 + count] = [some] * count
    return values


@pytest.mark.parametrize(
    ("values", "some"),
    [
        (RNG.uniform(-30, 45, ROWS), -999.0),
        (RNG.integers(18, 80, ROWS), 999),
        (RNG.integers(0, 60_000, ROWS), -999),
        (RNG.integers(1, 6, ROWS), 99),
        (pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d"), "9999-12-31"),
    ],
)
def test_values_that_look_like_missing_ones_are_named_with_the_option(values, some):
    notes = table_of(with_some(values, some)).notes
    assert any(f"'x' has {some:g} in 9 rows" in note if some != "9999-12-31" else some in note for note in notes)
    assert any("--missing x=" in note for note in notes)


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(900, 1_100, ROWS),
        np.round(RNG.normal(0, 1_000, ROWS)),
        with_some(RNG.integers(0, 80, ROWS), 999, count=2),
        RNG.choice([0, 99], ROWS),
    ],
)
def test_values_like_others_are_not(values):
    assert not any("--missing" in note for note in table_of(values).notes)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("customer_id", [*np.arange(5_001.0, 5_000.0 + ROWS), np.nan]),
        ("customer_id", np.arange(5_001.0, 5_001.0 + ROWS)),
        ("Unnamed: 0", RNG.permutation(ROWS)),
        ("code", [*(f"code {i * i}x" for i in range(ROWS - 1)), None]),
    ],
)
def test_identifiers_with_gaps_decimals_or_in_another_order_are_left_out_with_a_note(name, values):
    table = table_of(values, name)
    assert list(table.features) == ["z"]
    assert any(f"{name!r}" in note and "left out" in note for note in table.notes)
    assert name in table_of(values, name, types=f"{name}=category").features


def test_measurements_are_no_identifiers():
    assert "x" in table_of(RNG.permutation(ROWS) * 1.0).features
    assert "x" in table_of(RNG.uniform(size=ROWS)).features
