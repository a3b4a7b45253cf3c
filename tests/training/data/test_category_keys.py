"""A category has one key in every format, and spellings that mean something stay apart."""

import datetime as dt
import io
import json

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest

from eigenserve.app.batch.encoding import encode_table
from eigenserve.app.wire.arrow import read_arrow
from eigenserve.errors import UserError
from eigenserve.model.rows.cells import CategoryCodes, category_key
from eigenserve.model.rows.readings import PLAIN
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import FileOptions, read_table
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

DURATIONS = pd.to_timedelta([3600, -3600, 2 * 86400 + 0.5], "s")
#: name -> (cells of a CSV file, the same in Parquet).
SAME = {
    "zeros at the end": (["1.50", "2.25", "3.00"], [1.5, 2.25, 3.0]),
    "32 bits": (["0.10", "0.2", "1.10"], np.array([0.1, 0.2, 1.1], np.float32)),
    "small": (["0.00001", "0.0000250", "1"], [0.00001, 0.000025, 1.0]),
    "very small": (["1e-07", "2.5E-7", "0.25"], [1e-7, 2.5e-7, 0.25]),
    "very large": (["1e+16", "250000000000000000", "1.0E23"], [1e16, 2.5e17, 1e23]),
    "16 bits": (["0.1", "0.2", "1.1"], np.array([0.1, 0.2, 1.1], np.float16)),
    "in New York": (
        ["2022-01-01 00:00:00-05:00", "2022-01-01T06:00Z", "2022-01-01 07:00:00"],
        pd.date_range("2022-01-01", periods=3, freq="h", tz="America/New_York"),
    ),
    "times of day": (
        ["01:00:00", "00:00:00", "23:59:59.500000"],
        [dt.time(1), dt.time(0), dt.time(23, 59, 59, 500000)],
    ),
    "durations": (["0 days 01:00:00", "-1 days +23:00:00", "2 days 00:00:00.500000"], DURATIONS),
    "dates": (["2022-01-01", "2022-01-02", "2022-01-03"], pd.date_range("2022-01-01", periods=3)),
    "days": (["2022-01-01", "2022-01-02", "2022-01-03"], [dt.date(2022, 1, day) for day in (1, 2, 3)]),
    "moments": (
        ["2022-01-01T10:00", "2022-01-02 10:00:00", "2022-01-03"],
        [dt.datetime(2022, 1, 1, 10), dt.datetime(2022, 1, 2, 10), dt.datetime(2022, 1, 3)],
    ),
    "in UTC": (["2022-01-01", "2022-01-02", "2022-01-03"], pd.date_range("2022-01-01", periods=3, tz="UTC")),
    "flags": (["True", "False", "True"], [True, False, True]),
}


@pytest.mark.parametrize(("texts", "values"), SAME.values(), ids=SAME)
def test_a_category_is_the_same_in_csv_parquet_json_and_frames(texts, values, tmp_path):
    options = ReadingOptions(types={"g": "category"})
    typed = pd.DataFrame({"g": values})
    typed.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("g,h\n" + "".join(f"{text},1\n" for text in texts))
    files = FileOptions(texts=frozenset({"g"}))
    frames = [typed, read_table(tmp_path / "a.parquet"), read_table(tmp_path / "a.csv", files)[["g"]]]
    for frame in frames:
        read = read_columns(pd.concat([frame] * 3, ignore_index=True), options)
        space = infer_features(read.frame, readings=read.readings)
        assert len(space.features[0].categories) == len(set(map(str, values)))
        expected = space.encode(read.frame)[:3, 0].tolist()
        for rows in (typed, frame, [{"g": text} for text in texts], {"g": list(values)}):
            assert space.encode(rows)[:, 0].tolist() == expected
        columns, faults = encode_table(space, pa.table({"g": pa.Array.from_pandas(typed["g"])}))
        assert (columns[:, 0].tolist(), faults) == (expected, {})


@pytest.mark.parametrize(("texts", "values"), SAME.values(), ids=SAME)
def test_a_category_is_the_same_to_the_service(texts, values):
    options = ReadingOptions(types={"g": "category"})
    typed = pd.DataFrame({"g": values})
    read = read_columns(pd.concat([typed] * 3, ignore_index=True), options)
    space = infer_features(read.frame, readings=read.readings)
    expected = space.encode(read.frame)[:3, 0].tolist()
    assert len(set(expected)) == len(set(texts))
    table = pa.Table.from_pandas(typed.astype("float32") if typed["g"].dtype == np.float16 else typed)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    json_rows = json.loads(table.to_pandas().to_json(orient="records", date_format="iso"))
    ways = [read_arrow(sink.getvalue(), ["g"], 10), table.to_pylist(), polars.from_arrow(table)]
    if typed["g"].dtype.kind != "m":  # JSON has no durations
        ways.append(json_rows)
    assert [space.encode(rows)[:, 0].tolist() for rows in ways] == [expected] * len(ways)


def test_a_float_that_no_precision_makes_a_category_is_unknown():
    codes = CategoryCodes(("0.1", "16777216"), PLAIN)
    assert [codes.code_of(value) for value in (0.1, float(np.float32(0.1)), 16777216.0)] == [0.0, 0.0, 1.0]
    assert [codes.code_of(value) for value in (0.1001, 16777217.0, 1e300)] == [2.0] * 3


def test_a_key_says_what_a_value_is_and_not_how_it_is_written():
    assert category_key(1e-5) == category_key("0.000010") == "0.00001"
    assert category_key(np.datetime64("2022-01-01T00:00:00", "ns")) == "2022-01-01"
    assert category_key("2022-01-01T00:00Z") == category_key("2022-01-01 00:00:00.000000+00:00") == "2022-01-01"
    assert [category_key(text) for text in ("10.0.0.1", "007", "1.", "1e3", "v1.10")] == [
        *("10.0.0.1", "007", "1.", "1e3", "v1.10")
    ]


@pytest.mark.parametrize("genes", [("AA", "Aa", "aa"), ("AABb", "AaBb", "aaBB"), ("A/A", "A/a", "a/a")])
def test_genotypes_are_apart_as_features_and_as_a_target(genes):
    frame = pd.DataFrame({"g": genes * 30, "x": range(90)})
    assert set(read_columns(frame).frame["g"]) == set(genes)
    assert training_table(frame, "g", make_settings({})).target.classes == tuple(sorted(genes))


def test_a_given_type_keeps_spellings_apart():
    frame = pd.DataFrame({"g": ("Mb", "MB", "mb") * 30, "v": ("1.1", "1.10", "2") * 30, "x": range(90)})
    read = read_columns(frame[["g", "x"]])
    assert read.frame["g"].nunique() == 1
    assert "in 'g' 'Mb' and 'MB' are one category (--types g=category keeps them apart)" in read.notes
    read = read_columns(frame, ReadingOptions(types={"g": "category", "v": "category"}))
    assert read.frame["g"].tolist() == frame["g"].tolist()
    assert read.frame["v"].tolist() == frame["v"].tolist()
    assert read.notes == ("in 'v' '1.1' and '1.10' are two categories, as they are spelt",)
    space = infer_features(read.frame, readings=read.readings)
    assert len(set(space.encode(frame)[:3, 0])) == len(set(space.encode(frame)[:3, 1])) == 3


def test_a_target_of_one_class_in_several_spellings_names_the_remedy():
    frame = pd.DataFrame({"y": ("Mb", "MB", "mb") * 30, "x": range(90)})
    with pytest.raises(UserError, match=r"must vary; it is Mb in every row; .*--types y=category keeps them apart"):
        training_table(frame, "y", make_settings({}))
    table = training_table(frame, "y", make_settings({"types": "y=category"}))
    assert table.target.classes == ("MB", "Mb", "mb")


def test_the_positive_class_is_the_one_spelt_so():
    frame = pd.DataFrame({"y": ("mb", "MB") * 30, "x": range(60)})
    for label in ("mb", "MB"):
        table = training_table(frame, "y", make_settings({"types": "y=category", "positive": label}))
        assert table.target.classes[1] == label


#: What is seen of a text -> the same with another accent, blank, or a sign without width.
UNSEEN = {"Café": "Cafe\u0301", "New York": "New\u00a0York", "Oslo": "Oslo\u200b", "Rome": "\u200eRo\u2060me\ufeff"}


@pytest.mark.parametrize(("text", "same"), UNSEEN.items(), ids=UNSEEN)
@pytest.mark.parametrize("given", [{}, {"g": "category"}])
def test_texts_that_look_alike_are_one_category_with_a_note(text, same, given, tmp_path):
    frame = pd.DataFrame({"g": [same, text, "Bath"] * 20, "x": range(60)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for rows in (frame, read_table(tmp_path / "a.csv"), read_table(tmp_path / "a.parquet")):
        read = read_columns(rows, ReadingOptions(types=given))
        assert read.frame["g"].tolist() == [text, text, "Bath"] * 20
        (note,) = read.notes
        assert f"in 'g' texts that look alike are one category, such as {text!r}" in note
        space = infer_features(read.frame[["g"]], readings=read.readings)
        assert space.encode(rows).tolist() == space.encode(read.frame).tolist()
    table = training_table(frame[["g", "x"]], "g", make_settings({}))
    assert table.target.classes == tuple(sorted(("Bath", text)))
    assert any("texts that look alike" in note for note in table.notes)
    groups = training_table(frame.assign(y=frame["x"] * 1.5), "y", make_settings({"groups": "g"})).target.groups
    assert len(set(groups)) == 2


@pytest.mark.parametrize("form", ["{}\u200b", "\u200e{}", "\ufeff{}", "\u2060{}\u00a0"])
def test_numbers_and_dates_lose_signs_without_width(form):
    for cells in (range(60), [f"2024-01-{day + 1:02d}" for day in range(30)] * 2):
        plain = pd.DataFrame({"g": list(map(str, cells))})
        mixed = pd.DataFrame({"g": [form.format(x) if i % 2 else str(x) for i, x in enumerate(cells)]})
        expected = read_columns(plain)
        read = read_columns(mixed)
        assert read.frame["g"].tolist() == expected.frame["g"].tolist()
        space = infer_features(read.frame, readings=read.readings)
        assert space.encode(mixed).tolist() == space.encode(plain).tolist()


def test_a_missing_text_that_is_given_may_have_any_blank():
    frame = pd.DataFrame({"g": ["k.\u00a0A.", "a", "b"] * 20})
    for given in ("k. A.", "k.\u00a0A."):
        read = read_columns(frame, ReadingOptions(missing=(given,)))
        assert read.frame["g"].isna().sum() == 20


@pytest.mark.parametrize(
    "values",
    [[101, 102, 103], [True, False, True], [0.1, 0.2, 0.3], [101, None, 103], pd.date_range("2024-01-01", periods=3)],
    ids=["whole", "flags", "fractions", "with gaps", "dates"],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_what_pandas_wrote_as_categories_is_such_in_parquet_as_in_feather(values, parts, tmp_path):
    frame = pd.DataFrame({"g": pd.Categorical(list(values) * 6), "x": range(18), "y": np.arange(18) % 4})
    for part in range(parts):
        frame.to_parquet(tmp_path / f"{part}.parquet", index=False)
    frame = pd.concat([frame] * parts, ignore_index=True)
    frame.to_feather(tmp_path / "a.feather")
    tables = [
        training_table(data, "y", make_settings({}))
        for data in (
            frame,
            read_table(tmp_path / "a.feather"),
            read_table(tmp_path / "*.parquet"),
            read_sample(tmp_path / "*.parquet", 1_000, 0).frame,
        )
    ]
    assert [table.features["g"].tolist() for table in tables] == [tables[0].features["g"].tolist()] * 4
    space = infer_features(tables[2].features, readings=tables[2].readings)
    assert space.features[0].kind == "categorical"
    sample = read_sample(tmp_path / "*.parquet", 12, 0)
    assert sample.whole is not None
    batches = [space.encode(batch)[:, 0] for batch in sample.whole.batches(["g", "x"])]
    assert np.array_equal(np.concatenate(batches), space.encode(tables[0].features)[:, 0], equal_nan=True)
