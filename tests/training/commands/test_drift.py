"""`eigenserve drift`: exit codes, what it prints, and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.drifting import like_training, sketched_model
from tests.support.made_models import make_model

from eigenserve.cli import main
from eigenserve.model import ModelStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a table like training with its target, and one in which a feature has moved."""
    folder = tmp_path_factory.mktemp("drift")
    store, model = ModelStore(folder), sketched_model()
    store.save("kept", model)
    store.save("old", make_model())
    rows = like_training(2000, seed=31)
    noise = np.random.default_rng(1).normal(size=2000)
    pd.DataFrame(rows).assign(target=model.predict(rows) + noise).to_csv(folder / "like.csv", index=False)
    pd.DataFrame(rows).assign(rate=lambda frame: frame["rate"] + 0.3).to_csv(folder / "moved.csv", index=False)
    labelled = pd.read_csv(folder / "like.csv")
    labelled.assign(target=labelled["target"] + 10.0).to_csv(folder / "wrong.csv", index=False)
    labelled.assign(target=None).to_csv(folder / "unlabelled.csv", index=False)
    labelled.assign(target="?").to_csv(folder / "unknown.csv", index=False)
    (folder / "empty.csv").write_text(",".join(rows[0]) + "\n")
    return folder


def test_a_table_like_training_has_not_drifted(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["drift", str(folder / "kept"), str(folder / "like.csv"), "--json"]) == 0
    out = capsys.readouterr().out
    assert "2,000 rows against 6,000 training rows; chance of a false alarm 0.001" in out
    assert "no drift in" in out
    report = json.loads(out.splitlines()[-1])
    assert (report["drifted"], report["rows"]) == (False, 2000)
    assert report["accuracy"]["metrics"]["rmse"]["value"] == pytest.approx(1.0, rel=0.1)


def test_a_table_that_has_drifted_is_exit_code_1_and_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["drift", str(folder / "kept"), str(folder / "moved.csv")]) == 1
    out = capsys.readouterr().out
    assert "feature 'rate': Kolmogorov distance" in out
    assert "rmse" not in out


def test_labels_far_from_the_predictions_are_exit_code_1_too(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["drift", str(folder / "kept"), str(folder / "wrong.csv"), "--json"]) == 1
    out = capsys.readouterr().out
    assert "no drift in" in out
    assert "bias: " in out
    assert "(beyond chance)" in out
    assert json.loads(out.splitlines()[-1])["drifted"]


@pytest.mark.parametrize("name", ["unlabelled.csv", "unknown.csv"])
def test_a_target_without_values_is_noted_and_features_are_compared(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
):
    assert main(["drift", str(folder / "kept"), str(folder / name)]) == 0
    out = capsys.readouterr().out
    assert "no drift in" in out
    assert "note: the target 'target' has no value in any row" in out
    assert main(["card", str(folder / "kept"), str(folder / name)]) == 0
    assert main(["compare", str(folder / "kept"), str(folder / "kept"), str(folder / name)]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["old", "like.csv"], "keeps no sketch of its training rows: fit it again"),
        (["kept", "empty.csv"], "at least one row"),
        (["kept", "like.csv", "--level", "2"], "--level must be above 0 and below 1; got 2.0"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str):
    assert main(["drift", str(folder / arguments[0]), str(folder / arguments[1]), *arguments[2:]]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
