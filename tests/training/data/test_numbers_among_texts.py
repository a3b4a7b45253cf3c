"""Cells that are numbers already are what they are, and marks are inferred from the texts next to them."""

import pandas as pd
import pytest

from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.reading_options import ReadingOptions

ROWS = range(200)


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
