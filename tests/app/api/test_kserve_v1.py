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
    assert theirs.json() == {key: ours[key]}


def test_models_are_ready(server: ServerProcess):
    assert "price" in server.client.get("/v1/models").json()["models"]
    assert server.client.get("/v1/models/price").json() == {"name": "price", "ready": True}


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
