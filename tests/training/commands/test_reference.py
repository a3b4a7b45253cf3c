"""References: populations that fit and `eigenserve reference add` keep with a model, and explanations compare with."""

import json

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model import load_model
from eigenserve.model.explanations.reference import TRAINING, Reference, with_reference
from eigenserve.training.commands.population import rows_where
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.schema import infer_features
from eigenserve.training.evaluation.read_cells import CellReader


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


@pytest.mark.parametrize("name", ["training average", " Training Average", "given rows"])
def test_a_name_that_answers_give_to_another_reference_is_refused(credit, capsys, name):
    folder, _ = credit
    model, table = folder / "store" / "loans", folder / "loans.csv"
    before = load_model(model).card["version"]
    assert main(["reference", "add", str(model), str(table), "--where", "state=NJ", "--name", name]) == 2
    assert "--name must not be 'training average' or 'given rows'" in capsys.readouterr().err
    assert load_model(model).card["version"] == before
    with pytest.raises(ValueError, match="must not be 'training average'"):
        with_reference({}, Reference(name, np.zeros(3)))


@pytest.fixture
def mixed():
    """Columns of every kind, some as texts of another country."""
    return pd.DataFrame(
        {
            "owner": [True, False, True, None],
            "late": [1.0, 0.0, np.nan, 1.0],
            "price": ["1.234,50", "99,00", "1.234,50", "7,25"],
            "day": ["31.12.2024", "01.02.2025", "31.12.2024", "13.01.2024"],
            "grade": ["Alpha", "beta", "alpha", "n/a"],
        }
    )


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("owner=True", 2),
        ("owner=false", 1),
        ("late=1", 2),
        ("late=1.0", 2),
        ("price=1.234,50", 2),
        ("price=1.234,50,owner=true", 2),
        ("day=2024-12-31", 2),
        ("day=31.12.2024", 2),
        ("grade=ALPHA", 2),
        ("grade= beta", 1),
    ],
)
def test_a_value_is_read_as_the_cells_of_its_column_are(mixed, condition, rows):
    assert len(rows_where(mixed, condition, CellReader(ReadingOptions(), {}))) == rows


def test_a_model_says_how_its_columns_are_read(mixed):
    # All that its rows prove is that both are numbers: the day before the month is what training has seen.
    table = pd.DataFrame({"day": ["03.04.2024", "05.06.2024"], "size": ["1,5", "2,5"]})
    features = infer_features(mixed[["day"]].assign(size=["1,5", "22,25", "3,0", "4,0"])).features
    known = {feature.name: feature for feature in features}
    reader = CellReader(ReadingOptions(), {name: feature.reading for name, feature in known.items()}, known)
    assert list(rows_where(table, "day=2024-04-03", reader).index) == [0]
    assert list(rows_where(table, "size=2,5", reader).index) == [1]


def test_a_message_lists_values_and_says_where_each_has_rows(mixed):
    reader = CellReader(ReadingOptions(), {})
    for condition, words in (
        ("late=3", "no row has 'late=3'; 'late' has 1, 0"),
        ("price=1234.5", r"'price' has 1234\.5, "),
        ("grade=n/a", "'grade' has Alpha, beta"),
        ("owner=maybe", "'owner' has true, false"),
        ("grade=gamma,beta", "no row has .grade=gamma,beta.; .grade. has Alpha, beta"),
        ("day=2020-01-01", "'day' has 2024-12-31, "),
        ("late=0,owner=true", "no row has 'late=0,owner=true', though some have each"),
    ):
        with pytest.raises(UserError, match=words):
            rows_where(mixed, condition, reader)
