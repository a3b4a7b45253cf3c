"""What is handed through: ids and named columns come back with the answers, in every format."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from decimal import Decimal

import httpx
import pytest
from tests.support.made_models import FEATURES, ROW, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.app.wire.kept import PIECE_CHARACTERS, kept_slices

ARROW = "application/vnd.apache.arrow.stream"
HEADER = "id,when,age,income,member,city,rate"


def test_an_id_comes_back_though_nobody_names_it(server: ServerProcess):
    rows = [{"id": 7, **ROW}, ROW, {"id": "x", **ROW}]
    body = server.client.post("/predict", json={"instances": rows}).json()
    assert body["kept"] == [{"id": 7}, {"id": None}, {"id": "x"}]
    assert len(set(body["predictions"])) == 1
    explained = server.client.post("/explain", json={"instances": rows}).json()["explanations"]
    assert [entry["kept"] for entry in explained] == body["kept"]
    assert "kept" not in server.client.post("/predict", json={"instances": [ROW]}).json()


@pytest.mark.parametrize("path", ["/predict", "/explain", "/v1/models/price:predict", "/invocations"])
def test_an_id_that_is_null_is_none(server: ServerProcess, path: str):
    alone = server.client.post(path, json={"instances": [{"age": 30, "id": None}]})
    without = server.client.post(path, json={"instances": [{"age": 30}]})
    assert (alone.status_code, alone.json()) == (200, without.json())
    assert server.client.post(path, json={"instances": [{"id": None}, {"id": "a"}]}).status_code == 200


def test_rows_of_a_table_have_every_feature_and_may_have_more(server: ServerProcess):
    rows = [dict.fromkeys(("age", "income", "member", "city", "rate")) | {"more": [1]}]
    assert server.client.post("/predict", json={"instances": rows}).status_code == 422
    assert server.client.post("/predict", json={"instances": rows, "table": True}).status_code == 200
    for odd in ([{"age": 1}], [5], [[1, 2]], [{"id": 1}]):
        answer = server.client.post("/predict", json={"instances": odd, "table": True, "keep": ["more"]})
        assert answer.status_code == 422
    assert (
        "must have the column 'income'"
        in server.client.post("/predict", json={"instances": [{"age": 1}], "table": True}).text
    )


def test_named_keys_come_back_features_among_them(server: ServerProcess):
    rows = [{**ROW, "when": "2024-01-31"}, {**ROW, "city": "Paris"}]
    for path, more in (
        ("/predict", {}),
        ("/reasons", {"cutoff": 1}),
        ("/counterfactuals", {"wanted": {"above": -1e9}}),
    ):
        body = server.client.post(path, json={"instances": rows, "keep": ["when", "city"], **more}).json()
        kept = body.get("kept") or [entry["kept"] for entry in body["reasons"]]
        assert kept == [{"when": "2024-01-31", "city": "Rome"}, {"when": None, "city": "Paris"}]


def test_a_key_that_is_not_named_is_still_an_unknown_feature(server: ServerProcess):
    answer = server.client.post("/predict", json={"instances": [{**ROW, "when": 1}], "keep": ["other"]})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["instances", 0, "when"])
    assert server.client.post("/predict", json={"instances": [ROW], "keep": [1]}).status_code == 422


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_body_in_slices_keeps_the_order(server: ServerProcess, path: str):
    rows = [{**row, "id": i} if i > 2500 else row for i, row in enumerate(make_rows(4500))]
    body = server.client.post(path, json={"instances": rows}).json()
    kept = body["kept"] if path == "/predict" else [entry["kept"] for entry in body["explanations"]]
    assert kept == [{"id": i if i > 2500 else None} for i in range(4500)]


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_a_table_has_them_as_its_first_columns(server: ServerProcess, path: str):
    text = "\n".join([HEADER, *(f"{i},2024-01-{i:02},31,5000,true,Rome,0" for i in range(1, 20))])
    headers = {"Content-Type": "text/csv"}
    rows = list(csv.DictReader(io.StringIO(server.client.post(path, content=text, headers=headers).text)))
    assert [row["id"] for row in rows] == [str(i) for i in range(1, 20)]
    assert "when" not in rows[0]
    answer = server.client.post(f"{path}?keep=when,id", content=text, headers=headers)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(rows[0])[:2] == ["when", "id"]
    assert rows[18]["when"] == "2024-01-19"
    assert server.client.post(f"{path}?keep=gone", content=text, headers=headers).status_code == 422
    clash = text.replace("when", "warnings", 1)
    assert server.client.post(f"{path}?keep=warnings", content=clash, headers=headers).status_code == 422


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_an_arrow_stream_keeps_their_types(server: ServerProcess, path: str):
    pyarrow = pytest.importorskip("pyarrow")
    ipc = pytest.importorskip("pyarrow.ipc")
    days = [date(2024, 1, 1 + i) for i in range(3)]
    table = pyarrow.Table.from_pylist([{"id": 2**60 + i, "day": day, **ROW} for i, day in enumerate(days)])
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    answer = server.client.post(f"{path}?keep=day", content=sink.getvalue(), headers=headers)
    with ipc.open_stream(answer.content) as reader:
        found = reader.read_all()
    assert found.column_names[:2] == ["day", "id"]
    assert found["id"].to_pylist() == [2**60, 2**60 + 1, 2**60 + 2]
    assert (found["day"].to_pylist(), found["day"].type) == (days, pyarrow.date32())


@pytest.mark.parametrize("by_name", [True, False])
def test_tensors_of_the_open_inference_protocol_come_back(server: ServerProcess, by_name: bool):
    kinds = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
    inputs = [{"name": f.name, "shape": [2], "datatype": kinds[f.kind], "data": [ROW[f.name]] * 2} for f in FEATURES]
    if not by_name:
        inputs = [{"name": "rows", "shape": [2, 5], "datatype": "BYTES", "data": [*ROW.values()] * 2}]
    inputs += [{"name": "id", "shape": [2], "datatype": "INT64", "data": [2**60, 5]}]
    inputs += [{"name": "day", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]}]
    url, keep = "/v2/models/price/infer", {"parameters": {"keep": "day"}}
    outputs = server.client.post(url, json={"inputs": inputs, **keep}).json()["outputs"]
    found = {output["name"]: output["data"] for output in outputs}
    assert (found["id"], found["day"], len(found["prediction"])) == ([2**60, 5], ["a", "b"], 2)
    assert server.client.post(url, json={"inputs": inputs}).status_code == 400
    assert server.client.post(url, json={"inputs": inputs[-2:], **keep}).status_code == 400


def test_kserves_first_protocol_and_mlflow_hand_them_through(server: ServerProcess):
    rows = [{"id": 1, **ROW}, {"id": 2, **ROW}]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for body in ({"instances": rows}, {"inputs": columns}):
        assert server.client.post("/v1/models/price:predict", json=body).json()["kept"] == [{"id": 1}, {"id": 2}]
    explained = server.client.post("/v1/models/price:explain", json={"instances": rows}).json()["explanations"]
    assert [entry["kept"]["id"] for entry in explained] == [1, 2]
    split = {"columns": [*rows[0]], "data": [[*row.values()] for row in rows]}
    for body in ({"dataframe_split": split}, {"dataframe_records": rows}, {"inputs": columns}):
        assert server.client.post("/invocations", json=body).json()["kept"] == [{"id": 1}, {"id": 2}]


def test_names_that_are_handed_through_have_a_limit(server: ServerProcess):
    answer = server.client.post("/predict", json={"instances": [ROW], "keep": ["x" * 201]})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "keep: must be names of at most 200 characters; got one of 201"


def test_slices_are_shorter_where_texts_are_long():
    texts = ["x" * (PIECE_CHARACTERS // 4)] * 10 + [""] * 90
    slices = list(kept_slices({"id": texts}, 95, 50, start=2))
    assert [part.start for part in slices] == [2, *(part.stop for part in slices[:-1])]
    assert slices[-1].stop == 97
    assert max(part.stop - part.start for part in slices) <= 50
    assert all(sum(map(len, texts[part])) <= PIECE_CHARACTERS for part in slices)
    assert [*kept_slices({}, 5, 2)] == [slice(0, 2), slice(2, 4), slice(4, 5)]


DEEP = "[" * 300 + "]" * 300


@pytest.mark.parametrize("handed", [f'"id":{DEEP}', f'"when":{DEEP}', '"id":{"a":1}', '"id":"%s"' % ("x" * 513)])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/predict", ""),
        ("/explain", ""),
        ("/reasons", ',"cutoff":1'),
        ("/counterfactuals", ',"wanted":{"above":1}'),
        ("/v1/models/price:predict", ""),
        ("/v1/models/price:explain", ""),
        ("/invocations", ""),
    ],
)
def test_what_no_answer_could_write_is_refused_by_name(server: ServerProcess, path: str, more: str, handed: str):
    keep = ',"params":{"keep":["when"]}' if path == "/invocations" else ',"keep":["when"]'
    answer = server.client.post(path, content=f'{{"instances":[{{}},{{{handed}}}]{keep}{more}}}')
    name = "id" if handed.startswith('"id"') else "when"
    assert answer.status_code == 422
    assert (answer.json()["errors"][0]["loc"], "handed through" in answer.text) == (["instances", 1, name], True)


def _arrow(server: ServerProcess, ids: object, accept: str) -> httpx.Response:
    pyarrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
    count = len(ids)  # type: ignore[arg-type]
    table = pyarrow.table({**{name: [value] * count for name, value in ROW.items()}, "id": ids})
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"Content-Type": ARROW, "Accept": accept}
    return server.client.post("/predict?model=price", content=sink.getvalue(), headers=headers)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([Decimal("1.50")], ["1.50"]),
        ([timedelta(days=1, seconds=2)], ["P1DT2S"]),
        ([b"ab"], ["ab"]),
        ([2**60 + 1, None], [2**60 + 1, None]),
        ([date(2024, 1, 31)], ["2024-01-31"]),
    ],
)
def test_arrow_columns_come_back_as_json_says_them(server: ServerProcess, ids: list[object], expected: list[object]):
    answer = _arrow(server, pytest.importorskip("pyarrow").array(ids), "application/json")
    assert [entry["id"] for entry in answer.json()["kept"]] == expected
    assert _arrow(server, pytest.importorskip("pyarrow").array(ids), ARROW).status_code == 200


def test_arrow_columns_that_no_answer_could_write_are_refused(server: ServerProcess):
    pyarrow = pytest.importorskip("pyarrow")
    spans = [pyarrow.array([2**62], pyarrow.duration("s")), pyarrow.array([2**60], pyarrow.timestamp("s"))]
    for ids in (pyarrow.array([pyarrow.MonthDayNano((1, 2, 3))]), pyarrow.array([b"\xff"]), *spans):
        for accept in ("application/json", ARROW, "text/csv"):
            answer = _arrow(server, ids, accept)
            assert (answer.status_code, answer.json()["errors"][0]["loc"][-1]) == (422, "id")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, "a", None], ["1", "a", None]),
        ([2**64 - 1, -1], [str(2**64 - 1), "-1"]),
        ([1.5, "x", True], ["1.5", "x", "true"]),
        ([2**60 + 1, 1.5], [str(2**60 + 1), "1.5"]),
        ([1, 2], [1, 2]),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_an_arrow_answer_has_ids_of_several_kinds_as_texts(
    server: ServerProcess, path: str, ids: list[object], expected: list[object]
):
    ipc = pytest.importorskip("pyarrow.ipc")
    rows = [{"id": each} for each in ids]
    answer = server.client.post(path, json={"instances": rows}, headers={"Accept": ARROW})
    with ipc.open_stream(answer.content) as reader:
        assert reader.read_all()["id"].to_pylist() == expected


@pytest.mark.parametrize(
    ("datatype", "value", "status"),
    [
        ("FP64", "a", 400),
        ("INT64", 1e300, 400),
        ("INT64", 1.5, 400),
        ("UINT8", 300, 400),
        ("UINT8", -1, 400),
        ("INT64", None, 400),
        ("BOOL", 2, 400),
        ("FP32", {}, 400),
        ("FP16", 1e300, 400),
        ("BYTES", 1, 400),
        ("BYTES", "x" * 513, 400),
        ("FP64", None, 200),
        ("BYTES", None, 200),
        ("UINT64", 2**64 - 1, 200),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_a_kept_tensor_must_fit_its_datatype(
    server: ServerProcess, datatype: str, value: object, status: int, binary: bool
):
    kinds = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
    inputs = [{"name": f.name, "shape": [1], "datatype": kinds[f.kind], "data": [ROW[f.name]]} for f in FEATURES]
    inputs += [{"name": "id", "shape": [1], "datatype": datatype, "data": [value]}]
    body = {"parameters": {"binary_data_output": binary}, "inputs": inputs}
    answer = server.client.post("/v2/models/price/infer", json=body)
    assert answer.status_code == status
    assert status == 200 or answer.json()["errors"][0]["loc"] == ["inputs", 5, "data"]
    if (datatype, value, binary) == ("BYTES", None, True):
        assert answer.content.endswith(b"\0\0\0\0")  # an empty text
