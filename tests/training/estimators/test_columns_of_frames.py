"""Estimators read the columns of frames as the command line does, before they look for identifiers."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from eigenserve import SpectralRegressor
from eigenserve.training.data.schema import infer_features

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
