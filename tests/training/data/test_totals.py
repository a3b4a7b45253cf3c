"""A last row that sums up the others is left out with a note."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.training.data.oddities.totals import without_totals
from eigenserve.training.data.table import read_table
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

RNG = np.random.default_rng(0)
SALES = pd.DataFrame(
    {
        "region": [f"R{i % 7}" for i in range(40)],
        "z": RNG.uniform(50, 200, 40).round(1),
        "y": RNG.uniform(100, 900, 40).round(2),
    }
)


def with_row(**cells):
    return pd.concat([SALES, pd.DataFrame([cells])], ignore_index=True)


@pytest.mark.parametrize("label", ["Total", "TOTAL:", "Grand total", "Sum", "Summe", "Gesamt", "Insgesamt", "Totals"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_of_totals_is_not_trained_on(label, kind, tmp_path):
    frame, name = with_row(region=label, z=SALES["z"].sum(), y=SALES["y"].sum().round(1)), tmp_path / f"data.{kind}"
    frame.to_csv(name, index=False) if kind == "csv" else frame.to_parquet(name, index=False)
    table = training_table(read_table(name), "y", make_settings({}))
    assert len(table.features) == len(table.target.values) == 40
    assert table.target.values.max() < 1000
    assert f"the last row, {label!r} in 'region', sums up the others, and was left out" in table.notes[0]


@pytest.mark.parametrize(
    "cells",
    [
        {"region": "Average", "z": SALES["z"].mean(), "y": SALES["y"].mean()},
        {"region": None, "z": SALES["z"].sum(), "y": SALES["y"].sum()},
        {"region": "Total", "z": None, "y": SALES["y"].sum()},
        # In a column of numbers, as of a sheet.
        {"region": None, "z": "Total", "y": SALES["y"].sum()},
    ],
)
def test_means_and_rows_without_a_label_are_recognised_by_their_numbers(cells):
    frame, notes = without_totals(with_row(**cells))
    assert len(frame) == 40
    assert "left out" in notes[0]


def test_a_label_alone_is_noted():
    frame, notes = without_totals(with_row(region="Total", z=75.0, y=300.0))
    assert len(frame) == 41
    assert notes == ("the last row says 'Total' in 'region': if it sums up the others, remove it from the table",)


@pytest.mark.parametrize(
    "frame",
    [
        SALES,
        SALES.replace({"region": {"R4": "Total"}}),
        with_row(region="R1", z=1.0, y=SALES["y"].sum()),
        pd.DataFrame({"a": [0.0] * 40, "b": [0] * 40}),
        pd.DataFrame({"a": [True] * 40, "b": [1] * 40}),
        SALES.head(3),
    ],
)
def test_other_tables_are_left_alone(frame):
    same, notes = without_totals(frame)
    assert same is frame
    assert not notes
