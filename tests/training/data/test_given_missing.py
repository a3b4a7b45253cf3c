"""Values that are given as missing are missing in every format, and stay so in the model."""

import contextlib
import datetime as dt
import io

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest

from eigenserve import load_model
from eigenserve.app.batch.encoding import encode_table
from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model.onnx.export import to_onnx
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import FileOptions, read_table
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

ROWS = 60


def table_of(frame, missing, path, kind):
    """Write a table, read it as a file of its kind, and prepare it for training."""
    name = path / f"data.{kind}"
    frame.to_csv(name, index=False) if kind == "csv" else frame.to_parquet(name, index=False)
    return training_table(read_table(name), "y", make_settings({"missing": missing}))


def encoded(table, rows):
    return infer_features(table.features, readings=table.readings).encode(rows)


@pytest.fixture
def sensors():
    x = np.arange(ROWS) % 17
    return pd.DataFrame(
        {
            "x": np.where(np.arange(ROWS) % 5 == 0, -999, x),
            "f": np.where(np.arange(ROWS) % 5 == 0, -999.0, x + 0.5),
            "c": np.resize(["NA", "u", "v", None], ROWS),
            "y": np.arange(ROWS) * 1.5,
        }
    )


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
@pytest.mark.parametrize(
    ("values", "missing", "types"),
    [
        ([dt.time(0), dt.time(9, 30), dt.time(17)], "00:00:00", ""),
        (pd.to_timedelta([0, 570, 1020], "min"), "0 days 00:00:00", ""),
        (pd.to_datetime(["1900-01-01", "2024-01-31", "2024-02-01"]), "1900-01-01", "category"),
        ([dt.time(0), dt.time(9, 30), dt.time(17)], "00:00:00", "category"),
        (pd.to_timedelta([0, 570, 1020], "min"), "0 days 00:00:00", "category"),
    ],
    ids=["times of day", "durations", "days as categories", "times as categories", "durations as categories"],
)
def test_times_given_as_missing_are_so_in_every_format(values, missing, types, kind, tmp_path):
    frame = pd.DataFrame({"c": [values[i % 3] for i in range(ROWS)], "y": np.arange(ROWS) % 7})
    settings = make_settings({"missing": (f"c={missing}",), "types": (("c", types),) if types else ()})
    if kind == "csv":
        frame.to_csv(tmp_path / "data.csv", index=False)
    elif kind == "parquet":
        frame.to_parquet(tmp_path / "data.parquet")
    read = frame if kind == "frame" else read_table(tmp_path / f"data.{kind}", FileOptions(texts=frozenset({"c"})))
    table = training_table(read, "y", settings)
    space = infer_features(table.features, readings=table.readings)
    assert space.features[0].kind == ("categorical" if types else "numeric")
    cells = pd.DataFrame({"c": frame["c"].astype(str)})
    for rows in (table.features, read, frame, cells, pa.Table.from_pandas(frame[["c"]]).to_pylist()):
        assert np.isnan(space.encode(rows)[:, 0]).tolist() == [i % 3 == 0 for i in range(ROWS)]
    columns, faults = encode_table(space, pa.Table.from_pandas(frame))
    assert np.isnan(columns[:, 0]).sum() == ROWS / 3
    assert not faults


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("missing", [["-999"], ["x=-999", "f=-999"], ["-999.0"]])
def test_numbers_given_as_missing_are_so_in_training_and_serving(sensors, missing, kind, tmp_path):
    table = table_of(sensors, missing, tmp_path, kind)
    assert table.features[["x", "f"]].isna().sum().tolist() == [12, 12]
    for value in (-999, -999.0, "-999", " -999.0", np.int64(-999), None):
        rows = [{"x": value, "f": value, "c": "u"}]
        assert np.isnan(encoded(table, rows)[0, :2]).all(), value
        assert np.isnan(encoded(table, pd.DataFrame(rows))[0, :2]).all(), value
    space = infer_features(table.features, readings=table.readings)
    scored = encode_table(space, pa.Table.from_pandas(sensors))[0]
    np.testing.assert_array_equal(np.isnan(scored[:, :2]).all(1), np.arange(ROWS) % 5 == 0)
    assert np.isnan(encoded(table, [[-999, -999, "u"], [3, 4.5, "u"]])[:, :2]).all(1).tolist() == [True, False]


def test_an_option_for_one_column_leaves_the_usual_words_to_the_others(sensors, tmp_path):
    table = table_of(sensors, ["x=-999"], tmp_path, "csv")
    assert set(table.features["c"].dropna()) == {"u", "v"}
    assert table.features[["x", "f"]].isna().sum().tolist() == [12, 0]
    assert np.isnan(encoded(table, [["-999", 1, "NULL"]])[0, 2])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_misspelt_column_is_refused(sensors, kind, tmp_path):
    with pytest.raises(UserError, match="no column 'xx'; the columns are x, f, c"):
        table_of(sensors, ["xx=-999"], tmp_path, kind)


def test_dates_and_objects_given_as_missing(tmp_path):
    days = [dt.datetime(2024, 1, 1) + dt.timedelta(days=i % 23) for i in range(ROWS)]
    days[3] = dt.datetime(9999, 12, 31)
    frame = pd.DataFrame({"when": pd.Series(days, dtype="datetime64[us]"), "y": np.arange(ROWS) * 1.5})
    table = table_of(frame, ["when=9999-12-31"], tmp_path, "parquet")
    assert np.flatnonzero(table.features["when"].isna()).tolist() == [3]
    for value in ("9999-12-31", dt.date(9999, 12, 31), dt.datetime(9999, 12, 31), np.datetime64("9999-12-31")):
        assert np.isnan(encoded(table, [{"when": value}])[0, 0]), value
    objects = pd.DataFrame({"n": pd.Series([-9, 1.5, 2, None] * 15, dtype=object), "y": np.arange(ROWS) * 1.5})
    table = training_table(objects, "y", make_settings({"missing": ["-9"]}))
    assert table.features["n"].isna().sum() == 30


@pytest.mark.parametrize(
    ("kind", "cell", "odd"),
    [
        ("number", "{}", 3),
        ("number", "{}", 75),
        ("date", "2024-01-{:02}", 3),
        ("date", "2024-01-{:02}", 75),
        ("time", "{}:30", 3),
    ],
)
def test_a_given_type_reads_all_other_texts_as_missing(kind, cell, odd):
    is_odd = (np.arange(160) % 2 == 0) & (np.arange(160) < 2 * odd)
    texts = [f"see note {i}" if is_odd[i] else cell.format(i % 20 + 1) for i in range(160)]
    frame = pd.DataFrame({"x": texts, "y": np.arange(160) * 1.5})
    table = training_table(frame, "y", make_settings({"types": {"x": kind}}))
    assert table.features["x"].isna().sum() == odd
    np.testing.assert_array_equal(np.isnan(encoded(table, frame)[:, 0]), is_odd)
    assert np.isnan(encoded(table, [{"x": "see another"}])[0, 0])


def test_odd_texts_that_a_reading_cannot_list_are_missing_in_serving():
    texts = [f"see note {i}" if i < 60 else str(i % 50) for i in range(7000)]
    frame = pd.DataFrame({"x": texts, "y": np.arange(7000) * 1.5})
    table = training_table(frame, "y", make_settings({}))
    np.testing.assert_array_equal(np.isnan(encoded(table, frame)[:, 0]), np.arange(7000) < 60)
    few = training_table(frame.iloc[55:], "y", make_settings({}))
    with pytest.raises(ValueError, match="got the text 'see another'"):
        encoded(few, [{"x": "see another"}])


def test_a_model_keeps_what_is_missing(sensors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sensors.to_csv("data.csv", index=False)
    quick = ["--members", "1", "--dim", "3", "--budget", "1", "--pairs", "none"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["fit", "data.csv", "--target", "y", "--missing=-999", *quick]) == 0
    model = load_model("models/data")
    blank, given = (model.predict([{"x": value, "f": value, "c": "u"}]) for value in (None, -999))
    assert blank == given
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])
    row = {"x": np.array([[-999.0]]), "f": np.array([[-999.0]]), "c": np.array([["u"]], object)}
    assert session.run(["prediction"], row)[0].item() == pytest.approx(given.item(), rel=1e-5)
