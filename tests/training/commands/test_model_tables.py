"""Every command that reads a table for a model reads it as the model's training did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main
from eigenserve.model.checkpoints.locations import load_model
from eigenserve.training.evaluation.model_tables import read_for_models

QUICK = ["--members", "1", "--dim", "3", "--budget", "0.01", "--reproducible"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model `codes` of a CSV file whose categories and classes would otherwise be numbers."""
    folder = tmp_path_factory.mktemp("codes")
    rng = np.random.default_rng(0)
    rows = 300
    dept, zone = rng.integers(1, 8, rows), rng.integers(0, 4, rows)
    frame = pd.DataFrame(
        {
            "dept": [f"{each:02d}" for each in dept],
            "code": [f"{each % 3 + 1}E{each % 2 + 2}" for each in dept],
            "zone": np.array(["NA", "1", "2", "3"])[zone],
            "size": np.where(rng.random(rows) < 0.1, "-9", rng.integers(0, 50, rows).astype(str)),
            "x": rng.normal(size=rows).round(3),
            "y": [f"{each % 3 + 1:02d}" for each in dept],
        }
    )
    frame.to_csv(folder / "codes.csv", index=False)
    types = "dept=category,code=category,zone=category,y=category"
    given = ["--types", types, "--missing", "zone=,size=-9", "--test", str(folder / "codes.csv")]
    fit = ["fit", str(folder / "codes.csv"), "--target", "y", "--store", str(folder / "store"), "--name", "codes"]
    assert main([*fit, *given, *QUICK]) in (None, 0)
    return folder


def test_a_table_is_read_as_the_model_reads_its_texts(folder: Path):
    model = load_model(folder / "store" / "codes")
    columns = model.features.encode(read_for_models([model], folder / "codes.csv"))
    texts = pd.read_csv(folder / "codes.csv", dtype=str, keep_default_na=False)
    assert np.array_equal(columns, model.features.encode(texts[list(model.features.input_names)]), equal_nan=True)
    assert np.isnan(columns[:, model.features.position("size")]).any()


def test_the_training_table_is_known_to_evaluate_and_has_not_drifted(folder: Path, capsys: pytest.CaptureFixture[str]):
    model, table = str(folder / "store" / "codes"), str(folder / "codes.csv")
    main(["evaluate", model, table, "--by", "dept", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["trained_on"] == 1.0
    assert {group["name"] for group in result["groups"]["dept"]} >= {"01", "07"}
    assert result["metrics"]["codes.csv"]["accuracy"] == load_model(model).card["metrics"]["test"]["accuracy"]
    main(["drift", model, table])
    assert "no drift" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "MODEL", "MODEL", "DATA"],
        ["card", "MODEL", "DATA", "--by", "zone"],
        ["reference", "add", "MODEL", "DATA", "--where", "dept=01,zone=NA"],
    ],
)
def test_commands_read_codes_as_training_did(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]):
    known = {"MODEL": str(folder / "store" / "codes"), "DATA": str(folder / "codes.csv")}
    assert main([known.get(each, each) for each in arguments]) in (None, 0)
    out = capsys.readouterr().out
    if arguments[0] == "card":
        assert "NA (" in out
    frame = pd.read_csv(folder / "codes.csv", dtype=str, keep_default_na=False)
    if arguments[0] == "reference":
        assert f"{((frame['dept'] == '01') & (frame['zone'] == 'NA')).sum()} rows" in out


@pytest.mark.parametrize(("trained", "asked"), [("parquet", "csv"), ("csv", "parquet")])
def test_names_with_blanks_around_them_are_those_of_formats_without(
    trained: str, asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({" sp ": [f"{each}E4" for each in rng.integers(0, 4, 200)], "x": rng.normal(size=200)})
    frame[" y"] = frame["x"] + frame[" sp "].str[0].astype(int)
    if trained == "parquet":
        frame[" sp "] = frame[" sp "].astype("category")
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.to_parquet(tmp_path / "data.parquet")
    frame.to_feather(tmp_path / "data.feather")
    frame.to_excel(tmp_path / "data.xlsx", index=False)
    target, data = " y" if trained == "parquet" else "y", str(tmp_path / f"data.{asked}")
    fit = ["fit", str(tmp_path / f"data.{trained}"), "--target", target, "--store", str(tmp_path), "--name", "m"]
    types = [] if trained == "parquet" else ["--types", "sp=category"]
    assert main([*fit, "--test", data, *types, *QUICK]) in (None, 0)
    model = load_model(tmp_path / "m")
    own = {name.strip(): name for name in frame}
    expected = model.predict(frame.rename(columns={own[name.strip()]: name for name in model.features.input_names}))
    assert model.predict(frame) == pytest.approx(expected)
    assert model.predict(frame.rename(columns=str.strip)) == pytest.approx(expected)
    main(["evaluate", str(tmp_path / "m"), data, "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["trained_on"] == 1.0
    for kind in ("csv", "parquet", "feather", "xlsx"):
        main(["score", str(tmp_path / "m"), str(tmp_path / f"data.{kind}"), "--out", str(tmp_path / "out.csv")])
        assert pd.read_csv(tmp_path / "out.csv")["prediction"].to_numpy() == pytest.approx(expected)
        (tmp_path / "out.csv").unlink()
