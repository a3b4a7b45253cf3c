"""Clients that misbehave: each is refused or bounded, and another client is served meanwhile."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from tests.hostile.watch import resident_bytes
from tests.support.made_models import ROW
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def strict(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "strict.log"
    with running_server(store.root, log, EIGENSERVE_DEFAULT_MODEL="price", EIGENSERVE_BODY_TIMEOUT_S="0.5") as running:
        yield running
        assert "Traceback" not in running.log_text()


@pytest.fixture(scope="module")
def quick(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "quick.log"
    with running_server(store.root, log, EIGENSERVE_DEFAULT_MODEL="price", EIGENSERVE_KEEP_ALIVE_S="1") as running:
        yield running
        assert "Traceback" not in running.log_text()


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def served_beside(server: ServerProcess):
    started = time.monotonic()
    assert httpx.post(f"{server.url}/predict", json={"instances": [ROW]}, timeout=10).status_code == 200
    assert time.monotonic() - started < 5


def answer_of(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def test_a_body_that_does_not_come_is_408(strict: ServerProcess):
    with connect(strict) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        served_beside(strict)
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def test_a_body_that_drips_is_408(strict: ServerProcess):
    with connect(strict) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(20):
                connection.sendall(b"1\r\n[\r\n")
                time.sleep(0.1)
        except OSError:
            pass  # closed while we were still dripping
        else:
            assert answer_of(connection).startswith(b"HTTP/1.1 408 ")
    served_beside(strict)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Many: aaaaaaaaaa\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 1000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["one long header", "many headers", "headers of a letter", "a long path"],
)
def test_huge_headers_are_431(strict: ServerProcess, head: bytes):
    with connect(strict) as connection:
        try:
            connection.sendall(head)
            answer = answer_of(connection)
        except ConnectionResetError:
            answer = None  # cut off while sending
    assert answer is None or answer.startswith(b"HTTP/1.1 431 ")
    served_beside(strict)


@pytest.mark.parametrize("rest", [b"\r\n", b"\r\n\r\n", b"x"], ids=["a line end", "two", "a body answered already"])
def test_a_few_bytes_more_do_not_keep_a_connection(quick: ServerProcess, rest: bytes):
    length = b"Content-Length: 1000000\r\n" if rest == b"x" else b""
    with connect(quick) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        connection.sendall(rest)
        assert connection.recv(65536) == b""  # closed; it would time out after 10 s


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nonsense", "version", "TLS", "negative length", "two lengths", "smuggling", "bad chunk"],
)
def test_what_is_not_http_is_refused(strict: ServerProcess, text: bytes):
    with connect(strict) as connection:
        connection.sendall(text)
        connection.settimeout(5)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"408", b"422")
    served_beside(strict)


def test_a_half_closed_connection_ends(strict: ServerProcess):
    with connect(strict) as connection:
        connection.sendall(HEAD + b"Content-Length: 19\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        answer_of(connection)
    served_beside(strict)


def test_pipelined_requests_are_answered_in_order(strict: ServerProcess):
    body = b'{"instances": [{}]}'
    one = HEAD + b"Content-Length: %d\r\nX-Request-ID: %d\r\n\r\n" + body
    with connect(strict) as connection:
        connection.sendall(b"".join(one % (len(body), i) for i in range(20)))
        data = b""
        while data.count(b"x-request-id") < 20:
            data += connection.recv(65536)
    ids = [int(part.split(b"\r\n")[0]) for part in data.split(b"x-request-id: ")[1:]]
    assert ids == list(range(20))


@pytest.mark.parametrize("rest", [b"nonsense\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_nonsense_behind_requests_is_not_answered_before_them(strict: ServerProcess, rest: bytes):
    body = b'{"instances": [{}]}'
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connect(strict) as connection:
        connection.sendall(one + one + rest)
        answer = answer_of(connection)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]][:2] == [b"200", b"200"]
    assert answer.count(b"HTTP/1.1 ") <= 3


def test_requests_sent_ahead_wait_unparsed(strict: ServerProcess):
    """Twenty clients send a hundred thousand requests of 18 bytes each behind one that waits for its body."""
    begun = resident_bytes(strict)
    ahead = b"GET / HTTP/1.1\r\n\r\n" * 100_000
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connect(strict))
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                connection.sendall(ahead)
        assert resident_bytes(strict) - begun < 60 * 2**20
        served_beside(strict)


def test_ten_thousand_open_connections_do_not_stop_the_others(strict: ServerProcess):
    count = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        pytest.skip(f"needs {count} open files; this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    try:
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(connect(strict))
            served_beside(strict)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    served_beside(strict)


def test_connections_beyond_the_most_are_closed_at_once(store: ModelStore, tmp_path):
    settings = {"EIGENSERVE_MAX_CONNECTIONS": "5", "EIGENSERVE_DEFAULT_MODEL": "price"}
    with running_server(store.root, tmp_path / "log", **settings) as server, ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(5)]
        time.sleep(0.1)
        with connect(server) as connection:
            try:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = connection.recv(100)
            except ConnectionError:
                answer = b""
        assert answer == b""
        held[0].close()
        time.sleep(0.1)
        served_beside(server)
