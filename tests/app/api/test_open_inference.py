"""The Open Inference Protocol, as JSON, in its binary form and compressed."""

from __future__ import annotations

import gzip
import json
import struct
from typing import get_args

import numpy as np
import pytest
from tests.support.made_models import FEATURES, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.app.api import open_inference
from eigenserve.model import ModelStore, load_model
from eigenserve.model.rows.cells import Kind

ROWS = make_rows(6, seed=8)
NAMES = [feature.name for feature in FEATURES]
DATATYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
LENGTH = "Inference-Header-Content-Length"


def tensors(rows: list[dict]) -> list[dict]:
    return [
        {
            "name": feature.name,
            "datatype": DATATYPES[feature.kind],
            "shape": [len(rows)],
            "data": [row.get(feature.name) for row in rows],
        }
        for feature in FEATURES
    ]


@pytest.mark.parametrize("count", [1, 6, 2000])
def test_numbers_are_predicted_to_the_last_bit(server: ServerProcess, store: ModelStore, count: int):
    rows = make_rows(count)
    body = {"id": "7", "inputs": tensors(rows)}
    answer = server.client.post("/v2/models/price/infer", json=body).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("price", "2", "7")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("prediction", "FP64", [count])
    assert output["data"] == load_model(store.root / "price").predict(rows).tolist()


@pytest.mark.parametrize(("name", "datatype"), [("choice", "BOOL"), ("level", "BYTES")])
def test_classes_have_labels_and_probabilities(server: ServerProcess, store: ModelStore, name: str, datatype: str):
    model = load_model(store.root / name)
    answer = server.client.post(f"/v2/models/{name}/infer", json={"inputs": tensors(ROWS)}).json()
    label, probabilities = answer["outputs"]
    expected = model.predict_proba(ROWS)
    assert probabilities["shape"] == list(expected.shape)
    assert probabilities["data"] == expected.reshape(-1).tolist()
    assert label["datatype"] == datatype
    labels = [model.classes[i] for i in expected.argmax(axis=1)]
    assert label["data"] == (list(map(str, labels)) if datatype == "BYTES" else labels)


def test_data_may_be_nested_and_a_column_may_have_two_axes(server: ServerProcess):
    flat = tensors(ROWS)
    nested = [{**t, "shape": [len(ROWS), 1], "data": [[v] for v in t["data"]]} for t in flat]
    answers = [server.client.post("/v2/models/price/infer", json={"inputs": i}).json() for i in (flat, nested)]
    assert answers[0] == answers[1]


def test_one_tensor_may_hold_all_features_in_column_order(server: ServerProcess):
    table = [[row.get(name) for name in NAMES] for row in ROWS]
    tensor = {"name": "input-0", "datatype": "BYTES", "shape": [len(ROWS), len(NAMES)], "data": table}
    matrix = server.client.post("/v2/models/price/infer", json={"inputs": [tensor]}).json()
    assert matrix == server.client.post("/v2/models/price/infer", json={"inputs": tensors(ROWS)}).json()


def test_only_requested_outputs_are_given(server: ServerProcess):
    body = {"inputs": tensors(ROWS), "outputs": [{"name": "label"}]}
    answer = server.client.post("/v2/models/level/versions/1/infer", json=body).json()
    assert [output["name"] for output in answer["outputs"]] == ["label"]


def binary_body(rows: list[dict], parameters: dict | None = None) -> tuple[bytes, dict[str, str]]:
    """A request in the binary form, as the protocol's extension describes it."""
    inputs, parts = [], []
    for feature in FEATURES:
        values = [row.get(feature.name) for row in rows]
        if feature.kind == "categorical":
            texts = [(value or "Rome").encode() for value in values]
            data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        elif feature.kind == "boolean":
            data = np.array(values, bool).tobytes()
        else:
            data = np.array(values, "<f8").tobytes()
        parts.append(data)
        inputs.append(
            {
                "name": feature.name,
                "datatype": DATATYPES[feature.kind],
                "shape": [len(rows), 1],
                "parameters": {"binary_data_size": len(data)},
            }
        )
    text = json.dumps({"inputs": inputs, "parameters": parameters or {}}).encode()
    return b"".join([text, *parts]), {LENGTH: str(len(text))}


def test_the_binary_form_goes_both_ways(server: ServerProcess, store: ModelStore):
    rows = [{**row, "city": row.get("city") or "Rome"} for row in ROWS]
    expected = load_model(store.root / "price").predict(rows)
    body, headers = binary_body(rows)
    plain = server.client.post("/v2/models/price/infer", content=body, headers=headers)
    assert plain.json()["outputs"][0]["data"] == expected.tolist()
    body, headers = binary_body(rows, {"binary_data_output": True})
    answer = server.client.post("/v2/models/price/infer", content=body, headers=headers)
    length = int(answer.headers[LENGTH])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8 * len(rows)}
    assert answer.content[length:] == expected.tobytes()


def test_labels_may_be_binary_too(server: ServerProcess):
    body = {"inputs": tensors(ROWS), "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}
    answer = server.client.post("/v2/models/level/infer", json=body)
    data = answer.content[int(answer.headers[LENGTH]) :]
    texts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        texts.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    plain = server.client.post("/v2/models/level/infer", json={"inputs": tensors(ROWS)}).json()
    assert texts == plain["outputs"][0]["data"]


def test_a_compressed_body_is_read_within_the_limit(server: ServerProcess):
    headers = {"Content-Encoding": "gzip"}
    text = json.dumps({"inputs": tensors(ROWS)}).encode()
    url = "/v2/models/price/infer"
    plain = server.client.post(url, content=text).json()
    assert server.client.post(url, content=gzip.compress(text), headers=headers).json() == plain
    bomb = gzip.compress(b" " * (200 * 2**20))
    assert len(bomb) < 2**18
    for body, status in ((bomb, 413), (gzip.compress(text)[:-9], 400), (b"no gzip", 400), (b"", 400)):
        assert server.client.post(url, content=body, headers=headers).status_code == status


def test_health_and_metadata_answer(server: ServerProcess):
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").json() == {"ready": True}
    assert "binary_tensor_data" in server.client.get("/v2").json()["extensions"]
    about = server.client.get("/v2/models/level").json()
    assert [(i["name"], i["datatype"]) for i in about["inputs"]] == [(f.name, DATATYPES[f.kind]) for f in FEATURES]
    assert [(o["name"], o["shape"]) for o in about["outputs"]] == [
        ("label", [-1]),
        ("probabilities", [-1, 3]),
    ]
    for path in ("/v2/models/price/ready", "/v2/models/price/versions/1/ready"):
        assert server.client.get(path).json() == {"name": "price", "ready": True}


def test_every_kind_of_feature_has_a_datatype():
    assert set(open_inference.DATATYPES) == set(get_args(Kind))


@pytest.mark.parametrize(
    "path",
    ["/v2/models/x", "/v2/models/x/ready", "/v2/models/price/versions/9", "/v2/x", "/v2/models/x/infer"],
)
def test_what_is_not_there_is_404_with_a_text_named_error(server: ServerProcess, path: str):
    answer = server.client.request("POST" if path.endswith("infer") else "GET", path, json={"inputs": []})
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)


def changed(**changes: object) -> dict:
    first, *rest = tensors(ROWS)
    return {"inputs": [{**first, **changes}, *rest]}


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": tensors(ROWS)[:-1]},
        {"inputs": [*tensors(ROWS), tensors(ROWS)[0]]},
        {"inputs": tensors(ROWS), "outputs": [{"name": "x"}]},
        {"inputs": tensors(ROWS), "outputs": 1},
        {"inputs": tensors(ROWS), "parameters": []},
        {"inputs": tensors(ROWS), "id": 1},
        changed(name="x"),
        changed(name=None),
        changed(datatype="FP99"),
        changed(datatype=["FP64"]),
        changed(shape=[5]),
        changed(shape=[-6]),
        changed(shape=[2, 3]),
        changed(shape=[]),
        changed(shape=[True]),
        changed(shape=[2**62, 2**62]),
        changed(data=None),
        changed(data="x"),
        changed(data=["x"] * 6),
        changed(data=[[[1], [2]], [3, 4], 5]),
        changed(parameters={"binary_data_size": 48}),
        changed(parameters={"binary_data_size": -1}),
    ],
)
def test_a_bad_request_is_400_with_a_text_named_error(server: ServerProcess, body):
    answer = server.client.post("/v2/models/price/infer", json=body)
    assert answer.status_code in (400, 413)
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("length", ["-1", "x", "99999", "3", ""])
def test_a_wrong_length_of_the_json_part_is_refused(server: ServerProcess, length: str):
    body, _ = binary_body(ROWS)
    answer = server.client.post("/v2/models/price/infer", content=body, headers={LENGTH: length})
    assert answer.status_code == 400


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_cut_binary_data_is_refused(server: ServerProcess, cut: int):
    body, headers = binary_body(ROWS)
    for changed_body in (body[:-cut], body + b"x" * cut):
        answer = server.client.post("/v2/models/price/infer", content=changed_body, headers=headers)
        assert answer.status_code == 400
