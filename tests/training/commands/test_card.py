"""`eigenserve card`: every section, in order, with what the checkpoint has and what it lacks."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.drifting import like_training, sketched_model
from tests.support.made_models import make_model

from eigenserve.cli import main
from eigenserve.model import ModelStore
from eigenserve.training.evaluation.seen_rows import smallest_hashes

SECTIONS = (
    "Identity and purpose",
    "Data",
    "Method",
    "Performance",
    "Guarantees",
    "Explanations",
    "Limits",
    "Monitoring",
    "Versions and licences",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    store, model = ModelStore(folder), sketched_model()
    card = {
        **model.card,
        "data": {"rows": 6000, "sha256": "a" * 64, "rows_in_file": 6000},
        "metrics": {"out_of_fold": {"rows": 6000, "rmse": 1.5}},
        "confidence_95": {"out_of_fold": {"rmse": [1.4, 1.6]}},
        "intervals": {"0.9": 2.5},
        "libraries": {"python": "3.11.7", "numpy": "2.0"},
    }
    store.save("kept", replace(model, card=card))
    store.save("old", replace(make_model("binary"), card={}))
    rows = like_training(1500, seed=41)
    frame = pd.DataFrame(rows).assign(rate=lambda table: table["rate"] + 0.4)
    frame["target"] = model.predict(frame) + np.random.default_rng(1).normal(size=1500)
    frame.to_csv(folder / "rows.csv", index=False)
    return folder


def card_of(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert (
        main(["card", *(str(folder / part) if "." in part or part in ("kept", "old") else part for part in arguments)])
        == 0
    )
    return capsys.readouterr().out


def test_the_sections_stand_in_the_order_of_the_rules(folder: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("kept", "old"):
        headings = re.findall(r"^## \d\. (.*)$", card_of(folder, capsys, name), flags=re.MULTILINE)
        assert tuple(headings) == SECTIONS


def test_it_says_what_the_checkpoint_proves(folder: Path, capsys: pytest.CaptureFixture[str]):
    text = card_of(folder, capsys, "kept")
    document = (folder / "kept" / "1" / "model.json").read_bytes()
    assert hashlib.sha256(document).hexdigest() in text
    assert "| rmse | 1.5 \\[1.4, 1.6\\] |" in text
    assert "| age | numeric | 17 to 90 |" in text
    assert "| 90% | ± 2.5 |" in text
    assert "a" * 64 in text
    assert "| numpy | 2.0 | " in text
    assert "Drift so far: not measured" in text
    assert "Its owner has to state intended use" in text


def test_it_measures_drift_and_metrics_by_group_on_a_table(folder: Path, capsys: pytest.CaptureFixture[str]):
    text = card_of(folder, capsys, "kept", "rows.csv", "--by", "member")
    assert re.search(r"\| all rows \| (0\.9|1\.0)", text)
    assert re.search(r"\| member True \([\d,]+ rows\)", text)
    assert re.search(r"\| feature \| rate \| Kolmogorov distance", text)


def test_it_says_that_the_model_was_trained_on_these_rows(folder: Path, capsys: pytest.CaptureFixture[str]):
    store, frame = ModelStore(folder), pd.read_csv(folder / "rows.csv")
    model = store.load("kept")
    seen = smallest_hashes(model.features.encode(frame), frame["target"].to_numpy())
    store.save("seen", replace(model, card={**model.card, "training_rows": seen}))
    assert "Note: the model was trained on about 100% of these rows" in card_of(
        folder, capsys, str(folder / "seen"), "rows.csv"
    )
    assert "was trained on about" not in card_of(folder, capsys, "kept", "rows.csv")


@pytest.mark.parametrize("command", ["card", "compare"])
def test_a_page_is_html_or_markdown(folder: Path, capsys: pytest.CaptureFixture[str], command: str):
    more = ["kept", "rows.csv"] if command == "compare" else []
    paths = [str(folder / part) for part in ("kept", *more)]
    assert main([command, *paths, "--out", str(folder / "page.pdf")]) == 2
    assert "--out must end in .html or .md" in capsys.readouterr().err
    assert not (folder / "page.pdf").exists()


def test_what_a_checkpoint_lacks_is_said(folder: Path, capsys: pytest.CaptureFixture[str]):
    text = card_of(folder, capsys, "old")
    assert "keeps no sketch of its training rows" in text
    assert text.count("Not recorded") >= 3


@pytest.mark.parametrize("name", ["card.html", "card.md"])
def test_it_is_written_as_html_and_as_markdown(folder: Path, capsys: pytest.CaptureFixture[str], name: str):
    card_of(folder, capsys, "kept", "--out", name)
    text = (folder / name).read_text()
    assert ("<h1>" in text) == name.endswith("html")
    assert "<script" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "member"], "--by needs DATA"),
        (["rows.csv", "--by", "nothing"], "must name a column"),
        (["rows.csv", "--by", "income"], "at most 30 values"),
        (["--url", "http://127.0.0.1:9"], "cannot ask http://127.0.0.1:9"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str):
    given = [str(folder / part) if part.endswith(".csv") else part for part in arguments]
    assert main(["card", str(folder / "kept"), *given]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
