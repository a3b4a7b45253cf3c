"""What is handed through: ids and named columns come back with the answers, in every format."""

from __future__ import annotations

import csv
import io
from datetime import date

import pytest
from tests.support.made_models import FEATURES, ROW, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.app.wire.kept import PIECE_CHARACTERS, kept_slices

HEADER = "id,when,age,income,member,city,rate"


def test_an_id_comes_back_though_nobody_names_it(server: ServerProcess):
    rows = [{"id": 7, **ROW}, ROW, {"id": "x", **ROW}]
    body = server.client.post("/predict", json={"instances": rows}).json()
    assert body["kept"] == [{"id": 7}, {"id": None}, {"id": "x"}]
    assert len(set(body["predictions"])) == 1
    explained = server.client.post("/explain", json={"instances": rows}).json()["explanations"]
    assert [entry["kept"] for entry in explained] == body["kept"]
    assert "kept" not in server.client.post("/predict", json={"instances": [ROW]}).json()


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


def test_names_and_texts_that_are_handed_through_have_a_limit(server: ServerProcess):
    answer = server.client.post("/predict", json={"instances": [ROW], "keep": ["x" * 201]})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "keep: must be names of at most 200 characters; got one of 201"
    columns = {**{name: [value] for name, value in ROW.items()}, "id": ["x" * (2**20 + 1)]}
    answer = server.client.post("/v1/models/price:predict", json={"inputs": columns})
    assert answer.status_code == 422
    assert "texts must have at most 1048576 characters; 'id' has a longer one" in answer.json()["detail"]


def test_a_tensor_that_is_not_of_its_datatype_is_a_fault(server: ServerProcess):
    kinds = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
    datatypes = {feature.name: kinds[feature.kind] for feature in FEATURES} | {"id": "FP64"}
    tensors = [
        {"name": name, "shape": [1], "datatype": datatypes[name], "data": [value]}
        for name, value in {**ROW, "id": "x"}.items()
    ]
    body = {"parameters": {"binary_data_output": True}, "inputs": tensors}
    answer = server.client.post("/v2/models/price/infer", json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "inputs: 'id' must have values of FP64"


def test_slices_are_shorter_where_texts_are_long():
    texts = ["x" * (PIECE_CHARACTERS // 4)] * 10 + [""] * 90
    slices = list(kept_slices({"id": texts}, 95, 50, start=2))
    assert [part.start for part in slices] == [2, *(part.stop for part in slices[:-1])]
    assert slices[-1].stop == 97
    assert max(part.stop - part.start for part in slices) <= 50
    assert all(sum(map(len, texts[part])) <= PIECE_CHARACTERS for part in slices)
    assert [*kept_slices({}, 5, 2)] == [slice(0, 2), slice(2, 4), slice(4, 5)]
