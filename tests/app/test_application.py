"""What the application is built of: imports, settings, documentation."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from tests.support.server_process import ROOT, ServerProcess

from eigenserve.app.application import create_app
from eigenserve.app.settings import Settings, settings_table

METRIC = re.compile(r"eigenserve_\w+")


def test_importing_the_service_brings_no_training_library():
    heavy = "torch", "pandas", "sklearn", "pyarrow", "plotly", "rich", "eigenserve.training.fit", "onnx", "scipy.linalg"
    code = (
        f"import eigenserve.app.application, app.cli, app.server, sys; print([m for m in {heavy} if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_the_documentation_has_the_table_of_settings():
    assert settings_table() in (ROOT / "docs" / "service.md").read_text()


def test_settings_come_from_the_environment_and_are_checked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EIGENSERVE_MAX_ROWS", "12")
    monkeypatch.setenv("EIGENSERVE_API_KEYS", "one, two")
    settings = Settings()
    assert settings.max_rows == 12
    assert settings.api_keys == {"one", "two"}
    with pytest.raises(ValidationError):
        Settings(port=70000)


def test_the_dashboard_shows_only_metrics_that_there_are(server: ServerProcess):
    board = json.loads((ROOT / "deploy" / "grafana" / "eigenserve.json").read_text())
    shown = {name for panel in board["panels"] for t in panel["targets"] for name in METRIC.findall(t["expr"])}
    text = server.client.get("/metrics").text
    assert len(shown) >= 9
    for name in shown:
        assert f"# TYPE {name.removesuffix('_bucket')} " in text or f"# TYPE {name.removesuffix('_total')} " in text


def test_every_route_documents_its_answers(tmp_path: Path):
    document = create_app(Settings(store=tmp_path)).openapi()
    assert "HTTPValidationError" not in str(document)
    for path in ("/predict", "/explain"):
        operation = document["paths"][path]["post"]
        assert {"200", "404", "413", "415", "422", "503", "504"} <= set(operation["responses"])
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert "instances" in schema["properties"]
        assert schema["examples"]
    assert "422" not in document["paths"]["/models/{name}"]["get"]["responses"]


def test_the_docs_page_asks_no_other_host(server: ServerProcess):
    page = server.client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/{asset}" in page.text
        assert len(server.client.get(f"/docs/{asset}").content) > 1000
    assert server.client.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_nothing_is_predicted_before_the_models_are_loaded(tmp_path: Path):
    app = create_app(Settings(store=tmp_path))

    async def ask(method: str, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)  # without the lifespan nothing is ever loaded
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, json={"instances": [{}]})

    assert asyncio.run(ask("GET", "/livez")).status_code == 200
    for method, path in (("GET", "/readyz"), ("POST", "/predict"), ("POST", "/explain")):
        answer = asyncio.run(ask(method, path))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Type"] == "application/problem+json"
