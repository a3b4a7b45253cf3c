"""A messy table trains, and its rows get the same predictions in every format."""

import contextlib
import io
import json
import os
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigenserve import load_model
from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.training.data.columns import decimal_hint, read_columns
from eigenserve.training.data.table import read_table
from eigenserve.training.data.target import split_target
from eigenserve.training.estimators import SpectralClassifier, SpectralRegressor
from eigenserve.training.evaluation.labelled_rows import labelled_rows
from eigenserve.training.settings import FitSettings
from eigenserve.training.training_table import training_table

ROWS = 120
QUICK = ["--members", "1", "--dim", "3", "--budget", "1", "--pairs", "none"]


def messy_text():
    rng = np.random.default_rng(0)
    size, price = rng.uniform(10, 90, ROWS).round(2), rng.uniform(1000, 9000, ROWS).round(2)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, ROWS), unit="D")
    zone = rng.choice(["NA", "EU ", "eu", "AS"], ROWS)
    german = [f"{x:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".") + " €" for x in price]
    y = size + price / 1000 + np.where(zone == "NA", 10, 0)
    lines = ["when;size; price ;zone;power;y"]
    for i in range(ROWS):
        power = "unknown" if i == 7 else f"{i % 40 + 10} kW"
        cells = (
            f"{days[i]:%d/%m/%Y}",
            str(size[i]).replace(".", ","),
            german[i],
            zone[i],
            power,
            f"{y[i]:.3f}".replace(".", ","),
        )
        lines.append(";".join(cells))
    return "\ufeff" + "\r\n".join(lines) + "\r\n\r\n"


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("messy")
    (folder / "data.csv").write_text(messy_text(), newline="")
    return folder


@pytest.fixture(scope="module")
def fitted(messy):
    """What ``fit --json`` says of the messy table; its model is in the store next to it."""
    data, store = str(messy / "data.csv"), str(messy / "store")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["fit", data, "--target", "y", "--store", store, "--test", data, "--json", *QUICK]) == 0
    return json.loads(out.getvalue().splitlines()[-1])


@pytest.mark.parametrize("way", ["-", "pipe", "folder", "glob", "tsv"])
def test_every_command_takes_every_source(way, messy, fitted, tmp_path, monkeypatch, capsys):
    model, content = f"{messy}/store/data", (messy / "data.csv").read_bytes()
    if way == "folder":
        (tmp_path / "parts" / "day=1").mkdir(parents=True)
        (tmp_path / "parts" / "day=1" / "a.csv").write_bytes(content)
    (tmp_path / "b.tsv").write_bytes(content)
    data = {"folder": tmp_path / "parts", "glob": f"{tmp_path}/*.tsv", "tsv": tmp_path / "b.tsv", "-": "-"}.get(way)
    commands = (
        ["evaluate", model, "DATA"],
        ["drift", model, "DATA"],
        ["compare", model, model, "DATA"],
        ["card", model, "DATA", "--out", str(tmp_path / "card.md")],
        ["score", model, "DATA", "--out", str(tmp_path / "out.csv")],
        ["fit", "DATA", "--target", "y", "--name", "m", "--plan"],
    )
    for number, command in enumerate(commands):
        if way == "pipe":
            data = tmp_path / f"pipe{number}"
            os.mkfifo(data)
            threading.Thread(target=data.write_bytes, args=[content], daemon=True).start()
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert main([str(data) if part == "DATA" else part for part in command]) == 0, capsys.readouterr().err
    assert len((tmp_path / "out.csv").read_text().splitlines()) == ROWS + 1


def test_a_messy_table_has_the_same_predictions_in_every_format(messy, fitted):
    data, store, result = str(messy / "data.csv"), str(messy / "store"), fitted
    assert result["metrics"]["test"]["r2"] > 0.9
    notes = "\n".join(result["notes"])
    for said in ("cells are separated by semicolons", "'when' is read as dates", "'size' is read as numbers"):
        assert said in notes
    assert "in 'power' 1 cell that is not a number counts as missing: 'unknown' in row 8" in notes
    model = load_model(f"{store}/data")
    assert [feature.kind for feature in model.features.features][:5] == [
        "datetime",
        "numeric",
        "numeric",
        "categorical",
        "numeric",
    ]

    raw = read_table(data).drop(columns="y").astype(object)
    texts = [{name: None if pd.isna(cell) else cell for name, cell in row.items()} for row in raw.to_dict("records")]
    expected = model.predict(texts)
    read = read_columns(raw).frame
    assert np.array_equal(model.predict(read), expected)
    assert np.array_equal(model.predict(raw), expected)

    pq.write_table(pa.Table.from_pandas(read), messy / "read.parquet")
    raw.to_csv(messy / "commas.csv", index=False)
    for name in ("data.csv", "read.parquet", "commas.csv"):
        out = messy / "out.parquet"
        assert main(["score", f"{store}/data", str(messy / name), "--out", str(out)]) == 0
        assert np.array_equal(pq.read_table(out)["prediction"].to_numpy(), expected), name
        out.unlink()
    assert main(["evaluate", f"{store}/data", data]) == 0


def test_a_bad_test_table_is_named_before_the_training_begins(messy, tmp_path, capsys):
    bad = messy_text().replace("40 kW", "forty kW", 1)
    (tmp_path / "bad.csv").write_text(bad, newline="")
    arguments = [
        "fit",
        str(messy / "data.csv"),
        "--target",
        "y",
        "--store",
        str(tmp_path),
        "--test",
        str(tmp_path / "bad.csv"),
    ]
    assert main([*arguments, *QUICK]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "column 'power' must be a number or null; got the text 'forty kW' in row 31" in error


def test_a_target_is_read_with_the_decimal_mark_that_its_features_prove(tmp_path):
    lines = [f"{i},5;{f'{100 * i + 500:,}'.replace(',', '.')}" for i in range(40)]
    (tmp_path / "data.csv").write_text("\n".join(["size;price", *lines]))
    frame = read_table(tmp_path / "data.csv")
    table = training_table(frame, "price", FitSettings())
    assert table.target.values.tolist() == [100 * i + 500 for i in range(40)]
    assert any("'price' is read as numbers: '1.000' is 1000" in note for note in table.notes)
    _, target, _ = split_target(frame, "price", "regression", hint=decimal_hint(table.readings.values()))
    assert target.values.tolist() == table.target.values.tolist()


@pytest.mark.parametrize("library", ["polars", "lazy", "pyarrow", "texts"])
def test_estimators_take_the_tables_of_other_libraries(library):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=ROWS).round(3), "town": rng.choice(["a", "b"], ROWS)})
    y = frame["x"] + (frame["town"] == "a")
    if library in ("polars", "lazy"):
        polars = pytest.importorskip("polars")
        other = polars.from_pandas(frame)
        other = other.lazy() if library == "lazy" else other
    else:
        other = pa.Table.from_pandas(frame) if library == "pyarrow" else frame.astype(str)
    quick = {"members": 1, "dim": 3, "budget": 0.5, "reproducible": True, "pairs": "none"}
    fitted = SpectralRegressor(**quick).fit(other, y)
    assert list(fitted.feature_names_in_) == ["x", "town"]
    assert np.array_equal(fitted.predict(frame), fitted.predict(other))
    labels = np.where(y > 0, "yes", "no")
    classifier = SpectralClassifier(**quick).fit(other, labels)
    assert np.array_equal(classifier.predict_proba(frame), classifier.predict_proba(other))


def test_features_are_read_with_the_decimal_mark_that_the_target_proves(tmp_path, capsys):
    lines = [f'"53,{460 + i}","{i},5"' for i in range(40)]
    (tmp_path / "data.csv").write_text("\n".join(["size,price", *lines, '"53,999","1.234,5"']))
    frame = read_table(tmp_path / "data.csv")
    table = training_table(frame, "price", FitSettings())
    assert table.features["size"].iloc[0] == 53.46
    assert table.target.values[-1] == 1234.5
    store, data = str(tmp_path / "store"), str(tmp_path / "data.csv")
    assert main(["fit", data, "--target", "price", "--store", store, "--reproducible", *QUICK]) == 0
    # Rows that alone would leave it open.
    (tmp_path / "new.csv").write_text('size,price\n"53,460","1,234"\n"53,470","3,500"\n')
    model = load_model(f"{store}/data")
    _, target = labelled_rows(model, read_table(tmp_path / "new.csv"))
    assert target.values.tolist() == [1.234, 3.5]
    for command in (["drift", f"{store}/data"], ["compare", f"{store}/data", f"{store}/data"]):
        assert main([*command, str(tmp_path / "new.csv")]) in (0, 1), capsys.readouterr().err


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([f"${i}.5" if i % 2 else f"€{i}.5" for i in range(60)], "too many .*; 'y' has numbers in several units"),
        ([f"2024-01-{i % 28 + 1:02d}" for i in range(60)], "it holds dates such as 2024-01-01"),
    ],
)
def test_a_target_that_cannot_be_one_is_refused_with_how_it_was_read(cells, says):
    with pytest.raises(UserError, match=says):
        training_table(pd.DataFrame({"x": range(60), "y": cells}), "y", FitSettings())


def test_rows_with_a_target_are_named_by_their_places(fitted, messy):
    model, frame = load_model(f"{messy}/store/data"), read_table(messy / "data.csv")
    frame.loc[[0, 5], "y"] = None
    rows, target = labelled_rows(model, frame)
    assert rows.index.tolist() == [i for i in range(ROWS) if i not in (0, 5)]
    assert len(target.values) == ROWS - 2
    np.testing.assert_array_equal(model.features.encode(rows), model.features.encode(frame)[rows.index])
