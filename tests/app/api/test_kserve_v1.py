"""KServe's V1 protocol."""

from __future__ import annotations

import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess


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
