"""Whole numbers of more digits than a float holds are codes in every format, missing ones next to them or not."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from eigenserve.app.batch.encoding import encode_table
from eigenserve.app.wire.arrow import read_arrow
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import read_table
from eigenserve.training.estimators.arrays import read_features
from eigenserve.training.estimators.spectral import SpectralRegressor
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

ROWS = 80
IDS = [None if i == 7 else 100_000_000_000_000_000 + i % 4 for i in range(ROWS)]
COLUMNS = {"page": IDS, "y": list(np.arange(ROWS) * 1.5)}


def space_of(frame):
    table = training_table(frame, "y", make_settings({}))
    return infer_features(table.features, readings=table.readings)


def codes_of(space, rows):
    (page,) = space.features
    assert page.kind == "categorical"
    assert page.categories == tuple(str(100_000_000_000_000_000 + i) for i in range(4))
    return space.encode(rows)[:, 0]


@pytest.fixture(scope="module")
def expected():
    return np.array([np.nan if x is None else x % 4 for x in IDS])


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "sampled"])
def test_files(kind, expected, tmp_path):
    table = pa.table({"page": pa.array(IDS, pa.int64()), "y": COLUMNS["y"]})
    name = tmp_path / f"data.{'parquet' if kind == 'sampled' else kind}"
    if kind == "csv":
        pa.csv.write_csv(table, name)
    elif kind == "arrow":
        with pa.ipc.new_file(name, table.schema) as writer:
            writer.write_table(table)
    else:
        pa.parquet.write_table(table, name)
    frame = read_sample(name, ROWS - 1, 0).frame if kind == "sampled" else read_table(name)
    space = space_of(frame)
    rows = read_table(name)
    np.testing.assert_array_equal(codes_of(space, rows), expected)
    np.testing.assert_array_equal(space.encode([{"page": x} for x in IDS])[:, 0], expected)
    np.testing.assert_array_equal(encode_table(space, table)[0][:, 0], expected)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    columns = read_arrow(sink.getvalue().to_pybytes(), ["page"], 1000)
    np.testing.assert_array_equal(space.encode(columns)[:, 0], expected)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pd.DataFrame], ids=["polars", "pyarrow", "pandas"])
@pytest.mark.parametrize("whole", [int, Decimal])
def test_frames(make, whole, expected):
    cells = [None if x is None else whole(x) for x in IDS]
    if make is pd.DataFrame:
        cells = pd.Series(cells, dtype=object)
    frame = read_features(SpectralRegressor(), make({"page": cells, "y": COLUMNS["y"]}), reset=True)
    np.testing.assert_array_equal(codes_of(space_of(frame), frame), expected)


def test_more_than_64_bits():
    frame = pd.DataFrame({"page": pd.Series([10**20 + i % 4 for i in range(ROWS)], dtype=object), "y": COLUMNS["y"]})
    (page,) = space_of(frame).features
    assert page.categories == tuple(str(10**20 + i) for i in range(4))
