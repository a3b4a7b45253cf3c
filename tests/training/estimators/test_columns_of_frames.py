"""Estimators read the columns of frames as the command line does, before they look for identifiers."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from eigenserve import SpectralClassifier, SpectralRegressor
from eigenserve.errors import UserError
from eigenserve.training.data.schema import infer_features
from eigenserve.training.estimators.arrays import read_target
from eigenserve.training.estimators.remedies import in_python
from eigenserve.training.planning.costs import Sizes
from eigenserve.training.planning.machine import Machine
from eigenserve.training.planning.plan import full_scope, make_plan

ROWS = 60
A = np.random.default_rng(0).uniform(0, 100, ROWS)
DAYS = pd.date_range("2020", periods=ROWS, freq="D")


def objects(values):
    return pd.Series(list(values), dtype=object)


def typed(values, kind):
    return pd.Series(pd.array(list(values), dtype=pd.ArrowDtype(kind)))


#: Columns whose values all differ, and what they are.
DIFFERENT = {
    "objects": (objects(A), "numeric"),
    "16 bits": (pd.Series(np.linspace(0, 60_000, ROWS).astype(np.float16)), "numeric"),
    "80 bits": (pd.Series(A.astype(np.longdouble)), "numeric"),
    "decimals": (objects(Decimal(f"{v:.6f}") for v in A), "numeric"),
    "mixed": (objects(v if i % 2 else f"{v}" for i, v in enumerate(A)), "numeric"),
    "money": (objects(f"${v * 1000:,.2f}" for v in A), "numeric"),
    "ISO texts": (objects(day.date().isoformat() for day in DAYS), "datetime"),
    "dates": (objects(DAYS.date), "datetime"),
    "times": (objects(dt.time(i // 60, i % 60) for i in range(ROWS)), "numeric"),
    "periods": (pd.Series(pd.period_range("2015-01", periods=ROWS, freq="M")), "datetime"),
    "durations": (pd.Series(pd.to_timedelta(A, unit="h")), "numeric"),
    "Arrow durations": (typed((dt.timedelta(minutes=i) for i in range(ROWS)), pa.duration("us")), "numeric"),
    "Arrow times": (typed((dt.time(i // 60, i % 60) for i in range(ROWS)), pa.time64("us")), "numeric"),
    "Arrow decimals": (typed((Decimal(f"{v:.2f}") for v in A), pa.decimal128(12, 2)), "numeric"),
    "Arrow moments": (typed(DAYS, pa.timestamp("us", "UTC")), "datetime"),
    "Arrow dates": (typed(DAYS.date, pa.date32()), "datetime"),
}


@pytest.fixture
def train(monkeypatch):
    """Train estimators as far as the rows that a fit gets: the features and their readings."""
    got = {}

    class StopError(Exception):
        pass

    def stop(table, target, weight, settings, readings):
        got.update(table=table, readings=readings)
        raise StopError

    monkeypatch.setattr("eigenserve.training.estimators.base.fit_rows", stop)

    def run(frame, **parameters):
        with pytest.raises(StopError):
            SpectralRegressor(**parameters).fit(frame, A)
        return got["table"], got["readings"]

    return run


@pytest.mark.parametrize("name", DIFFERENT)
def test_values_that_all_differ_are_what_they_are(name, train):
    column, kind = DIFFERENT[name]
    frame = pd.DataFrame({"a": column, "z": A[::-1]})
    table, readings = train(frame)
    space = infer_features(table, readings=readings)
    assert space.features[0].name == "a"
    assert space.features[0].kind == kind
    # The raw cells are those of predictions.
    encoded = space.encode(frame)
    assert len(np.unique(encoded[:, 0])) == ROWS
    np.testing.assert_allclose(np.sort(encoded[:, 0]), np.sort(space.encode(table)[:, 0]))


def test_polars_decimals_are_numbers(train):
    table, _ = train(pl.DataFrame({"a": [Decimal(f"{v:.6f}") for v in A], "z": A[::-1]}))
    np.testing.assert_allclose(np.sort(table["a"].astype(float)), np.sort(A.round(6)))


def test_polars_whole_numbers_of_128_bits_are_numbers(train):
    frame = pl.DataFrame({"a": list(range(7)) * 8 + [3, 4, 5, None], "z": A}, schema_overrides={"a": pl.Int128})
    table, _ = train(frame)
    assert table["a"].sum() == 7 * 24 + 12
    long = pl.DataFrame({"a": [2**70 + i % 2 for i in range(ROWS)], "z": A}, schema_overrides={"a": pl.Int128})
    assert set(train(long)[0]["a"]) == {str(2**70), str(2**70 + 1)}


@pytest.mark.parametrize(
    "column",
    [
        objects([[1, 2]] * ROWS),
        objects([{"a": 1}] * ROWS),
        objects([np.zeros(2)] * ROWS),
        typed([[1, 2]] * ROWS, pa.list_(pa.int64())),
        typed([{"a": 1}] * ROWS, pa.struct([("a", pa.int64())])),
        typed([[("k", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
    ],
    ids=["lists", "dicts", "arrays", "Arrow lists", "Arrow structs", "Arrow maps"],
)
@pytest.mark.parametrize("types", [None, {"a": "category"}, {"a": "number"}])
def test_cells_of_several_values_are_refused_by_name(column, types):
    with pytest.raises(ValueError, match="column 'a' must hold single values; row 1 has"):
        SpectralRegressor(types=types).fit(pd.DataFrame({"a": column, "z": A}), A)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table], ids=["polars", "pyarrow"])
def test_nested_columns_of_other_libraries_are_refused_by_name(make):
    with pytest.raises(ValueError, match="column 'a' must hold single values; row 1 has"):
        SpectralRegressor().fit(make({"a": [{"b": 1}] * ROWS, "z": list(A)}), A)


def test_types_keep_a_column_that_is_left_out_otherwise(train):
    frame = pd.DataFrame({"row": range(ROWS), "z": A})
    assert list(train(frame)[0]) == ["z"]
    assert list(train(frame, types={"row": "number"})[0]) == ["row", "z"]
    with pytest.raises(ValueError, match="no column 'rows'"):
        SpectralRegressor(types={"rows": "number"}).fit(frame, A)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(pd.to_timedelta(A, unit="h")),
        pd.to_timedelta(A, unit="h").to_numpy(),
        objects(dt.timedelta(hours=hours) for hours in A),
        typed((dt.timedelta(hours=hours) for hours in A), pa.duration("us")),
        pl.Series([dt.timedelta(hours=hours) for hours in A]),
    ],
    ids=["pandas", "numpy", "python", "arrow", "polars"],
)
def test_durations_are_predicted_in_hours_as_on_the_command_line(y):
    values, notes = read_target(y, ROWS)
    assert values == pytest.approx(A, abs=1e-8)
    assert notes == ("'y' holds durations or times of day: read as hours",)
    with pytest.raises(ValueError, match="y must hold classes; it has durations such as"):
        read_target(y, ROWS, numeric=False)


@pytest.mark.parametrize(
    "y",
    [
        *(DAYS, DAYS.to_numpy(), DAYS.tz_localize("UTC"), objects(DAYS.date), objects(DAYS.to_period("M"))),
        *(typed(DAYS.date, pa.date32()), pl.Series(DAYS.to_list())),
    ],
    ids=["pandas", "numpy", "zone", "days", "periods", "arrow", "polars"],
)
def test_dates_are_no_targets_as_on_the_command_line(y):
    with pytest.raises(ValueError, match=r"y must hold numbers; it has dates such as 20.*: make a number of them"):
        SpectralRegressor().fit(pd.DataFrame({"x": A}), y)
    with pytest.raises(ValueError, match=r"y must hold classes; it has dates such as 20.*: make texts of them"):
        read_target(y, ROWS, numeric=False)


def test_a_fit_on_durations_says_that_it_predicts_hours():
    model = SpectralRegressor(budget=0.01, members=1, dim=3).fit(pd.DataFrame({"x": A}), pd.to_timedelta(A, unit="h"))
    assert "'y' holds durations or times of day: read as hours" in model.notes_
    assert np.abs(model.predict(pd.DataFrame({"x": A})) - A).max() < 200.0


def test_no_note_or_error_of_an_estimator_names_an_option_of_the_command_line():
    rows = 1200
    rng = np.random.default_rng(0)
    x, rare = rng.normal(size=rows), np.arange(rows) % 40 == 0
    frame = pd.DataFrame(
        {
            **{"x": x, "same one": 1.0, "twin": x, "when": pd.date_range("2020", periods=rows, freq="h")},
            "gaps": np.where(np.arange(rows) % 4, np.nan, rng.normal(size=rows)),
        }
    )
    model = SpectralClassifier(budget=0.01, members=1, dim=3, types={"when": "date"}).fit(frame, rare)
    notes = "\n".join(model.notes_)
    for said in ('leave "same one" out of X', "leave twin out of X", 'class_weight="balanced" if'):
        assert said in notes, notes
    assert "--" not in notes
    assert in_python("the model cheats, --exclude c") == "the model cheats, leave c out of X"
    sizes, machine = Sizes(1_000_000, 50, (), 1, 400_000_000), Machine(2, 1.0, 8_000_000_000)
    with pytest.raises(UserError) as error:
        make_plan(sizes, full_scope(sizes, 5, 10), machine, 60.0, 200_000_000)
    assert in_python(str(error.value)).endswith("leave out columns, give fewer rows or free more memory")
