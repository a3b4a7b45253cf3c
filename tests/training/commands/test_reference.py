"""References: populations that fit and `eigenserve reference add` keep with a model, and explanations compare with."""

import json

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main
from eigenserve.model import load_model
from eigenserve.model.explanations.reference import TRAINING


@pytest.fixture(scope="module")
def credit(tmp_path_factory):
    """A store with a model of loans, and their table."""
    folder, rng = tmp_path_factory.mktemp("references"), np.random.default_rng(0)
    frame = pd.DataFrame({"income": rng.lognormal(10, 0.5, 400), "debt": rng.random(400), "state": ["NY", "NJ"] * 200})
    risk = frame["debt"] * 4 - np.log(frame["income"] / 2e4) + rng.normal(0, 0.5, 400)
    frame["approved"] = np.where(risk < 2, "yes", "no")
    frame.to_csv(folder / "loans.csv", index=False)
    quick = ("--members", "2", "--dim", "5", "--budget", "0.3", "--reproducible", "--store", str(folder / "store"))
    given = ("--reference", "approved=yes", "--reference", "approved=no,state=NY")
    assert main(["fit", str(folder / "loans.csv"), "--target", "approved", *quick, *given]) == 0
    return folder, frame


def test_the_rows_that_a_condition_names_are_the_reference(credit):
    folder, frame = credit
    model = load_model(folder / "store" / "loans")
    assert tuple(model.references) == (TRAINING, "approved=yes", "approved=no,state=NY")
    some = frame.head(20)
    for name, chosen in (
        ("approved=yes", frame["approved"] == "yes"),
        ("approved=no,state=NY", (frame["approved"] == "no") & (frame["state"] == "NY")),
    ):
        kept, given = model.explain(some, reference=name), model.explain(some, reference=frame[chosen])
        assert (kept.reference, given.reference) == (name, "given rows")
        assert model.references[name].rows == chosen.sum()
        np.testing.assert_allclose(kept.contributions, given.contributions, atol=1e-9)
    # Terms are centred on the rows of training: their mean is the training average.
    average, whole = model.explain(some), model.explain(some, reference=frame)
    np.testing.assert_allclose(average.baseline, whole.baseline, atol=1e-6)
    np.testing.assert_allclose(average.contributions, whole.contributions, atol=1e-5)


def test_a_reference_is_added_as_the_next_version(credit, capsys):
    folder, _ = credit
    model, table = folder / "store" / "loans", folder / "loans.csv"
    before = load_model(model)
    assert main(["reference", "add", str(model), str(table), "--where", "state=NJ", "--name", "Jersey"]) == 0
    assert "reference 'Jersey', 200 rows" in capsys.readouterr().out
    after = load_model(model)
    assert int(after.card["version"]) == int(before.card["version"]) + 1
    assert set(after.references) == {*before.references, "Jersey"}
    assert (model / str(after.card["version"]) / "report.html").exists()
    document = json.loads((model / str(after.card["version"]) / "model.json").read_text())
    assert document["references"]["Jersey"]["rows"] == 200


@pytest.mark.parametrize(
    ("condition", "words"),
    [("state", "must be COLUMN=VALUE"), ("county=NY", "no column 'county'"), ("state=TX", "no row has 'state=TX'")],
)
def test_a_condition_that_names_nothing_is_one_line(credit, capsys, condition, words):
    folder, _ = credit
    model, table = folder / "store" / "loans", folder / "loans.csv"
    assert main(["reference", "add", str(model), str(table), "--where", condition]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
