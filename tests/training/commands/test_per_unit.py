"""Every command that judges a model with an exposure or weights judges it per unit, as training did."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of counts per year, its training rows, and the metrics by which `evaluate` judges it on them."""
    folder = tmp_path_factory.mktemp("per_unit")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"]).assign(years=rng.uniform(0.05, 4.0, 300))
    frame["sure"] = rng.integers(1, 4, 300)
    frame["count"] = rng.poisson(np.exp(0.5 * frame["a"]) * frame["years"])
    frame.to_csv(folder / "rows.csv", index=False)
    roles = ["--task", "poisson", "--exposure", "years", "--weight", "sure"]
    small = ["--budget", "1", "--reproducible", "--members", "2", "--dim", "5"]
    rows = str(folder / "rows.csv")
    assert main(["fit", rows, "--target", "count", "--store", str(folder / "m"), "--name", "n", *roles, *small]) == 0
    return folder


@pytest.fixture
def judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    assert main(["evaluate", str(folder / "m/n"), str(folder / "rows.csv"), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]["rows.csv"]


def test_drift_finds_none_in_the_training_rows(folder, judged, capsys):
    assert main(["drift", str(folder / "m/n"), str(folder / "rows.csv"), "--json"]) == 0
    out = capsys.readouterr().out
    assert "trained on about 100% of these rows" in out
    metrics = json.loads(out.splitlines()[-1])["accuracy"]["metrics"]
    for name in ("rmse", "mae"):
        assert metrics[name]["value"] == pytest.approx(judged[name], rel=1e-9)


def test_compare_measures_what_evaluate_does(folder, judged, capsys):
    model = str(folder / "m/n")
    assert main(["compare", model, model, str(folder / "rows.csv"), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    for each in metrics:
        assert each["rmse"]["value"] == pytest.approx(judged["rmse"], rel=1e-9)


def test_the_card_measures_what_evaluate_does(folder, judged, capsys):
    assert main(["card", str(folder / "m/n"), str(folder / "rows.csv"), "--by", "sure"]) == 0
    out = capsys.readouterr().out
    assert "trained on about 100% of these rows" in out
    assert re.search(rf"rmse\D+{judged['rmse']:.4g}".replace(".", r"\."), out)


def test_a_table_without_the_exposure_is_one_line(folder, tmp_path, capsys):
    pd.read_csv(folder / "rows.csv").drop(columns="years").to_csv(tmp_path / "rows.csv", index=False)
    assert main(["drift", str(folder / "m/n"), str(tmp_path / "rows.csv")]) == 2
    assert "error: no column 'years'; the columns are a, b, sure" in capsys.readouterr().err
