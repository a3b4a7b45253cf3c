"""The audit reports what is wrong with a table, and says nothing of tables that are as they should be."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import read_table
from eigenserve.training.data.target import split_target
from eigenserve.training.evaluation.audit import audit
from eigenserve.training.evaluation.leakage import explained_alone

pytestmark = pytest.mark.alone

DATA = Path(__file__).parents[3] / "examples" / "data"
ROWS = 1000


def notes_on(frame, target="y"):
    table, goal, _ = split_target(frame, target)
    space = infer_features(table)
    return audit(table, space, space.encode(table), goal)


def sound(rows=ROWS, seed=0):
    """A table in which there is nothing to find."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.choice(["u", "v", "w"], rows)})
    return frame.assign(y=frame["a"] + rng.normal(size=rows))


@pytest.mark.parametrize("load", [load_breast_cancer, load_diabetes, load_iris, load_wine])
def test_well_known_tables_are_free_of_notes(load):
    assert notes_on(load(as_frame=True).frame, "target") == []


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (lambda rng: np.ones(ROWS), "'found' is the same in every row"),
        (lambda rng: np.full(ROWS, None), "'found' is the same in every row"),
        (lambda rng: np.arange(ROWS), "'found' is different in every row"),
        (lambda rng: rng.permutation(ROWS) + 7000, "'found' is different in every row"),
        (lambda rng: [f"person {i}" for i in rng.permutation(ROWS)], "'found' is different in every row"),
        (lambda rng: np.where(rng.random(ROWS) < 0.7, np.nan, rng.normal(size=ROWS)), "'found' is missing in"),
        (lambda rng: [f"street {i}" for i in rng.integers(0, 400, ROWS)], "categories in 1,000 rows"),
    ],
    ids=["constant", "never there", "counting", "shuffled count", "names", "mostly missing", "many categories"],
)
def test_a_column_is_reported_with_what_to_do(column, said):
    frame = sound().assign(found=column(np.random.default_rng(1)))
    (note,) = notes_on(frame)
    assert said in note
    assert "--exclude found" in note or "coarser groups" in note


def test_real_numbers_and_years_are_not_identifiers():
    rng = np.random.default_rng(1)
    assert notes_on(sound().assign(weight=rng.normal(size=ROWS), year=rng.integers(1990, 2020, ROWS))) == []


def test_columns_that_say_the_same_in_other_words_are_found():
    frame = sound()
    frame["copy"] = frame["a"]
    frame["letters"] = frame["b"].map({"u": "first", "v": "second", "w": "third"})
    notes = notes_on(frame)
    assert len(notes) == 2
    assert notes[0].startswith("'copy' is the same as 'a'")
    assert notes[1].startswith("'letters' is the same as 'b'")


@pytest.mark.parametrize("leak", [np.exp, lambda y: (y - y.mean()) ** 3 + 0.001 * y], ids=["a curve", "a steep curve"])
def test_a_column_that_gives_the_target_away_is_found(leak):
    frame = sound().assign(leak=lambda t: leak(t["y"]))
    found = [note for note in notes_on(frame) if "alone explains" in note]
    assert len(found) == 1
    assert found[0].startswith("'leak' alone explains")


def test_titanic_gives_its_target_away_in_other_words():
    notes = " ".join(notes_on(read_table(DATA / "titanic.csv"), "survived"))
    assert "'alive' alone explains" in notes
    assert "'class' is the same as 'pclass'" in notes
    assert "'embark_town' is the same as 'embarked'" in notes
    assert "'deck' is missing in 77% of the rows" in notes


def test_explained_variance_is_that_of_the_noise_left():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 20_000)
    y = np.sin(x) + 0.1 * rng.normal(size=len(x))
    # Neighbours' noise adds a quarter of the row's own.
    expected = 1.0 - 1.25 * 0.01 / y.var()
    # 20,000 squares of a normal: a standard error of 1% of the noise.
    assert explained_alone(x, y, 0, rng) == pytest.approx(expected, abs=0.002)
    assert explained_alone(rng.permutation(x), y, 0, rng) < 0


def test_rare_classes_are_reported():
    frame = sound(3000).assign(y=["usual"] * 2900 + ["rare"] * 90 + ["freak"] * 10)
    notes = notes_on(frame)
    assert [note.split(":")[0] for note in notes] == [
        "class 'freak' has 10 rows",
        "class 'rare' is rare (3.0% of the rows)",
    ]


def test_many_classes_of_few_rows_are_one_note():
    labels = [f"c{i:02}" for i in range(60)]
    (note,) = notes_on(sound(600).assign(y=labels * 10))
    assert note.startswith("60 classes have fewer than 20 rows, such as 'c00' (10), 'c01' (10), 'c02' (10): too few")


def test_a_million_rows_are_looked_at_in_seconds():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1_000_000, 10)), columns=list("abcdefghij"))
    frame["same"] = frame["c"]
    frame["y"] = frame["a"] + rng.normal(size=len(frame))
    table, goal, _ = split_target(frame, "y")
    space = infer_features(table)
    columns = space.encode(table)
    started = time.process_time()
    (note,) = audit(table, space, columns, goal)
    assert note.startswith("'same' is the same as 'c'")
    # Measured: 1.3 s of processor time; ten times as much would be looking at all rows closely.
    assert time.process_time() - started < 13


def test_weights_that_leave_few_rows_to_learn_from_are_reported():
    frame = sound()
    features, target, _ = split_target(frame, "y")
    space = infer_features(features)
    even, uneven = np.ones(ROWS), np.where(np.arange(ROWS) < ROWS // 100, 1000.0, 1.0)
    assert audit(features, space, space.encode(features), target, even) == []
    (note,) = audit(features, space, space.encode(features), target, uneven)
    assert "the heaviest 1% of them have 91% of all weight" in note
