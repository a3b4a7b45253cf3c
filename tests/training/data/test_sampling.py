"""A long file is sampled in one pass: uniformly, the same rows each time, and in little memory."""

import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigenserve.app.batch.places import Place
from eigenserve.app.batch.table import Table
from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.sampling import BATCH_ROWS, read_sample
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import read_table
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

pytestmark = pytest.mark.alone

ROWS = 2 * BATCH_ROWS + 1234


def long_table(rows=ROWS):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "at": np.arange(rows),
            "x": rng.standard_normal(rows).astype(np.float32),
            "town": pd.Categorical.from_codes(rng.integers(0, 3, rows), ["Oslo", "Rome", "Bonn"]),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D"),
            "name": np.where(rng.random(rows) < 0.1, None, "n"),
        }
    )


def written(frame, path):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=50_000)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pandas(frame)
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=50_000)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("file", ["a.parquet", "a.feather", "a.arrow", "a.csv"])
def test_a_sample_is_rows_of_the_file_with_their_types(tmp_path, file):
    path = written(long_table(), tmp_path / file)
    whole, found = read_table(path), read_sample(path, 3000, seed=1)
    assert (len(found.frame), found.total) == (3000, ROWS)
    expected = whole.iloc[found.frame["at"]]
    pd.testing.assert_frame_equal(found.frame, expected, check_categorical=False)
    np.testing.assert_array_equal(found.positions, found.frame["at"])
    assert "3,000 of the 132,306 rows" in found.notes[0]
    again, other = read_sample(path, 3000, seed=1), read_sample(path, 3000, seed=2)
    assert found.frame["at"].equals(again.frame["at"])
    assert not found.frame["at"].equals(other.frame["at"])


def test_every_row_is_as_likely_as_another(tmp_path):
    path = written(long_table()[["at"]], tmp_path / "a.parquet")
    drawn = np.concatenate([read_sample(path, 20_000, seed).frame["at"] for seed in range(10)])
    counts, _ = np.histogram(drawn, bins=10, range=(0, ROWS))
    # 200,000 draws: each tenth holds 20,000, give or take 125 (without replacement within each sample).
    assert np.abs(counts - 20_000).max() < 600
    assert len(np.unique(drawn[:20_000])) == 20_000


def test_a_table_that_is_short_enough_is_read_whole(tmp_path):
    frame = long_table(50)
    found = read_sample(written(frame, tmp_path / "a.parquet"), 50, seed=0)
    assert found.frame["at"].tolist() == list(range(50))
    assert found.notes == ()
    assert found.positions is None
    with pytest.raises(UserError, match="does not exist"):
        read_sample(tmp_path / "b.parquet", 50, seed=0)
    (tmp_path / "c.parquet").write_bytes(b"no Parquet")
    with pytest.raises(UserError, match=r"c\.parquet is not a Parquet file"):
        read_sample(tmp_path / "c.parquet", 50, seed=0)


@pytest.mark.parametrize(
    ("text", "note"),
    [(",x,y\n" + 5 * "0,1,2\n", "1 column without a name"), (",x,y,\n" + 5 * "0,1,2,\n", "2 columns without names")],
)
def test_columns_without_a_name_are_left_out_and_reported(tmp_path, text, note):
    """As pandas writes row numbers, and spreadsheets empty columns; scoring ignores them as well."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    found = read_sample(path, 10, seed=0)
    assert found.frame.to_dict("list") == read_table(path).to_dict("list") == {"x": [1] * 5, "y": [2] * 5}
    assert found.notes[0].startswith(note)
    (part,) = Table([Place(str(path))], ["x", "y"]).parts(10)
    assert part.rows.to_pydict() == {"x": ["1"] * 5, "y": ["2"] * 5}


@pytest.mark.parametrize("rows", [50, 300])
def test_decimals_are_numbers_and_arrays_are_refused(tmp_path, rows):
    """As databases export them; pandas makes them objects."""
    price = pa.array([Decimal(i) / 4 for i in range(299)] + [None], pa.decimal128(10, 2))
    pq.write_table(pa.table({"price": price}), tmp_path / "a.parquet")
    frame = read_sample(tmp_path / "a.parquet", rows, seed=0).frame
    assert read_columns(frame).frame["price"].dtype == np.float64
    assert infer_features(frame).features[0].kind == "numeric"
    pq.write_table(pa.table({"price": price, "parts": [[1, 2]] * 300}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="column 'parts' must hold single values"):
        read_columns(read_sample(tmp_path / "b.parquet", rows, seed=0).frame)


def test_a_decimal_is_a_number_of_a_row():
    space = FeatureSpace((Feature("price", "numeric", typical=0.0),))
    assert space.encode([{"price": Decimal("1.25")}]).tolist() == [[1.25]]


def test_a_fit_says_that_it_took_a_sample(tmp_path, capsys):
    frame = long_table(2000).assign(y=lambda t: t["x"] + 0.1 * np.sin(t["at"]))
    data = written(frame, tmp_path / "long.parquet")
    quick = ["--members", "1", "--dim", "3", "--budget", "0.1", "--reproducible", "--features", "x"]
    quick += ["--store", str(tmp_path / "store")]
    assert main(["fit", str(data), "--target", "y", "--max-rows", "500", "--json", *quick]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "a uniform sample of 500 of the 2,000 rows was used (--max-rows for more)" in last["notes"]
    card = json.loads((tmp_path / "store" / "long" / "1" / "model.json").read_text())
    assert (card["data"]["rows"], card["data"]["rows_in_file"]) == (500, 2000)


MEASURE = """
import resource, sys
from eigenserve.training.data.sampling import read_sample
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
path = sys.argv[1]
before = peak()
assert len(read_sample(path, 50_000, 0).frame) == 50_000
print(peak() - before)
"""


def test_memory_follows_the_sample_and_not_the_file(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "long.parquet"
    names = [f"f{i}" for i in range(20)]
    parts = pa.table({name: rng.standard_normal(100_000) for name in names})
    with pq.ParquetWriter(path, parts.schema) as writer:
        for _ in range(20):
            writer.write_table(parts)
    found = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    # The file holds 320 MB of numbers, the sample 8 MB, twice for a moment; the rest is Arrow and one row group.
    assert float(found.stdout) < 150


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_sample_names_cells_by_their_rows_in_the_file(kind, tmp_path):
    x = [f"{i}.5" for i in range(1_000)]
    for row in range(120, 1_000, 250):
        x[row] = "oops"
    frame = pd.DataFrame({"x": x, "y": np.arange(1_000) % 17})
    getattr(frame, f"to_{kind}")(tmp_path / f"data.{kind}", index=False)
    sample = read_sample(tmp_path / f"data.{kind}", 300, 0)
    assert sample.positions is not None
    assert sample.frame.index.tolist() == sample.positions.tolist()
    chosen = [row + 1 for row in sample.positions if x[row] == "oops"]
    notes = training_table(sample.frame, "y", make_settings({})).notes
    assert chosen
    assert any(f"'oops' in row {chosen[0]}" in note for note in notes), notes


def test_a_weight_is_named_by_its_row_among_all_with_and_without_a_target():
    frame = pd.DataFrame({"x": np.arange(50), "w": 1.0, "y": np.arange(50) % 7.0})
    frame.loc[:3, "y"], frame.loc[9, "w"] = np.nan, np.nan
    with pytest.raises(UserError, match="in 1 it does not, such as row 10 with nan"):
        training_table(frame, "y", make_settings({"weight": "w"}))
    offset = frame.assign(w=0.5, o=["a"] * 50)
    with pytest.raises(UserError, match="row 5 has 'a'"):
        training_table(offset, "y", make_settings({"weight": "o"}))


def test_a_cell_is_named_by_its_row_in_the_table_behind_missing_ones():
    frame = pd.DataFrame({"day": [None, 20240131, 20240201, 20240230] + [20240301] * 96, "y": np.arange(100) % 7})
    notes = training_table(frame, "y", make_settings({"types": "day=date"})).notes
    assert any("'20240230' in row 4" in note for note in notes), notes
