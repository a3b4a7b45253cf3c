"""Traces: a span for the request, its wait and its computation, within the client's own trace."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import running_server

from eigenserve.app.application import create_app
from eigenserve.app.observability.tracing import Tracing, tracing_from_environment
from eigenserve.app.settings import Settings
from eigenserve.model import ModelStore

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def spans_of(store: ModelStore, method: str, path: str, **request: Any) -> list[Any]:
    """The spans of one request to a service in this process, in the order of their ends."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    app = create_app(Settings(store=str(store.root), default_model="price", access_log=False), Tracing(provider))

    async def ask() -> list[Any]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as client,
        ):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.01)
            kept.clear()
            await client.request(method, path, **request)
            return list(kept.get_finished_spans())

    return asyncio.run(ask())


@pytest.mark.parametrize(("rows", "parts"), [(1, ["solve"]), (400, ["queue", "solve"])])
def test_a_request_has_its_spans_within_the_clients_trace(store: ModelStore, rows: int, parts: list[str]):
    body = {"instances": make_rows(rows)}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    *inner, request = spans_of(store, "POST", "/predict?secret=x", json=body, headers=headers)
    assert request.name == "POST /predict"
    assert [span.name for span in inner] == parts
    assert f"{request.parent.span_id:016x}" == PARENT
    assert {f"{span.context.trace_id:032x}" for span in (request, *inner)} == {TRACE}
    assert {span.parent.span_id for span in inner} == {request.context.span_id}
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["http.route"] == "/predict"
    assert "secret" not in str(request.attributes)
    edges = [request.start_time, *(edge for span in inner for edge in (span.start_time, span.end_time))]
    # Nothing before the request began; two clocks are read at different moments, microseconds apart.
    assert all(later >= earlier - 1_000_000 for earlier, later in itertools.pairwise(edges))
    assert request.end_time >= edges[-1] - 1_000_000


def test_a_client_without_a_trace_gets_one_and_errors_are_marked(store: ModelStore):
    (missing,) = spans_of(store, "GET", "/models/nope")
    assert missing.parent is None
    assert missing.name == "GET /models/{name}"
    assert missing.attributes["http.response.status_code"] == 404
    assert missing.status.is_unset


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_say_whether(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], on: bool):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the OTLP exporter")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracing = tracing_from_environment()
    assert (tracing is not None) == on
    if tracing is not None:
        tracing.close()


def test_a_server_sends_its_spans_before_it_ends(store: ModelStore, tmp_path: Path):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the OTLP exporter")
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "PYTHONWARNINGS": "ignore",
        }
        with running_server(store.root, tmp_path / "log", **variables) as server:
            answer = httpx.post(f"{server.url}/predict", json={"instances": [ROW], "model": "price"})
            assert answer.status_code == 200
            assert server.stop() == 0
        collector.shutdown()
    assert {path for path, _ in received} == {"/v1/traces"}
    sent = b"".join(body for _, body in received)
    assert b"eigenserve" in sent
    assert b"POST /predict" in sent
