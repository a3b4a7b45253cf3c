"""Bodies and answers as CSV and as Arrow streams."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.made_models import FEATURES, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.app.wire.arrow import _values
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import MISSING_TEXTS

NAMES = [feature.name for feature in FEATURES]
ROWS = [{name: row.get(name) for name in NAMES} for row in make_rows(40, seed=3)]
CSV = {"Content-Type": "text/csv"}


def as_csv(rows: list[dict]) -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, ["note", *NAMES])
    writer.writeheader()
    writer.writerows({"note": "x, y", **row} for row in rows)
    return sink.getvalue().encode()


def as_json(server: ServerProcess, path: str, model: str) -> list:
    body = server.client.post(path, json={"instances": ROWS, "model": model}).json()
    return body["predictions" if path == "/predict" else "explanations"]


def warning_text(warning: dict) -> str:
    """A warning of JSON as a column of a table has it."""
    feature = f" {warning['feature']}" if "feature" in warning else ""
    return warning["kind"] + feature + (f" by {warning['by']!r}" if "by" in warning else "")


def flat(explained: dict) -> dict:
    """An explanation of the JSON answer as the columns of a table."""
    row = {"prediction": explained["prediction"]}
    for part in ("contributions", "sensitivities"):
        row.update({f"{part}.{key}": value for key, value in explained[part].items()})
    row.update({key: explained[key] for key in ("score", "baseline", "gap")})
    row["warnings"] = "; ".join(warning_text(warning) for warning in explained["warnings"])
    return row


def test_csv_is_answered_with_csv_to_the_last_bit(server: ServerProcess):
    answer = server.client.post("/predict?model=price", content=as_csv(ROWS), headers=CSV)
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.text.splitlines()[0] == "prediction,warnings"
    rows = csv.DictReader(io.StringIO(answer.text))
    assert [float(row["prediction"]) for row in rows] == as_json(server, "/predict", "price")


@pytest.mark.parametrize("mark", sorted(MISSING_TEXTS))
def test_what_training_takes_for_missing_is_missing_in_a_body(server: ServerProcess, mark: str):
    line = f"{mark},{mark},true,{mark},0.5"
    answer = server.client.post(
        "/predict?model=price",
        content=f"{','.join(NAMES)}\n{line}\n".encode(),
        headers={**CSV, "Accept": "application/json"},
    )
    row = {"age": None, "income": None, "member": True, "city": None, "rate": 0.5}
    expected = server.client.post("/predict", json={"instances": [row], "model": "price"})
    assert answer.json() == expected.json()


def test_the_marks_of_training_are_those_of_pandas_and_one_more(tmp_path: Path):
    parsers = pytest.importorskip("pandas._libs.parsers", reason="needs pandas")
    table = pytest.importorskip("eigenserve.training.data.table")
    assert parsers.STR_NA_VALUES | {"?"} == MISSING_TEXTS
    lines = [f"{mark},1" for mark in sorted(MISSING_TEXTS)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b", *lines, "no mark,1"]))
    columns = pytest.importorskip("eigenserve.training.data.columns")
    read = columns.read_columns(table.read_table(tmp_path / "x.csv")).frame
    assert read["a"].isna().tolist() == [True] * len(lines) + [False]


def test_csv_may_be_answered_with_json(server: ServerProcess):
    for accept in ("application/json", "application/json, text/csv;q=0.5"):
        headers = {**CSV, "Accept": accept}
        answer = server.client.post("/predict?model=level", content=as_csv(ROWS), headers=headers)
        assert answer.json()["predictions"] == as_json(server, "/predict", "level")


def test_json_may_be_answered_with_csv(server: ServerProcess):
    body = {"instances": ROWS, "model": "choice"}
    answer = server.client.post("/predict", json=body, headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    for row, expected in zip(rows, as_json(server, "/predict", "choice"), strict=True):
        assert json.loads(row["label"]) == expected["label"]
        shares = {key: float(row[f"probabilities.{key}"]) for key in ("false", "true")}
        assert shares == expected["probabilities"]


def test_an_explanation_is_a_table_too(server: ServerProcess):
    answer = server.client.post("/explain", content=as_csv(ROWS), headers=CSV)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    for row, expected in zip(rows, as_json(server, "/explain", "price"), strict=True):
        assert row.pop("warnings") == flat(expected)["warnings"]
        numbers = {key: float(text) if text else None for key, text in row.items()}
        assert numbers == {key: value for key, value in flat(expected).items() if key != "warnings"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "names of the columns"),
        (b"age,income,member,city,rate\n", "at least one row"),
        (b"age,income,member,city\n1,2,true,Rome\n", "'rate'"),
        (b"age,age,member,city,rate\n1,2,true,Rome,1\n", "differ"),
        (b"age,income,member,city,rate\n1,2,true,Rome\n", "5 values"),
        (b"age,income,member,city,rate\nold,2,true,Rome,1\n", "'old'"),
        (b"age,income,member,city,rate\ninf,2,true,Rome,1\n", "finite"),
        (b"age,income,member,city,rate\n1,2,perhaps,Rome,1\n", "true, false"),
        (b'age,income,member,city,rate\n1,2,true,"Rome,1\n', "CSV"),
        (b"age,income,member,city,rate\n1,2,true,R\xff,1\n", "UTF-8"),
        (b"\x00\x01\x02", "at least one row"),
    ],
)
def test_bad_csv_is_refused_with_where_and_what(server: ServerProcess, body: bytes, says: str):
    answer = server.client.post("/predict", content=body, headers=CSV)
    assert answer.status_code == 422
    assert says in answer.text


def test_an_answer_that_cannot_be_given_is_refused(server: ServerProcess):
    answer = server.client.post("/predict", json={"instances": ROWS}, headers={"Accept": "image/png"})
    assert answer.status_code == 406


def test_the_query_names_what_the_body_cannot(server: ServerProcess):
    for query, status in (("model=nope", 404), ("version=9", 404), ("version=1", 200)):
        assert server.client.post(f"/predict?{query}", content=as_csv(ROWS), headers=CSV).status_code == status
    answer = server.client.post("/explain?model=level&target=x", content=as_csv(ROWS), headers=CSV)
    assert answer.status_code == 422


@pytest.mark.parametrize("count", [5, 3000])
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_arrow_is_answered_with_arrow_to_the_last_bit(server: ServerProcess, path: str, count: int):
    pyarrow = pytest.importorskip("pyarrow")
    ipc = pytest.importorskip("pyarrow.ipc")
    rows = [{name: row.get(name) for name in NAMES} for row in make_rows(count, seed=4)]
    table = pyarrow.Table.from_pylist(rows)
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    answer = server.client.post(path, content=sink.getvalue(), headers=headers)
    assert answer.status_code == 200
    with ipc.open_stream(answer.content) as reader:
        got = reader.read_all()
    assert got.schema.metadata == {b"model": b"price", b"version": b"2"}
    body = server.client.post(path, json={"instances": rows}).json()
    if path == "/predict":
        assert got["prediction"].to_pylist() == body["predictions"]
    else:
        expected = [flat(explained) for explained in body["explanations"]]
        assert got["warnings"].to_pylist() == [row["warnings"] for row in expected]
        for name in set(got.column_names) - {"warnings"}:
            want = np.array([row[name] for row in expected], dtype=float)
            assert np.array_equal(got[name].to_numpy(), want, equal_nan=True), name


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff\xff\xff\xff\x00\x00\x00\x00", b"\x10" * 1000])
def test_a_bad_arrow_stream_is_refused(server: ServerProcess, body: bytes):
    pytest.importorskip("pyarrow")
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    answer = server.client.post("/predict", content=body, headers=headers)
    assert answer.status_code == 422
    assert server.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("zone", [None, "+02:00", "Mars/Phobos"])
def test_times_of_arrow_are_read_whatever_their_unit_and_zone(zone: str | None):
    pyarrow = pytest.importorskip("pyarrow")
    moments = pyarrow.chunked_array([pyarrow.array([86_400 * 10**9 + 1, None], pyarrow.timestamp("ns", zone))])
    found = _values(moments, pyarrow)
    when = FeatureSpace((Feature("when", "datetime", typical=0.0),))
    assert np.array_equal(when.encode({"when": found}), [[1.0], [np.nan]], equal_nan=True)


@pytest.mark.parametrize("kind", ["timestamp", "beyond", "date"])
def test_a_time_of_arrow_that_is_none_is_refused_by_its_column(server: ServerProcess, kind: str):
    pyarrow = pytest.importorskip("pyarrow")
    ipc = pytest.importorskip("pyarrow.ipc")
    far = {
        "timestamp": lambda: pyarrow.array([10**12], pyarrow.timestamp("s")),
        "beyond": lambda: pyarrow.array([2**60], pyarrow.timestamp("s")),
        "date": lambda: pyarrow.array([2**31 - 1], pyarrow.int32()).cast(pyarrow.date32()),
    }[kind]()
    table = pyarrow.table({"age": far})
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    answer = server.client.post("/predict?model=price", content=sink.getvalue(), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body.age: must have dates and times of the years 1 to 9999")
