"""A cell means the same to every reader: rows, frames, CSV, Parquet, Arrow, ONNX and the page."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import subprocess
import unicodedata
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.cell_cases import CASES, DIGITS, FEATURES, PLAIN, REFUSED, TOWN

from eigenserve.app.batch.encoding import encode_table
from eigenserve.app.batch.places import Place
from eigenserve.app.batch.table import Table
from eigenserve.app.page import routes
from eigenserve.app.wire.tables import _read_csv
from eigenserve.model.onnx.inputs import _spellings
from eigenserve.model.rows.errors import InvalidRowsError
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.model.rows.moments import plain_text

PAGE = Path(__file__).parents[1] / "app" / "page"
NAMES = [f"{feature.name}: {text!r}" for feature, text, _ in CASES]


def encoded(rows: Any, feature: Any) -> float | str | None:
    """The number of the only cell, None where it is missing, or that it was refused."""
    try:
        (number,) = FeatureSpace((feature,)).encode(rows)[:, 0].tolist()
    except InvalidRowsError:
        return REFUSED
    return None if math.isnan(number) else number


def encoded_table(table: pa.Table, feature: Any) -> float | str | None:
    columns, faults = encode_table(FeatureSpace((feature,)), table)
    assert len(columns) == 1
    if faults:
        return REFUSED
    number = float(columns[0, 0])
    return None if math.isnan(number) else number


def as_csv(feature: Any, text: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    # A column next to it: a blank line is no row.
    writer.writerows([[feature.name, "more"], [text, "1"]])
    return file.getvalue()


@pytest.mark.parametrize(("feature", "text", "expected"), CASES, ids=NAMES)
def test_a_cell_is_the_same_in_rows_frames_and_arrow(feature, text, expected):
    for rows in ([{feature.name: text}], [[text]], {feature.name: [text]}, np.array([[text]], object)):
        assert encoded(rows, feature) == expected
    for dtype in (object, "str", "string", "category"):
        assert encoded(pd.DataFrame({feature.name: pd.Series([text], dtype=dtype)}), feature) == expected
    column = pa.array([text])
    for typed in (column, column.cast(pa.large_string()), column.dictionary_encode(), column.cast(pa.string_view())):
        assert encoded_table(pa.table({feature.name: typed}), feature) == expected


@pytest.mark.parametrize(("feature", "text", "expected"), CASES, ids=NAMES)
def test_a_cell_is_the_same_in_the_services_csv(feature, text, expected):
    served = SimpleNamespace(model=SimpleNamespace(features=FeatureSpace((feature,))))
    assert encoded(_read_csv(as_csv(feature, text).encode(), served, (), 10, lambda: None), feature) == expected


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_a_cell_is_the_same_in_files_to_score(tmp_path, suffix):
    for number, (feature, text, expected) in enumerate(CASES):
        path = tmp_path / f"{number}{suffix}"
        table = pa.table({feature.name: [text]})
        if suffix == ".csv":
            path.write_text(as_csv(feature, text), newline="")
        elif suffix == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table)
        (part,) = Table([Place(str(path))], [feature.name]).parts(10)
        assert encoded_table(part.rows, feature) == expected, (feature.name, text)


def test_categories_have_the_same_code_in_onnx_files():
    """The operator compares whole texts; those of the cases without blanks or unseen signs are in its list."""
    for feature, text, expected in CASES:
        unseen = unicodedata.normalize("NFC", text) != plain_text(text)
        if feature.kind != "categorical" or (unseen and text not in feature.categories):
            continue
        listed = {*feature.categories, *_spellings(feature)}
        known = feature.codes[text] if text in listed else float(len(feature.categories))
        assert (None if math.isnan(known) else known) == expected, (feature.name, text)


@pytest.mark.parametrize("value", [19700102, 19700102.0, np.float64(19700102), np.int32(19700102), Decimal(19700102)])
def test_a_date_in_digits_may_be_a_number(value):
    for rows in ([{"digits": value}], [[value]], {"digits": [value]}, pd.DataFrame({"digits": [value, None]})[:1]):
        assert encoded(rows, DIGITS) == 1.0
    assert encoded_table(pa.table({"digits": pa.array([value])}), DIGITS) == 1.0
    assert encoded([[19700102.5]], DIGITS) == encoded([[True]], DIGITS) == REFUSED


SCRIPT = """
import { readFileSync } from "node:fs";
import { readCell } from "./form/cells.js";
import { textDays } from "./charts/dates.js";
const read = (feature, text) => {
  let value;
  try { value = readCell(text, feature); } catch { return "refused"; }
  if (value === null) return null;
  if (feature.kind === "datetime") return textDays(value);
  if (feature.kind !== "categorical") return Number(value);
  const code = feature.categories.indexOf(value);
  return code < 0 ? feature.categories.length : code;
};
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(({ feature, text }) => read(feature, text))));
"""


def run_in_node(folder: Path, script: str, given: Any) -> Any:
    """What a script prints that imports the page's own files."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    for part in ("form", "charts"):
        shutil.copytree(PAGE / part, folder / part)
    shutil.copy(PAGE / "dom.js", folder)
    (folder / routes.CELL_TEXTS).write_bytes(routes._cell_texts())
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(script)
    ran = subprocess.run(
        ["node", "run.js"], cwd=folder, input=json.dumps(given), capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def described(feature: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(feature), "reading": asdict(feature.reading)}


def test_a_cell_is_the_same_when_it_is_pasted_into_the_page(tmp_path):
    given = [{"feature": described(feature), "text": text} for feature, text, _ in CASES]
    found = run_in_node(tmp_path, SCRIPT, given)
    differ = [(name, value, case[2]) for name, value, case in zip(NAMES, found, CASES, strict=True) if value != case[2]]
    assert not differ


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('  plain   town\n  1.5  "New York"\n', {"plain": 1.5, "town": "New York"}),
        ("1.5 Oslo", {"plain": 1.5, "town": "Oslo"}),
        ("town  plain  more\nOslo 2 x\nOslo 3 y", {"plain": 2.0, "town": "Oslo"}),
        ("town\nNew York", {"town": "New York"}),
        ("1.5,New York", {"plain": 1.5, "town": "New York"}),
    ],
)
def test_a_pasted_row_may_be_aligned_by_blanks(tmp_path, text, expected):
    script = SCRIPT.split("const read =")[0].replace("cells.js", "csv.js").replace("readCell", "readRow")
    script += "const { features, text } = JSON.parse(readFileSync(0, 'utf8'));\n"
    script += "console.log(JSON.stringify(readRow(text, features).row));"
    features = [described(feature) for feature in (PLAIN, TOWN)]
    assert run_in_node(tmp_path, script, {"features": features, "text": text}) == expected


def test_there_are_cases_of_every_kind():
    assert {feature.kind for feature in FEATURES.features} == {"numeric", "datetime", "boolean", "categorical"}
    assert {REFUSED, None} < {expected for _, _, expected in CASES}
