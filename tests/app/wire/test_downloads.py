"""Files handed out whole: models as ONNX, and their reports."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.made_models import ROW, make_model, make_rows
from tests.support.server_process import ServerProcess, running_server

from eigenserve.app.engine import onnx_files
from eigenserve.app.engine.onnx_files import OnnxFiles
from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ServedModel
from eigenserve.model import ModelStore

ONNX = "/models/price/versions/2/model.onnx"
PAGE = "<!doctype html><title>Größe</title><script>document.title += 1</script>"


def ask(files: OnnxFiles, served: ServedModel, explain: bool = False) -> bytes:
    return asyncio.run(files.get(served, explain, "float64")).content


@pytest.mark.parametrize("query", [{}, {"explain": "true", "precision": "float32"}])
def test_an_onnx_file_predicts_as_the_model_does(server: ServerProcess, store: ModelStore, query: dict[str, str]):
    pytest.importorskip("onnx", reason="needs onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from eigenserve.model.onnx import ExportSettings, graph_inputs

    answer = server.client.get(ONNX, params=query)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="price-2.onnx"'
    session = runtime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    assert ("contributions" in [output.name for output in session.get_outputs()]) == bool(query)
    model = store.load("price", 2)
    rows = make_rows(50)
    settings = ExportSettings(explain=bool(query), precision=query.get("precision", "float64"))
    inputs = graph_inputs(model, model.features.encode(rows), settings)
    (predicted,) = session.run(["prediction"], inputs)
    # What an export promises: model.onnx.agreement.TOLERANCE.
    tolerance = 1e-4 if query else 1e-9
    np.testing.assert_allclose(predicted[:, 0], model.predict(rows), rtol=tolerance, atol=tolerance)


def test_a_client_that_has_the_file_gets_304(server: ServerProcess):
    pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    first = server.client.get(ONNX)
    etag = first.headers["ETag"]
    assert etag == f'"{hashlib.sha256(first.content).hexdigest()}"'
    assert first.headers["Cache-Control"] == "private, no-cache"
    for known in (etag, f'"other", W/{etag}', "*"):
        again = server.client.get(ONNX, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert server.client.get(ONNX, headers={"If-None-Match": '"other"'}).status_code == 200
    other = server.client.get(ONNX, params={"precision": "float32"}).headers["ETag"]
    assert other != etag


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/models/nobody/versions/1/model.onnx", 404, "nobody"),
        ("/models/price/versions/9/model.onnx", 404, "versions: 1, 2"),
        ("/models/price/versions/..%2f..%2fetc/model.onnx", 404, ""),
        (f"{ONNX}?precision=float16", 422, "precision"),
        (f"{ONNX}?explain=perhaps", 422, "explain"),
    ],
)
def test_a_file_that_is_not_there_is_a_problem(server: ServerProcess, path: str, status: int, says: str):
    answer = server.client.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_a_server_without_onnx_says_how_to_install_it(store: ModelStore, tmp_path: Path):
    hidden = tmp_path / "onnxruntime"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('no', name='onnxruntime')\n")
    with running_server(store.root, tmp_path / "log", PYTHONPATH=str(tmp_path)) as running:
        answer = running.client.get(ONNX)
        assert answer.status_code == 501
        assert "pip install 'eigenserve[onnx]'" in answer.json()["detail"]
        assert running.client.post("/predict", json={"instances": [ROW], "model": "price"}).status_code == 200


def test_a_model_without_features_has_no_onnx_file(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from eigenserve.model import onnx

    served, files = ServedModel("price", 1, make_model()), OnnxFiles(30.0)
    for error, status in ((ValueError("no input"), 422), (onnx.OnnxError("differs"), 500)):

        def fail(*_: object, error: Exception = error) -> bytes:
            raise error

        monkeypatch.setattr(onnx, "onnx_bytes", fail)
        with pytest.raises(ProblemError, match=str(error)) as raised:
            ask(files, served)
        assert raised.value.status == status


def test_files_are_made_once_and_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch):
    made: list[tuple[str, bool]] = []

    def export(served: ServedModel, explain: bool, precision: str) -> bytes:
        made.append((served.name, explain))
        return bytes(60)

    monkeypatch.setattr(onnx_files, "_export", export)
    monkeypatch.setattr(onnx_files, "MAX_BYTES", 150)
    files = OnnxFiles(30.0)
    a, b, c = (ServedModel(name, 1, make_model()) for name in "abc")
    for served in (a, a, b, a, b):
        ask(files, served)
    assert made == [("a", False), ("b", False)]
    ask(files, c)  # there is room for two
    ask(files, b)
    assert made[2:] == [("c", False)]
    ask(files, a)
    ask(files, replace(b))  # the same name and version, loaded again
    assert made[3:] == [("a", False), ("b", False)]


@pytest.fixture
def reported(tmp_path: Path) -> ModelStore:
    """A model whose second version has a report."""
    made = ModelStore(tmp_path / "store")
    made.save("price", make_model())
    made.save("price", make_model(), lambda folder, _: (folder / "report.html").write_text(PAGE, encoding="utf-8"))
    return made


def test_a_report_is_served_as_a_page_that_asks_no_host_for_anything(reported: ModelStore, tmp_path: Path):
    with running_server(reported.root, tmp_path / "log") as running:
        answer = running.client.get("/models/price/versions/2/report")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.content == PAGE.encode()
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'unsafe-inline'"
        assert policy["sandbox"] == "allow-scripts"
        assert "connect-src" not in policy
        known = {"If-None-Match": answer.headers["ETag"]}
        assert running.client.get("/models/price/versions/2/report", headers=known).status_code == 304
        (reported.root / "price" / "2" / "report.html").write_text("<p>with curvature</p>")
        assert running.client.get("/models/price/versions/2/report", headers=known).text == "<p>with curvature</p>"
        (tmp_path / "secret").write_text("a secret of the machine")
        report = reported.root / "price" / "1" / "report.html"
        for make in (lambda: report.symlink_to(tmp_path / "secret"), report.mkdir):
            make()
            refused = running.client.get("/models/price/versions/1/report")
            assert (refused.status_code, "secret" in refused.text) == (404, False)
            report.unlink() if report.is_symlink() else report.rmdir()
        for path, says in (
            ("price/versions/1", "version 1 of model 'price' has no report"),
            ("price/versions/3", "versions: 1, 2"),
            ("nobody/versions/1", "no model 'nobody'"),
        ):
            missing = running.client.get(f"/models/{path}/report")
            assert missing.status_code == 404
            assert says in missing.json()["detail"]
