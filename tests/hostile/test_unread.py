"""Answers that clients ask for and never take: reports, and tensors over gRPC. What they hold is bounded, and ends."""

from __future__ import annotations

import gzip
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from tests.hostile.watch import Watch, resident_bytes
from tests.support.made_models import make_model
from tests.support.server_process import ServerProcess, free_port, running_server

from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

LIVEZ_S, REPORT_BYTES = 0.25, 5 * 2**20
#: Rows with four warnings each: 15 MB of answer for 800 bytes.
ROWS = 40_000
#: HTTP/2's settings with windows of nothing (RFC 9113, 6.5.2), and HPACK's literals without Huffman.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"grpc-encoding", b"gzip"),
)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store, log = ModelStore(tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("log") / "unread.log"
    store.save("price", make_model(seed=1))
    (store.root / "price" / "1" / "report.html").write_bytes(random.Random(0).randbytes(REPORT_BYTES))
    settings = {
        "EIGENSERVE_GRPC_PORT": str(port),
        "EIGENSERVE_WRITE_TIMEOUT_S": "1",
        "EIGENSERVE_MAX_MEMORY_BYTES": str(2**27),
    }
    with running_server(store.root, log, **settings) as running:
        yield running
        assert "Traceback" not in running.log_text()


def unread(stack: ExitStack, port: int) -> socket.socket:
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    return connection


def test_a_report_is_in_memory_once_for_all_who_do_not_take_it(server: ServerProcess):
    path = "/models/price/versions/1/report"
    with Watch(server) as watch, ExitStack() as stack:
        for _ in range(100):
            unread(stack, server.port).sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.5)
        assert len(httpx.get(server.url + path).content) == REPORT_BYTES
    assert watch.grown_mb < 60
    assert watch.worst_livez_s < LIVEZ_S
    assert watch.wrong == []


def test_a_report_that_changes_is_read_again(server: ServerProcess):
    path = "/models/price/versions/1/report"
    first = httpx.get(server.url + path)
    assert httpx.get(server.url + path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    store = next(iter(server.process.args[server.process.args.index("--store") + 1 :]))
    with open(f"{store}/price/1/report.html", "ab") as file:
        file.write(b"more")
    assert httpx.get(server.url + path).content == first.content + b"more"


def frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data


def calls_without_a_window(message: bytes, count: int) -> bytes:
    head = b"".join(b"\x00" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in HEADERS)
    streams = [2 * i + 1 for i in range(count)]
    return b"".join(frame(1, 4, stream, head) + frame(0, 1, stream, message) for stream in streams)


def test_grpc_answers_that_are_not_taken_are_in_the_budget_and_end(server: ServerProcess, port: int):
    pytest.importorskip("grpc", reason="needs eigenserve[grpc]")
    from tests.hostile.test_grpc import outside

    body = gzip.compress(outside(ROWS))
    message = b"\1" + struct.pack(">I", len(body)) + body
    before = resident_bytes(server)
    with Watch(server) as watch, ExitStack() as stack:
        for _ in range(2):
            connection = unread(stack, port)
            connection.sendall(PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, 0)))
            time.sleep(0.2)
            connection.sendall(frame(4, 1, 0, b"") + calls_without_a_window(message, 10))
        ends = time.monotonic() + 20
        time.sleep(4)
        while time.monotonic() < ends and resident_bytes(server) > before + 60 * 2**20:
            time.sleep(0.2)
        # Their connections are still open on their side.
        assert resident_bytes(server) <= before + 60 * 2**20
    assert watch.grown_mb < 300
    assert watch.wrong == []
