"""What the decimal mark of a table is: what most of its columns prove, and never what one list of codes looks like."""

import random

import pandas as pd
import pytest

from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.table import read_table
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

ROWS = range(200)
RNG = random.Random(3)
INCOMES = [RNG.choice([RNG.randint(100, 999), RNG.randint(1_000, 90_000)]) for _ in ROWS]
SURVEY = pd.DataFrame(
    {
        "answers": [f"{RNG.randint(1, 5)},{RNG.randint(1, 4)}" for _ in ROWS],
        "income": [f"${income:,}" for income in INCOMES],
        "weight": [f"{i % 9 + 1}.960" for i in ROWS],
        "y": [f"{i % 7}.30" for i in ROWS],
    }
)


def test_points_of_a_file_outweigh_a_column_of_codes(tmp_path):
    SURVEY.to_csv(tmp_path / "a.csv", index=False)
    table = training_table(read_table(tmp_path / "a.csv"), "y", make_settings({}))
    assert table.features["income"].tolist() == INCOMES
    assert table.features["weight"].tolist() == [i % 9 + 1.96 for i in ROWS]
    assert table.target.values.tolist() == [float(y) for y in SURVEY["y"]]
    assert set(table.features["answers"]) == set(SURVEY["answers"])
    (note,) = (note for note in table.notes if "'answers'" in note)
    assert "--types answers=number takes the comma for a decimal mark" in note
    typed = training_table(read_table(tmp_path / "a.csv"), "y", make_settings({"types": "answers=number"}))
    assert typed.features["answers"].tolist() == [float(text.replace(",", ".")) for text in SURVEY["answers"]]


def test_prices_with_decimal_commas_stay_numbers_among_points(tmp_path):
    prices = [RNG.randint(100, 9_999) / 100 for _ in ROWS]
    columns = {"price": [f"{price:.2f}".replace(".", ",") for price in prices], "y": SURVEY["y"]}
    pd.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    assert read_columns(read_table(tmp_path / "a.csv")).frame["price"].tolist() == prices


def test_decimal_commas_that_are_proven_are_shared():
    frame = pd.DataFrame({"size": [f"{1 + i % 3}.{100 + i}" for i in ROWS], "price": [f"{i},50 €" for i in ROWS]})
    assert read_columns(frame).frame["size"].tolist() == [1000 * (1 + i % 3) + 100 + i for i in ROWS]


def test_fractions_that_are_numbers_outweigh_codes_but_not_prices():
    frame = pd.DataFrame({"weight": [0.25 + i for i in ROWS], "paid": [f"${1000 + 7 * i:,}" for i in ROWS]})
    paid = [1000.0 + 7 * i for i in ROWS]
    assert read_columns(frame.assign(answers=SURVEY["answers"])).frame["paid"].tolist() == paid
    german = read_columns(frame.assign(price=[f"{i},50 €" for i in ROWS]))
    assert german.frame["paid"].tolist() == [x / 1000 for x in paid]


def german(number):
    return f"{number:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")


#: name -> (cells, of which every other one is a number already, and the numbers that they stand for).
MIXED = {
    "decimal commas": ([f"{i},50" if i % 2 else i + 0.25 for i in ROWS], [i + (0.5 if i % 2 else 0.25) for i in ROWS]),
    "both marks": (
        [german(1000 + i) if i % 2 else 5.004999999999999 + i for i in ROWS],
        [1000 + i if i % 2 else 5.004999999999999 + i for i in ROWS],
    ),
    "one comma, near the numbers": (
        [f"{i % 9 + 1},{100 + i}" if i % 2 else i % 9 + 0.5 for i in ROWS],
        [i % 9 + 1 + (100 + i) / 1000 if i % 2 else i % 9 + 0.5 for i in ROWS],
    ),
    "one point, far from the numbers": (
        [f"{i % 9 + 1}.{100 + i}" if i % 2 else 100 + i for i in ROWS],
        [(i % 9 + 1) * 1000 + 100 + i if i % 2 else 100 + i for i in ROWS],
    ),
    "dollars": ([f"${i}.5" if i % 2 else i / 4 for i in ROWS], [i + 0.5 if i % 2 else i / 4 for i in ROWS]),
    "small": ([f"{i}.5" if i % 2 else i * 1e-9 for i in ROWS], [i + 0.5 if i % 2 else i * 1e-9 for i in ROWS]),
}


@pytest.mark.parametrize("given", [{}, {"p": "number"}])
@pytest.mark.parametrize(("cells", "numbers"), MIXED.values(), ids=MIXED)
def test_numbers_among_texts_are_numbers_and_only_texts_have_marks(cells, numbers, given):
    read = read_columns(pd.DataFrame({"p": pd.Series(cells, dtype=object)}), ReadingOptions(types=given))
    assert read.frame["p"].tolist() == pytest.approx(numbers, rel=1e-15)
