"""Clients of other languages as they come, and proxies in front, unmodified: all predict what the service predicts.

Each is skipped where its program is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.made_models import make_rows
from tests.support.server_process import ServerProcess, free_port, running_server

from eigenserve.model import ModelStore

PROGRAMS = Path(__file__).parent / "programs"
PREFIX = "/houses"
#: The second is longer than what a client or proxy sends in one piece.
ROWS = (1, 3000)


@pytest.fixture(scope="module")
def server(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings = {"EIGENSERVE_PATH_PREFIX": PREFIX, "EIGENSERVE_TRUSTED_PROXIES": "127.0.0.1"}
    with running_server(store.root, tmp_path_factory.mktemp("log") / "log", **settings) as running:
        yield running
        assert "Traceback" not in running.log_text()


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bodies")
    for count in ROWS:
        (folder / f"{count}.json").write_text(json.dumps({"model": "price", "instances": make_rows(count)}))
    return [folder / f"{count}.json" for count in ROWS]


@pytest.fixture(scope="module")
def expected(server: ServerProcess, bodies: list[Path]) -> list[str]:
    answers = [httpx.post(f"{server.url}/predict", content=body.read_bytes(), timeout=30) for body in bodies]
    return [f"{answer.status_code} {answer.text}" for answer in answers]


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def curl(folder: Path) -> list[str]:
    command = program("curl")
    if "HTTP2" not in subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("needs curl with HTTP/2")
    script = folder / "curl.sh"
    script.write_text(
        'url=$1; shift\nfor body; do "$0" -sS --http2 -w "%{http_code}" -H "Content-Type: application/json" '
        '--data-binary "@$body" -o answer "$url"; echo " $(cat answer)"; done\n'
    )
    return ["sh", "-c", f". {script}", command]


def java(folder: Path) -> list[str]:
    compiler = program("javac")
    subprocess.run([compiler, "-d", folder, PROGRAMS / "Predict.java"], check=True, timeout=120)
    return [program("java"), "-Xmx256m", "-cp", str(folder), "Predict"]


def go(folder: Path) -> list[str]:
    settings = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(folder / "cache"), "GOFLAGS": "", "GOPROXY": "off"}
    command = [program("go"), "build", "-o", folder / "predict", PROGRAMS / "predict.go"]
    subprocess.run(command, check=True, timeout=300, env=settings, cwd=folder)
    return [str(folder / "predict")]


def node(folder: Path) -> list[str]:
    return [program("node"), str(PROGRAMS / "predict.mjs")]


CLIENTS: dict[str, Callable[[Path], list[str]]] = {"curl --http2": curl, "java": java, "go": go, "node": node}


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return CLIENTS[request.param](tmp_path_factory.mktemp("client"))


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[str]:
    """A proxy in the foreground, and the URL of its port."""
    with (folder / "proxy.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            ends = time.monotonic() + 20
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/livez", timeout=5)
                    break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "proxy.log").read_text()
                    assert time.monotonic() < ends, "the proxy does not answer"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def nginx(server: ServerProcess, folder: Path) -> Iterator[str]:
    """Nginx as it comes: HTTP/1.0 to the service, and the whole body first."""
    port = free_port()
    paths = " ".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        # Started as root, its workers are another user, who may not write here.
        f"user root; daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {paths} client_max_body_size 32m;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{server.port};\n"
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }\n"
        f"location {PREFIX}/ {{ proxy_pass http://127.0.0.1:{server.port}/; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; proxy_request_buffering off; } } }\n'
    )
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, port, folder) as url:
        yield url


@contextmanager
def haproxy(server: ServerProcess, folder: Path) -> Iterator[str]:
    """HAProxy with connections that are kept, and a health check by HEAD."""
    port = free_port()
    (folder / "haproxy.cfg").write_text(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  option forwardfor\n"
        f"frontend front\n  bind 127.0.0.1:{port}\n  default_backend back\n"
        "backend back\n  option httpchk HEAD /readyz\n"
        f"  server one 127.0.0.1:{server.port} check inter 200ms\n"
    )
    with running([program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], port, folder) as url:
        yield url


@contextmanager
def direct(server: ServerProcess, folder: Path) -> Iterator[str]:
    yield server.url


PROXIES = {"direct": direct, "nginx": nginx, "haproxy": haproxy}


@pytest.fixture(scope="module", params=PROXIES)
def front(request: pytest.FixtureRequest, server: ServerProcess, tmp_path_factory: pytest.TempPathFactory):
    with PROXIES[request.param](server, tmp_path_factory.mktemp("proxy")) as url:
        yield url


def test_a_client_gets_the_services_own_predictions(
    front: str, client: list[str], bodies: list[Path], expected: list[str], tmp_path: Path
):
    command = [*client, f"{front}{PREFIX}/predict", *map(str, bodies)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    answers = [line for line in answer.stdout.splitlines() if line.strip()]
    # Some send each body in two ways.
    times = len(answers) // len(expected)
    assert answers == [line for line in expected for _ in range(times)]
    assert times >= 1


def test_a_proxy_passes_on_bodies_errors_ids_and_head(front: str, bodies: list[Path], expected: list[str]):
    with httpx.Client(base_url=front, timeout=30, headers={"X-Request-ID": f"mine-{front}"}) as client:
        assert client.head("/readyz").status_code == 200
        answers = [client.post("/predict", content=body.read_bytes()) for body in bodies]
        assert [f"{answer.status_code} {answer.text}" for answer in answers] == expected
        answer = client.post("/predict", json={"model": "price", "instances": [{"age": "x"}]})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.headers["X-Request-ID"] == f"mine-{front}"
        assert client.post("/predict", json={"model": "price", "instances": []}).status_code == 422
        assert client.get(f"{PREFIX}/docs").status_code == 200
