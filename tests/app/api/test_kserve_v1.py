"""KServe's V1 protocol."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess, free_port, start_command

from eigenserve.model import ModelStore


@pytest.mark.parametrize("name", ["price", "choice", "level", "count"])
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_it_answers_as_the_contract_does(server: ServerProcess, name: str, verb: str):
    rows = make_rows(5)
    ours = server.client.post(f"/{verb}", json={"instances": rows, "model": name}).json()
    theirs = server.client.post(f"/v1/models/{name}:{verb}", json={"instances": rows, "signature_name": "x"})
    assert theirs.status_code == 200
    key = {"predict": "predictions", "explain": "explanations"}[verb]
    warnings = {"warnings": ours["warnings"]} if verb == "predict" and any(ours["warnings"]) else {}
    assert theirs.json() == {key: ours[key], **warnings}


def test_models_are_ready(server: ServerProcess):
    assert "price" in server.client.get("/v1/models").json()["models"]
    status = server.client.get("/v1/models/price").json()
    assert (status["name"], status["ready"]) == ("price", True)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/nope:predict", {"instances": [ROW]}, 404),
        ("/v1/models/nope", None, 404),
        ("/v1/nowhere", None, 404),
        ("/v1/models/price:predict", {}, 422),
        ("/v1/models/price:predict", [], 422),
        ("/v1/models/price:predict", {"instances": [{"age": "x"}]}, 422),
        ("/v1/models/level:explain", {"instances": [ROW], "target": "x"}, 422),
    ],
)
def test_errors_are_plain_json_with_a_text_named_error(server: ServerProcess, path, body, status):
    answer = server.client.request("GET" if body is None else "POST", path, json=body)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("form", ["columns", "tensors of one column", "rows"])
def test_tensorflow_serving_s_columnar_form(server: ServerProcess, form: str):
    rows = [ROW, {**ROW, "age": 50}]
    columns = {name: [row[name] for row in rows] for name in ROW}
    inputs = {
        "columns": columns,
        "tensors of one column": {name: [[cell] for cell in cells] for name, cells in columns.items()},
        "rows": rows,
    }[form]
    expected = server.client.post("/v1/models/price:predict", json={"instances": rows}).json()["predictions"]
    answer = server.client.post(
        "/v1/models/price:predict", json={"signature_name": "serving_default", "inputs": inputs}
    )
    assert answer.json()["outputs"] == expected


def test_tensorflow_serving_s_versions(server: ServerProcess):
    answers = [
        server.client.post(f"/v1/models/price/versions/{version}:predict", json={"instances": [ROW]}).json()
        for version in (1, 2)
    ]
    assert answers[0] != answers[1]
    assert answers[1] == server.client.post("/v1/models/price:predict", json={"instances": [ROW]}).json()
    explained = server.client.post("/v1/models/price/versions/1:explain", json={"instances": [ROW]}).json()
    assert explained["explanations"][0]["prediction"] == answers[0]["predictions"][0]
    status = server.client.get("/v1/models/price/versions/1").json()["model_version_status"]
    assert [(one["version"], one["state"]) for one in status] == [("1", "AVAILABLE")]
    for path in ("/v1/models/price/versions/9:predict", "/v1/models/price/versions/x:predict"):
        assert server.client.post(path, json={"instances": [ROW]}).status_code == 404
    for body in ({"inputs": {}}, {"inputs": {"age": [1], "rate": []}}, {"inputs": 3}, {"inputs": [], "instances": []}):
        assert server.client.post("/v1/models/price:predict", json=body).status_code == 422


def test_the_server_is_a_kserve_explainer(store: ModelStore, tmp_path: Path):
    """With the arguments that KServe adds to those of the container."""
    port = free_port()
    arguments = ["--model_name", "choice", "--predictor_host", "choice-predictor.default", "--http_port", str(port)]
    process = start_command(
        ["serve", "--store", str(store.root), *arguments], {"EIGENSERVE_PORT": "1"}, tmp_path / "log"
    )
    server = ServerProcess(process, f"http://127.0.0.1:{port}", tmp_path / "log")
    try:
        server.wait_ready()
        (explanation,) = server.client.post("/v1/models/choice:explain", json={"instances": [ROW]}).json()[
            "explanations"
        ]
        total = explanation["baseline"] + sum(explanation["contributions"].values())
        assert total == pytest.approx(explanation["score"], abs=1e-9)
        assert server.client.post("/predict", json={"instances": [ROW]}).json()["model"] == "choice"
    finally:
        server.stop()
