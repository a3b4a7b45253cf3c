"""API keys and their scopes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.made_models import ROW
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore


@pytest.fixture(scope="module")
def locked(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log: Path = tmp_path_factory.mktemp("log") / "locked.log"
    with running_server(
        store.root,
        log,
        EIGENSERVE_DEFAULT_MODEL="price",
        EIGENSERVE_API_KEYS="alpha, beta",
        EIGENSERVE_ADMIN_KEYS="omega",
    ) as running:
        yield running
        text = running.log_text()
        assert not any(key in text for key in ("alpha", "beta", "omega"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic alpha"}, 401),
        ({"X-API-Key": "\xff\xfe"}, 401),
        ({"Authorization": "Bearer alpha"}, 200),
        ({"authorization": "bearer beta"}, 200),
        ({"X-API-Key": "alpha"}, 200),
        ({"X-API-Key": "omega"}, 200),
    ],
)
def test_a_prediction_needs_a_key(locked: ServerProcess, headers: dict[str, str], status: int):
    raw = {key: value.encode("latin-1") for key, value in headers.items()}
    answer = locked.client.post("/predict", json={"instances": [ROW]}, headers=raw)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_probes_metrics_and_documentation_need_none(locked: ServerProcess):
    for path in (
        "/",
        "/page/main.js",
        "/livez",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/v2/health/ready",
        "/ping",
    ):
        assert locked.client.get(path).status_code == 200
    for path in ("/models", "/v2", "/v1/models", "/nowhere"):
        assert locked.client.get(path).status_code == 401


def test_loading_needs_an_admin_key(locked: ServerProcess):
    path = "/v2/repository/models/count/load"
    assert locked.client.post(path).status_code == 401
    assert locked.client.post(path, headers={"X-API-Key": "alpha"}).status_code == 403
    assert locked.client.post(path, headers={"X-API-Key": "omega"}).status_code == 200
