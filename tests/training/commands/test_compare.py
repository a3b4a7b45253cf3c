"""`eigenserve compare`: a version trained without a feature is named, and equal models do not differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.made_models import make_model

from eigenserve.cli import main
from eigenserve.model import ModelStore
from eigenserve.model.monitoring.comparison import compare
from eigenserve.training.fit import fit
from eigenserve.training.settings import FitSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model, and a version of it that was trained without its strongest feature."""
    folder = tmp_path_factory.mktemp("compare")
    draw = np.random.default_rng(3)
    frame = pd.DataFrame({name: draw.normal(size=400) for name in ("weak", "strong", "odd | name")})
    frame["target"] = 0.3 * frame["weak"] + 2.0 * frame["strong"] + 0.1 * draw.normal(size=400)
    frame.to_csv(folder / "rows.csv", index=False)
    frame.drop(columns="target").to_csv(folder / "unlabelled.csv", index=False)
    store = ModelStore(folder)
    settings = FitSettings(epochs=2, members=1, pairs=0, dim=3)
    store.save("model", fit(frame, "target", settings).model)
    store.save("model", fit(frame.drop(columns="strong"), "target", settings).model)
    store.save("classes", make_model("binary"))
    return folder


def compared(folder: Path, first: str, second: str, *arguments: str) -> int:
    return main(["compare", str(folder / first), str(folder / second), str(folder / "rows.csv"), *arguments])


def test_the_page_names_the_feature_that_a_version_was_trained_without(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert compared(folder, "model/1", "model/2", "--json") == 0
    *page, last = capsys.readouterr().out.splitlines()
    assert any("model/2 was trained without 'strong', which has" in line for line in page)
    assert len(page) < 70  # one page
    report = json.loads(last)
    assert report["only_first"] == ["strong"]
    assert report["shares"][0]["name"] == "strong"
    assert sum(report["sides"]) == report["rows"] == 400
    assert 0.2 < report["changed_sides"] < 0.6
    assert report["metrics"][1]["rmse"]["value"] > 3 * report["metrics"][0]["rmse"]["value"]
    assert {row["feature"] for row in report["different"]} == {"strong"}


def test_the_other_way_round_it_is_named_too(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert compared(folder, "model/2", "model/1", "--cutoff", "0.5") == 0
    out = capsys.readouterr().out
    assert "model/2 was trained without 'strong'" in out
    assert "change side of 0.5" in out


def test_a_model_does_not_differ_from_itself(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert compared(folder, "model/1", "model/1", "--json") == 0
    out = capsys.readouterr().out
    report = json.loads(out.splitlines()[-1])
    assert "Both use the same features." in out
    assert (report["changed_sides"], report["same_leading"], max(report["quantiles"].values())) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_it_is_written_as_html_or_markdown(folder: Path, tmp_path: Path, name: str):
    out = tmp_path / name
    assert main(
        ["compare", *(str(folder / part) for part in ("model/1", "model/2", "unlabelled.csv")), "--out", str(out)]
    ) == 0  # fmt: skip
    text = out.read_text()
    assert ("<table>" in text) == name.endswith("html")
    assert "script" not in text
    assert "rmse" not in text
    if name.endswith("md"):
        assert "odd \\| name" in text


def test_models_of_different_tasks_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    frame = pd.DataFrame(
        [{"age": 3, "income": 4.0, "member": True, "city": "Rome", "rate": 0.5, "weak": 1, "strong": 1}]
    )
    frame.assign(**{"odd | name": 1.0}).to_csv(folder / "both.csv", index=False)
    assert main(["compare", *(str(folder / part) for part in ("model", "classes", "both.csv"))]) == 2
    assert "same task" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["binary", "multiclass", "poisson"])
def test_every_task_is_compared(task: str):
    first, second = make_model(task, seed=1), make_model(task, seed=2)
    rows = [{"age": i, "rate": i / 50 - 1, "income": 1e4 + 100 * i} for i in range(100)]
    columns = first.features.encode(rows)
    found = compare(first, second, (columns, columns))
    assert sum(found.sides) == found.rows == 100
    assert 0.0 <= found.changed_sides <= 1.0
    assert sum(share.first or 0.0 for share in found.shares) == pytest.approx(1.0)
    if task == "multiclass":
        assert found.changed_sides == np.mean(first.predict(rows) != second.predict(rows))


def test_a_prediction_that_is_the_cutoff_is_above_it():
    model = make_model("binary", seed=1)
    columns = model.features.encode([{"age": 30, "rate": 0.5, "income": 1e4}])
    (at,) = model.probabilities(model.scores(columns))[:, 1]
    assert compare(model, model, (columns, columns), float(at)).sides == (1, 0, 0, 0)
