"""Folders called COLUMN=VALUE say what Spark and Hive mean by them, in training and in scoring."""

import pandas as pd
import pyarrow as pa
import pytest

from eigenserve.app.batch.inputs import input_places
from eigenserve.app.batch.places import Place
from eigenserve.app.batch.table import Table
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.data.table import read_table

MONTHS = {"m=1": 1.0, "m=2": 2.0, "m=__HIVE_DEFAULT_PARTITION__": None}
CITIES = {"city=S%C3%A3o%20Paulo": "São Paulo", "city=Ulm": "Ulm", "city=100%25": "100%", "city=50% off": "50% off"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("folders", "column"), [(MONTHS, "m"), (CITIES, "city")])
def test_partitions_are_unescaped_and_may_be_missing(tmp_path, suffix, folders, column):
    for folder in folders:
        (tmp_path / "t" / folder).mkdir(parents=True)
        frame = pd.DataFrame({"x": range(30)})
        path = tmp_path / "t" / folder / f"a{suffix}"
        frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    expected = [value for _, value in sorted(folders.items()) for _ in range(30)]
    for frame in (read_table(tmp_path / "t"), read_sample(tmp_path / "t", 10**6, 0).frame):
        read = read_columns(frame).frame[column]
        assert [None if pd.isna(value) else value for value in read] == expected
    (part,) = Table(input_places(Place(str(tmp_path / "t"))), ["x", column]).parts(10**6)
    texts = part.rows[column].to_pylist()
    assert part.rows[column].type == pa.string()
    assert [float(text) if text and column == "m" else text for text in texts] == expected


def test_flags_in_folders_may_be_missing(tmp_path):
    for value in ("true", "false", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"flag={value}").mkdir()
        (tmp_path / f"flag={value}" / "a.csv").write_text("x\n1\n2\n")
    read = read_columns(read_table(tmp_path)).frame["flag"]
    assert [None if pd.isna(value) else value for value in read] == [None, None, False, False, True, True]


def test_folders_of_an_object_store_are_columns_too():
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for month in ("1", "__HIVE_DEFAULT_PARTITION__"):
        system.pipe(f"/parts/m={month}/a.csv", b"x\n1\n2\n")
    frame = read_columns(read_table("memory://parts")).frame
    assert frame["m"].isna().tolist() == [False, False, True, True]
    assert frame["m"].dropna().tolist() == [1.0, 1.0]
