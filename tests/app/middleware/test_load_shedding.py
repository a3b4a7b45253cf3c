"""Requests that are turned away by their headers: which, with what answer, and what becomes of their connections."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess, running_server

from eigenserve.app.application import create_app
from eigenserve.app.engine.service import Service
from eigenserve.app.middleware.load_shedding import Refusals
from eigenserve.app.settings import Settings
from eigenserve.model import ModelStore

JSON = "application/json"


def refusals(**settings: Any) -> tuple[Refusals, Service]:
    """Those of a service whose queue is full, and that knows the price of JSON for /predict."""
    app = create_app(Settings(store="nowhere", max_queue_rows=100, **settings))
    service: Service = app.state.service
    service.engine.large.rows, service.engine.large.seconds = 100, 6.3
    service.engine.large.prices["/predict", JSON, "identity"] = 1e-6
    return app.state.refusals, service


def scope(path: str = "/predict", method: str = "POST", length: int = 100_000, **headers: str) -> dict[str, Any]:
    given = {"content-type": JSON, "content-length": str(length), **headers}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
        "state": {"arrived": time.monotonic()},
    }


def test_a_refusal_is_a_problem_with_all_headers_and_is_counted():
    ours, service = refusals(access_log=False)
    answer = ours.answer(scope(x_request_id="mine"))
    assert answer is not None
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-request-id"]) == (503, "7", "mine")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["x-content-type-options"] == "nosniff"
    document = orjson.loads(answer.body)
    assert (document["status"], document["request_id"]) == (503, "mine")
    text = service.metrics.text().decode()
    assert 'eigenserve_rejections_total{reason="overloaded"} 1.0' in text
    assert 'eigenserve_requests_total{method="POST",route="/predict",status="503"} 1.0' in text


@pytest.mark.parametrize(
    "asked",
    [
        scope(length=1000),
        scope(path="/explain"),
        scope(method="GET"),
        scope(content_encoding="gzip"),
        scope(expect="100-continue"),
        {**scope(), "headers": [(b"content-type", JSON.encode()), (b"transfer-encoding", b"chunked")]},
    ],
    ids=["small", "never computed", "another method", "another encoding", "waits for a go-ahead", "no length"],
)
def test_every_other_request_goes_on(asked: dict[str, Any]):
    assert refusals()[0].answer(asked) is None


def test_what_the_queue_has_room_for_goes_on():
    ours, service = refusals()
    service.engine.large.rows = 0
    assert ours.answer(scope()) is None


def test_a_client_without_a_key_learns_nothing_of_the_queue():
    ours, _ = refusals(api_keys="alpha", access_log=False)
    assert ours.answer(scope()) is None
    assert ours.answer(scope(x_api_key="beta")) is None
    assert ours.answer(scope(x_api_key="alpha")) is not None


@pytest.fixture(scope="module")
def busy(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that nearly always computes a large request, has room for no other, and knows the price of one."""
    large = json.dumps({"instances": make_rows(20_000), "model": "level"}).encode()
    one = json.dumps({"instances": make_rows(1000)}).encode()
    headers = {"Content-Type": JSON}
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            httpx.post(f"{server.url}/explain", content=large, headers=headers, timeout=60)

    log = tmp_path_factory.mktemp("log") / "busy.log"
    settings = {"EIGENSERVE_MAX_QUEUE_ROWS": "1", "EIGENSERVE_DEFAULT_MODEL": "price"}
    with running_server(store.root, log, **settings) as server:
        assert httpx.post(f"{server.url}/predict", content=one, headers=headers).status_code == 200
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        assert "Traceback" not in server.log_text()


def refused(server: ServerProcess, length: int, headers: bytes = b"") -> tuple[socket.socket, bytes]:
    """A connection on which a request was refused by its headers: no byte of its body has been sent."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % length
    for _ in range(1000):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        connection.sendall(head + headers + b"\r\n")
        connection.settimeout(0.5)  # one that is accepted waits for its body
        try:
            return connection, read_answer(connection)
        except TimeoutError:
            connection.close()
    raise AssertionError("it was never refused")


def read_answer(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.findall(rb"content-length: (\d+)", head)[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_a_refused_body_is_dropped_and_the_connection_goes_on(busy: ServerProcess):
    length = 4_000_000
    connection, answer = refused(busy, length)
    with connection:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" not in answer
        connection.settimeout(10)
        connection.sendall(b" " * length)
        small = json.dumps({"instances": [ROW]}).encode()
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(small) + small)
        assert read_answer(connection).startswith(b"HTTP/1.1 200 ")


def test_a_connection_that_closes_is_closed_after_the_body(busy: ServerProcess):
    length = 4_000_000
    connection, answer = refused(busy, length, b"Connection: close\r\n")
    with connection:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in answer
        connection.settimeout(10)
        for _ in range(8):  # a connection closed before would be reset by these
            connection.sendall(b" " * (length // 8))
            time.sleep(0.02)
        assert connection.recv(1) == b""


def test_pipelined_requests_are_refused_in_order(busy: ServerProcess):
    length, count = 5000, 10
    one = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-ID: %d\r\n"
    one += b"Content-Length: %d\r\n\r\n" % length + b" " * length
    with socket.create_connection(("127.0.0.1", busy.port), timeout=10) as connection:
        connection.sendall(b"".join(one % i for i in range(count)))
        data = b""
        while data.count(b"x-request-id") < count:
            data += connection.recv(65536)
    assert [int(i) for i in re.findall(rb"x-request-id: (\d+)", data)] == list(range(count))
    assert set(re.findall(rb"HTTP/1.1 (\d+)", data)) <= {b"503", b"422"}
