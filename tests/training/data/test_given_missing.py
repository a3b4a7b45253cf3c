"""Values that are given as missing are missing in every format, and stay so in the model."""

import contextlib
import datetime as dt
import io

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from eigenserve import load_model
from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model.onnx.export import to_onnx
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import read_table
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


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("missing", [["-999"], ["x=-999", "f=-999"], ["-999.0"]])
def test_numbers_given_as_missing_are_so_in_training_and_serving(sensors, missing, kind, tmp_path):
    table = table_of(sensors, missing, tmp_path, kind)
    assert table.features[["x", "f"]].isna().sum().tolist() == [12, 12]
    for value in (-999, -999.0, "-999", " -999.0", np.int64(-999), None):
        rows = [{"x": value, "f": value, "c": "u"}]
        assert np.isnan(encoded(table, rows)[0, :2]).all(), value
        assert np.isnan(encoded(table, pd.DataFrame(rows))[0, :2]).all(), value
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
