"""Cells of a workbook are scored by their types: numbers are numbers, whatever marks the model's texts have."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.cell_cases import CLOCK, COLOUR, COMMA, EURO, FLAG, ISO, PERCENT

openpyxl = pytest.importorskip("openpyxl")

from eigenserve.app.batch.encoding import encode_table  # noqa: E402
from eigenserve.app.batch.places import Place  # noqa: E402
from eigenserve.app.batch.scorer import _kept  # noqa: E402
from eigenserve.app.batch.table import Table  # noqa: E402
from eigenserve.model.rows.features import FeatureSpace  # noqa: E402

#: Cells, and the numbers that each feature makes of them.
COLUMNS = {
    EURO: ([1.234, "1.234,5 €", 250, None, 12.345, "n/a"], [1.234, 1234.5, 250, None, 12.345, None]),
    COMMA: ([250.125, "250,125", 1e-5, -3, "", "53"], [250.125, 250.125, 1e-5, -3, None, 53]),
    PERCENT: ([0.389, "38.9%", 38.9, None, "5 %", 7], [0.389, 38.9, 38.9, None, 5, 7]),
    CLOCK: ([dt.time(9, 30), "9:30", None, "9 pm", dt.time(0, 15), "12:00"], [9.5, 9.5, None, 21, 0.25, 12]),
    ISO: (
        [dt.datetime(1970, 1, 2), "1970-01-02", dt.date(1970, 1, 3), None, dt.datetime(1970, 1, 2, 12), ""],
        [1, 1, 2, None, 1.5, None],
    ),
    COLOUR: (["red", 3, 3.0, "3", None, " red"], [1, 2, 2, 2, None, 1]),
    FLAG: ([True, False, 1, "yes", None, 0.0], [1, 0, 1, 1, None, 0]),
}
SPACE = FeatureSpace(tuple(COLUMNS))


def write(path: Path, rows: list[Any]) -> Place:
    book = openpyxl.Workbook()
    for row in ([feature.name for feature in COLUMNS], *rows):
        book.active.append(row)
    book.save(path)
    return Place(str(path))


def test_cells_are_scored_by_their_types(tmp_path):
    rows = list(zip(*(cells for cells, _ in COLUMNS.values()), strict=True))
    expected = np.array([numbers for _, numbers in COLUMNS.values()], float).T
    one = write(tmp_path / "a.xlsx", rows)
    for places, copies in (([one], 1), ([one, write(tmp_path / "b.xlsx", rows[:3])], 1.5)):
        (part,) = Table(places, SPACE.names).parts(100)
        columns, faults = encode_table(SPACE, part.rows)
        assert faults == {}
        np.testing.assert_array_equal(columns, np.concatenate([expected, expected[:3]])[: int(6 * copies)])
    # In parts of a few rows, too, and from any row on.
    parts = list(Table([one], SPACE.names).parts(4, 1))
    assert [part.rows.num_rows for part in parts] == [2]
    np.testing.assert_array_equal(encode_table(SPACE, parts[0].rows)[0], expected[4:])


def test_a_workbook_without_rows_has_none_to_score(tmp_path):
    (part,) = Table([write(tmp_path / "a.xlsx", [])], SPACE.names).parts(100)
    assert encode_table(SPACE, part.rows)[0].shape == (0, len(COLUMNS))


def test_cells_are_handed_through_as_texts(tmp_path):
    rows = [[2.50, 3, None, dt.time(9, 30), dt.datetime(2024, 1, 2), "a", True]]
    (part,) = Table([write(tmp_path / "a.xlsx", rows)], SPACE.names).parts(100)
    kept = [_kept(part.rows.column(name)).to_pylist() for name in SPACE.names]
    assert kept == [["2.5"], ["3"], [None], ["09:30:00"], ["2024-01-02"], ["a"], ["true"]]


def test_rows_of_blanks_above_the_header_are_passed_over(tmp_path):
    from eigenserve.training.data.table import read_table

    book = openpyxl.Workbook()
    for row in ([" ", ""], ["", " "], ["x", "y"], *([i, i / 2] for i in range(9))):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert read_table(tmp_path / "a.xlsx")["y"].tolist() == [i / 2 for i in range(9)]
