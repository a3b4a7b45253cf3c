"""Connections that lie, stall or offer what is not had: nobody else waits for them, and what they hold is bounded."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.hostile.watch import Watch, resident_bytes
from tests.support.made_models import ROW
from tests.support.server_process import ROOT, ServerProcess, free_port, running_server

from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

BODY = json.dumps({"instances": [ROW], "model": "price"}).encode()
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


@pytest.fixture(scope="module")
def server(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "connections.log"
    settings = {"EIGENSERVE_DEFAULT_MODEL": "price", "EIGENSERVE_WRITE_TIMEOUT_S": "2", "EIGENSERVE_DEADLINE_S": "5"}
    with running_server(store.root, log, **settings) as running:
        yield running
        assert "Traceback" not in running.log_text()


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def head(length: int, headers: bytes = b"", path: bytes = b"/predict") -> bytes:
    start = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path
    return start + b"Content-Length: %d\r\n%b\r\n" % (length, headers)


def read_answers(connection: socket.socket, count: int = 1) -> list[tuple[int, bytes]]:
    """So many answers, each with its length."""
    data, answers = b"", []
    while len(answers) < count:
        while b"\r\n\r\n" not in data:
            data += received(connection)
        start, _, data = data.partition(b"\r\n\r\n")
        length = int(start.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(data) < length:
            data += received(connection)
        answers.append((int(start.split()[1]), data[:length]))
        data = data[length:]
    assert data == b""
    return answers


def received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed")
    return data


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_kept(server: ServerProcess, pause_s: float):
    expected = httpx.post(f"{server.url}/predict", content=BODY, headers={"Content-Type": "application/json"}).content
    # A request that looks like the body of the one before would be answered too often.
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(head(len(BODY), OFFER))
            time.sleep(pause_s)
            connection.sendall(BODY)
            assert read_answers(connection) == [(200, expected)]
        chunked = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + OFFER + b"\r\n"
        connection.sendall(chunked + b"%x\r\n%b\r\n" % (len(BODY), BODY))
        time.sleep(pause_s)
        connection.sendall(b"0\r\n\r\n" + head(len(BODY)) + BODY)
        assert read_answers(connection, 2) == [(200, expected)] * 2
        connection.sendall((b"GET /livez HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n") * 3)
        assert [status for status, _ in read_answers(connection, 3)] == [200] * 3
    smuggled = b"POST /v2/repository/models/price/unload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(head(len(smuggled), OFFER) + smuggled)
        assert [status for status, _ in read_answers(connection)] == [422]
    assert httpx.get(f"{server.url}/models/price").status_code == 200


def test_connect_is_refused(server: ServerProcess):
    with connect(server) as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\nGET /livez HTTP/1.1\r\n\r\n")
        data = b""
        while piece := connection.recv(65536):
            data += piece
    assert data.startswith(b"HTTP/1.1 4")
    assert data.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("command", [["curl", "-s", "--http2"]], ids=["curl"])
def test_clients_that_offer_http2_predict(server: ServerProcess, command: list[str]):
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False)
    if "HTTP2" not in version.stdout:
        pytest.skip("curl is missing, or has no HTTP/2")
    arguments = ["-H", "Content-Type: application/json", "-d", BODY.decode(), f"{server.url}/predict"]
    answer = subprocess.run([*command, *arguments], capture_output=True, timeout=30, check=True).stdout
    assert len(json.loads(answer)["predictions"]) == 1


def test_a_key_in_trailers_is_not_a_key(store: ModelStore, tmp_path: Path):
    with (
        running_server(store.root, tmp_path / "log", EIGENSERVE_API_KEYS="secret") as server,
        connect(server) as connection,
    ):
        start = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-API-Key\r\n\r\n"
        connection.sendall(start + b"%x\r\n%b\r\n0\r\nX-API-Key: secret\r\n\r\n" % (len(BODY), BODY))
        assert read_answers(connection)[0][0] == 401


def test_bodies_that_are_declared_and_do_not_come_take_nobody_s_place(server: ServerProcess):
    large = json.dumps({"instances": [ROW] * 500, "model": "price"}).encode()
    with ExitStack() as stack:
        for _ in range(30):
            connection = stack.enter_context(connect(server))
            connection.sendall(head(60_000_000) + b"{")
            connection = stack.enter_context(connect(server))
            connection.sendall(head(30_000_000) + b"{")
        statuses = {
            httpx.post(f"{server.url}/predict", content=large, headers={"Content-Type": "application/json"}).status_code
            for _ in range(10)
        }
    assert statuses == {200}


def test_clients_that_never_read_are_cut_off_and_hold_little(server: ServerProcess):
    rows = ",".join(["{}"] * 15_000)
    body = gzip.compress(f'{{"model": "price", "instances": [{rows}]}}'.encode())
    before = resident_bytes(server)
    with Watch(server) as watch, ExitStack() as stack:
        for _ in range(6):
            connection = stack.enter_context(connect(server))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head(len(body), b"Content-Encoding: gzip\r\n", b"/explain") + body)
        ends = time.monotonic() + 20
        time.sleep(3)
        while time.monotonic() < ends and resident_bytes(server) > before + 60 * 2**20:
            time.sleep(0.2)
        # Their connections are still open on their side.
        assert resident_bytes(server) <= before + 60 * 2**20
    assert watch.grown_mb < 300
    assert watch.wrong == []


def test_answers_to_requests_sent_ahead_end_their_connection_if_they_are_never_read(server: ServerProcess):
    one = b"GET /page/vendor/chart.umd.min.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with Watch(server) as watch, connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        with pytest.raises(ConnectionError):
            connection.sendall(one * 200_000)
    assert watch.grown_mb < 50


def test_a_slow_reader_gets_all_of_its_answer(server: ServerProcess):
    body = json.dumps({"model": "price", "instances": [{}] * 4000}).encode()
    with connect(server) as connection:
        connection.sendall(head(len(body), path=b"/explain") + body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += received(connection)
        length = int(data.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert length > 2**20
        content = data.partition(b"\r\n\r\n")[2]
        while len(content) < length:
            content += received(connection)
            time.sleep(0.01)
    assert len(json.loads(content)["explanations"]) == 4000


def test_one_client_s_costly_work_leaves_room_for_another_s(server: ServerProcess):
    body = json.dumps({"model": "level", "instances": [ROW] * 3000, "method": "path"}).encode()
    small = json.dumps({"model": "level", "instances": [ROW], "method": "shapley"}).encode()
    headers = {"Content-Type": "application/json"}
    ends = threading.Event()

    def work() -> None:
        while not ends.is_set():
            httpx.post(f"{server.url}/explain", content=body, headers=headers, timeout=60)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport, timeout=30) as client:
            times = []
            for _ in range(5):
                started = time.monotonic()
                answer = client.post(
                    f"{server.url}/explain", content=small, headers={"Content-Type": "application/json"}
                )
                times.append(time.monotonic() - started)
                assert answer.status_code == 200, answer.text
        assert sorted(times)[2] < 2.0
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def test_standard_error_that_nobody_reads_stops_no_request(store: ModelStore):
    port = free_port()
    command = [sys.executable, "-m", "eigenserve", "serve", "--port", str(port), "--store", str(store.root)]
    environment = {**os.environ, "EIGENSERVE_DEFAULT_MODEL": "price"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                deadline = time.monotonic() + 120
                while time.monotonic() < deadline:
                    try:
                        if client.get("/readyz").status_code == 200:
                            break
                    except httpx.TransportError:
                        time.sleep(0.1)
                # A pipe holds 64 KB: some 200 lines of the log.
                for i in range(600):
                    assert client.get(f"/livez?{'x' * 100}{i}").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
        finally:
            process.kill()


def test_a_path_forges_no_line_of_the_text_log(store: ModelStore, tmp_path: Path):
    log = tmp_path / "log"
    with running_server(store.root, log, EIGENSERVE_LOG_FORMAT="text") as server:
        httpx.get(f"{server.url}/x%0A2026-01-01%20GET%20/forged%200.1%20ms%1b[2J%E2%80%A8y")
        time.sleep(0.3)
    assert not any(line.startswith("2026-01-01 GET") for line in log.read_text().splitlines())
    assert "\x1b" not in log.read_text()


@pytest.mark.parametrize("delay_s", [0.05, 0.3, 0.8, 1.5])
def test_sigterm_ends_a_server_that_is_still_starting(store: ModelStore, delay_s: float):
    command = [sys.executable, "-m", "eigenserve", "serve", "--port", str(free_port()), "--store", str(store.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"Eigenserve on ")
        time.sleep(delay_s)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"\udfff": 1}', '"\\u0000"'])
def test_lone_surrogates_are_refused_everywhere(server: ServerProcess, text: str):
    for path, body in {
        "/predict": f'{{"instances": [{text}]}}',
        "/explain": f'{{"instances": [{{}}], "target": {text}}}',
        "/invocations": f'{{"instances": [{{"age": NaN, "city": {text}}}]}}',
        "/v1/models/price:predict": f'{{"instances": [{{}}], "method": {text}}}',
        "/v2/models/price/infer": f'{{"id": {text}, "inputs": []}}',
    }.items():
        answer = httpx.post(f"{server.url}{path}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 400, 422), (path, answer.text)
