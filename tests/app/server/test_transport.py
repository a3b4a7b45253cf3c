"""How clients reach the service: HEAD, TLS, a Unix socket, behind a proxy's path and address, from other pages."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from tests.hostile.watch import resident_bytes
from tests.support.made_models import ROW, make_model
from tests.support.server_process import ServerProcess, free_port, running_server, start_command

from eigenserve.app.server.handshakes import HANDSHAKE_TIMEOUT_S, MAX_HANDSHAKES
from eigenserve.app.settings import Settings
from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

BODY = {"instances": [ROW], "model": "price"}


@pytest.mark.parametrize(
    "path",
    [
        *("/livez", "/readyz", "/metrics", "/models", "/docs", "/", "/openapi.json", "/models/price"),
        *("/ping", "/health", "/version", "/v1/models", "/v1/models/price", "/v2", "/v2/health/ready"),
    ],
)
def test_head_is_get_without_a_body(server: ServerProcess, path: str):
    head, get = server.client.head(path), server.client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    if path != "/metrics":
        assert head.headers["Content-Length"] == str(len(get.content))


def test_head_of_what_only_takes_posts_is_405(server: ServerProcess):
    answer = server.client.head("/predict")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's and a client's certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("tls")

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    run(
        "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority", *extensions
    )
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext"]
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    return folder


def wait_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("not ready in time")


def test_tls_with_client_certificates(store: ModelStore, certificates: Path, tmp_path: Path):
    settings = {
        "EIGENSERVE_TLS_CERTIFICATE": str(certificates / "server.pem"),
        "EIGENSERVE_TLS_KEY": str(certificates / "server.key"),
        "EIGENSERVE_TLS_CLIENT_CA": str(certificates / "ca.pem"),
        "EIGENSERVE_GRPC_PORT": str(free_port()),
    }
    with running_server(store.root, tmp_path / "log", ready=False, **settings) as server:
        url = f"https://localhost:{server.port}"
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        with httpx.Client(base_url=url, verify=context, timeout=10) as client:
            wait_ready(client, server.process)
            silent = socket.create_connection(("127.0.0.1", server.port), timeout=HANDSHAKE_TIMEOUT_S + 10)
            assert client.post("/predict", json=BODY).status_code == 200
        stranger = ssl.create_default_context(cafile=certificates / "ca.pem")
        with httpx.Client(base_url=url, verify=stranger, timeout=10) as client, pytest.raises(httpx.TransportError):
            client.get("/livez")
        grpc_with_tls(f"localhost:{settings['EIGENSERVE_GRPC_PORT']}", certificates)
        with silent:  # who never begins a handshake is not waited for
            assert silent.recv(1) == b""


def test_handshakes_that_never_end_keep_nobody_out(store: ModelStore, certificates: Path, tmp_path: Path):
    settings = {
        "EIGENSERVE_TLS_CERTIFICATE": str(certificates / "server.pem"),
        "EIGENSERVE_TLS_KEY": str(certificates / "server.key"),
    }
    with (
        running_server(store.root, tmp_path / "log", ready=False, **settings) as server,
        contextlib.ExitStack() as opened,
    ):
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        client = opened.enter_context(httpx.Client(base_url=f"https://localhost:{server.port}", verify=context))
        wait_ready(client, server.process)
        before = resident_bytes(server)
        silent = [
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            for _ in range(3 * MAX_HANDSHAKES)
        ]
        # A record of TLS that goes on, so that buffers are there.
        for connection in silent:
            with contextlib.suppress(OSError):
                connection.sendall(b"\x16\x03\x01\x40\x00" + bytes(9000))
        for _ in range(5):
            with httpx.Client(base_url=client.base_url, verify=context, timeout=5) as other:
                assert other.post("/predict", json=BODY).status_code == 200
        assert resident_bytes(server) - before < 150 * 2**20
        assert all(map(is_closed, silent[:10]))


def is_closed(connection: socket.socket) -> bool:
    """Say whether the other side has closed a connection, with a reset where bytes were left unread."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def grpc_with_tls(address: str, certificates: Path) -> None:
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    ca, key, chain = ((certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    good, stranger = grpc.ssl_channel_credentials(ca, key, chain), grpc.ssl_channel_credentials(ca)
    for credentials, is_known in ((good, True), (stranger, False)):
        with grpc.secure_channel(address, credentials) as channel:
            ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            if is_known:
                assert ask(b"", timeout=10) == b"\x08\x01"  # live: true
                continue
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=10)
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_tls_settings_are_checked():
    with pytest.raises(ValidationError, match="tls_certificate must be set"):
        Settings(tls_key=Path(__file__))
    with pytest.raises(ValidationError, match="must be a file"):
        Settings(tls_certificate=Path("/nowhere.pem"))


def test_a_unix_socket(store: ModelStore, tmp_path: Path):
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # as a server that was killed leaves it
    environment = {"EIGENSERVE_UNIX_SOCKET": str(path)}
    with start_command(["serve", "--store", str(store.root)], environment, tmp_path / "log") as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with socket.socket(socket.AF_UNIX) as probe:
                    if probe.connect_ex(str(path)) == 0:
                        break
                time.sleep(0.1)
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://x", timeout=10) as client:
                wait_ready(client, process)
                assert client.post("/predict", json=BODY).status_code == 200
            assert stat.S_ISSOCK(path.stat().st_mode)
            # One that is in use is not taken away.
            with start_command(["serve", "--store", str(store.root)], environment, tmp_path / "log2") as second:
                assert second.wait(60) == 2
            assert "cannot listen on" in (tmp_path / "log2").read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def behind(store: ModelStore, tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("log") / "proxy.log"
    settings = {
        "EIGENSERVE_PATH_PREFIX": "/houses/v9",
        "EIGENSERVE_TRUSTED_PROXIES": "127.0.0.1",
        "EIGENSERVE_CORS_ORIGINS": "https://app.example.com, https://other.example.com",
        "EIGENSERVE_API_KEYS": "secret",
    }
    with running_server(store.root, log, **settings) as running:
        yield running


@pytest.mark.parametrize("prefix", ["", "/houses/v9"])
def test_requests_come_with_the_prefix_or_without_it(behind: ServerProcess, prefix: str):
    client, key = behind.client, {"X-API-Key": "secret"}
    assert client.post(f"{prefix}/predict", json=BODY, headers=key).status_code == 200
    assert client.post(f"{prefix}/v1/models/price:predict", json=BODY, headers=key).status_code == 200
    assert client.post(f"{prefix}/predict", json=BODY).status_code == 401
    assert client.get(f"{prefix}/livez").status_code == 200
    assert "/houses/v9/openapi.json" in client.get(f"{prefix}/docs").text
    assert client.get(f"{prefix}/docs/swagger-ui.css").status_code == 200
    assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/houses/v9"}]
    assert client.get(prefix + "/", headers={"Accept": "text/html"}).headers["Content-Type"].startswith("text/html")


def test_a_prefix_opens_no_path_that_needs_a_key(behind: ServerProcess):
    for path in (
        "/houses/v9/docs/../predict",
        "/docs/houses/v9/predict",
        "/houses/v9/houses/v9/models",
        "/houses/v9x/models",
    ):
        assert behind.client.post(path, json=BODY).status_code in (401, 404, 405)


def test_a_trusted_proxy_names_its_client(behind: ServerProcess):
    behind.client.get("/livez?traced", headers={"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "proxied"})
    time.sleep(0.5)
    lines = [json.loads(line) for line in behind.log_text().splitlines()]
    assert [line["client"] for line in lines if line.get("request_id") == "proxied"] == ["203.0.113.9"]


def test_nobody_else_names_another_client(server: ServerProcess):
    server.client.get("/livez", headers={"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "liar"})
    time.sleep(0.5)
    lines = [json.loads(line) for line in server.log_text().splitlines()]
    assert [line["client"] for line in lines if line.get("request_id") == "liar"] == ["127.0.0.1"]


def test_pages_of_the_origins_may_call(behind: ServerProcess):
    asks = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    asks["Access-Control-Request-Headers"] = "content-type,x-api-key"
    preflight = behind.client.options("/predict", headers=asks)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    answer = behind.client.post("/predict", json=BODY, headers={"Origin": asks["Origin"], "X-API-Key": "secret"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    # An answer that a page cannot read is one that it cannot report: errors say it, too.
    refused = behind.client.post("/predict", json=BODY, headers={"Origin": asks["Origin"]})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, "https://app.example.com")
    stranger = behind.client.options("/predict", headers={**asks, "Origin": "https://evil.example.com"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_makes_it_look_for_new_versions(tmp_path: Path, workers: str):
    store = ModelStore(tmp_path / "store")
    store.save("price", make_model(seed=1))
    with running_server(store.root, tmp_path / "log", "--workers", workers, EIGENSERVE_WATCH_INTERVAL_S="0") as server:
        store.save("price", make_model(seed=2))
        time.sleep(0.5)
        assert server.client.get("/models/price").json()["version"] == "1"
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and server.client.get("/models/price").json()["version"] != "2":
            time.sleep(0.1)
        assert server.client.get("/models/price").json()["version"] == "2"
        assert server.process.poll() is None
