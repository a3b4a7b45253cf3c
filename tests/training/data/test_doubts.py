"""What may mean something else than it says is named: values that stand for missing ones, identifiers in disguise."""

import re

import numpy as np
import pandas as pd
import pytest

from eigenserve.errors import UserError
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.oddities.doubts import without_identifiers
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.schema import infer_features
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


@pytest.mark.parametrize("mark", [-1.7976931348623157e308, 1e300, -3.4028234663852886e38, -3.40282e38])
def test_numbers_too_large_to_be_any_are_missing_in_training_and_serving(mark):
    cells = [0.5, 1.5, mark, *range(3, 60)]
    read = read_columns(pd.DataFrame({"elevation": cells}))
    assert np.flatnonzero(read.frame["elevation"].isna()).tolist() == [2]
    assert re.match(r"in 'elevation' -?[0-9.e+]+ in row 3 is too large to be a number and counts", read.notes[0])
    space = infer_features(read.frame, readings=read.readings)
    written = [mark, str(mark), *([np.float32(mark), str(np.float32(mark))] if abs(mark) < 1e39 else [])]
    assert np.isnan(space.encode({"elevation": written})).all()


def test_many_different_numbers_too_large_to_be_any_stop_the_fit():
    some = pd.DataFrame({"x": [1e200 * i for i in range(1, 20)] + [1.0] * 40})
    with pytest.raises(UserError, match="is nearly all finite numbers, but 19 of 59 cells"):
        read_columns(some)
    frame = pd.DataFrame({"x": [1e200 * i for i in range(1, 60)]})
    with pytest.raises(UserError, match=r"'x' must have sizes between 1e-100 and 1e\+100; got 5.9e\+201: rescale it"):
        read_columns(frame)
    assert read_columns(frame, ReadingOptions(types={"x": "number"})).frame["x"].isna().all()


def test_the_remedy_for_an_identifier_is_a_type_that_it_can_have():
    table = pd.DataFrame({"name": [f"n{i}x" for i in range(60)], "x": [i % 7 for i in range(60)]})
    _, notes = without_identifiers(table)
    assert "(--types name=category keeps it)" in notes[0]
    _, notes = without_identifiers(table.assign(name=[None, *table["name"][1:]]))
    assert "(--types name=category keeps it)" in notes[0]
