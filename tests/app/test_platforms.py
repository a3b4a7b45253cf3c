"""The container contracts of Vertex AI and SageMaker."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.support.made_models import make_rows
from tests.support.server_process import free_port, running_server, start_command

from eigenserve.app.settings import Settings, platform_settings
from eigenserve.cli import main
from eigenserve.model import ModelStore, load_model

HEALTH = "/v1/endpoints/12/deployedModels/34"
PREDICT = f"{HEALTH}:predict"
FLOATS = [f"EIGENSERVE_{name.upper()}" for name, field in Settings.model_fields.items() if field.annotation is float]


@pytest.fixture
def price(store: ModelStore, tmp_path: Path) -> ModelStore:
    """A store of one model, as these platforms have one for a container."""
    own = ModelStore(tmp_path / "store")
    own.save("price", store.load("price"))
    return own


def test_vertex_ai_chooses_port_and_paths(price: ModelStore, tmp_path: Path):
    port = free_port()
    vertex = {
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": HEALTH,
        "AIP_PREDICT_ROUTE": PREDICT,
        "AIP_STORAGE_URI": "",
        "EIGENSERVE_API_KEYS": "secret",
        "EIGENSERVE_STORE": str(price.root),
    }
    process = start_command(["serve"], vertex, tmp_path / "log")
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=30, transport=httpx.HTTPTransport(retries=8)) as client:
            while client.get(HEALTH).status_code != 200:
                assert process.poll() is None, (tmp_path / "log").read_text()
            body = {"instances": make_rows(3), "parameters": {"any": 1}}
            assert client.post(PREDICT, json=body).status_code == 401
            answer = client.post(PREDICT, json=body, headers={"X-API-Key": "secret"})
            assert answer.json()["predictions"] == load_model(price.root / "price").predict(make_rows(3)).tolist()
            assert client.get("/readyz").status_code == 200
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_sagemaker_asks_ping_and_invocations(price: ModelStore, tmp_path: Path):
    # `docker run IMAGE serve`; EIGENSERVE_PORT=8080 and EIGENSERVE_STORE=/opt/ml/model in the model's environment.
    with running_server(price.root, tmp_path / "log") as server:
        assert server.client.get("/ping").status_code == 200
        answer = server.client.post("/invocations", json={"instances": make_rows(2)})
        assert len(answer.json()["predictions"]) == 2


def test_our_own_variables_win_and_empty_ones_say_nothing():
    environment = {"AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": "", "EIGENSERVE_PREDICT_ROUTE": "/x"}
    assert platform_settings(environment) == {"port": "8080"}
    assert platform_settings({**environment, "EIGENSERVE_PORT": "1"}) == {}
    assert platform_settings({"SAGEMAKER_BIND_TO_PORT": "9000"}) == {"port": "9000"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIP_HTTP_PORT", "many"),
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("AIP_HEALTH_ROUTE", "health"),
        ("AIP_PREDICT_ROUTE", "/v1/{model"),
        ("AIP_PREDICT_ROUTE", "/v1/{model}"),
        ("EIGENSERVE_PREDICT_ROUTE", "predict"),
        *((name, "inf") for name in FLOATS),
        ("EIGENSERVE_DEADLINE_S", "nan"),
    ],
)
def test_a_wrong_value_is_reported_by_the_name_that_was_set(name, value, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert main(["serve"]) == 2
    refused = capsys.readouterr().err
    assert refused.startswith(f"error: {name}: ")
    assert refused.count("\n") == 1
