"""Keys with names, on a server with two workers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess, running_server

from eigenserve.app.keys.grants import digest_of
from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

PREDICT = {"model": "price", "instances": [ROW]}


def entry(name: str, key: str, more: str = "") -> str:
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest_of(key.encode())}"\n{more}\n'


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.toml"


@pytest.fixture(scope="module")
def server(store: ModelStore, keys_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    keys_file.write_text(
        entry("billing", "k-billing")
        + entry("only predicts", "k-predicts", 'scopes = ["predict"]')
        + entry("slow", "k-slow", "rows_per_s = 50")
        + entry("labels", "k-labels", "rows_per_s = 50")
        + entry("light", "k-light", "heavy = 0")
        + entry("gone", "k-gone", "expires = 2020-01-01")
        + entry("root", "k-root", 'scopes = ["predict", "explain", "files", "admin"]')
    )
    log = tmp_path_factory.mktemp("log") / "log"
    with running_server(store.root, log, "--workers", "2", EIGENSERVE_KEYS_FILE=str(keys_file)) as running:
        yield running
        assert "k-" not in running.log_text()


def post(server: ServerProcess, path: str, key: str, body: object) -> httpx.Response:
    # A connection for each request, so that any worker may answer it.
    return httpx.post(f"{server.url}{path}", json=body, headers={"X-API-Key": key}, timeout=30)


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("k-billing", "/predict", 200),
        ("k-billing", "/explain", 200),
        ("k-billing", "/v2/repository/models/price/load", 403),
        ("k-predicts", "/predict", 200),
        ("k-predicts", "/explain", 403),
        ("k-predicts", "/v1/models/price:explain", 403),
        ("k-gone", "/predict", 401),
        ("k-nobody", "/predict", 401),
        ("a.b.c", "/predict", 401),
        ("k-root", "/v2/repository/models/price/load", 200),
    ],
)
def test_a_key_may_do_what_its_scopes_say(server: ServerProcess, key: str, path: str, status: int):
    assert post(server, path, key, PREDICT).status_code == status


def test_what_a_key_may_not_do_is_said(server: ServerProcess):
    assert post(server, "/explain", "k-predicts", PREDICT).json()["detail"] == (
        "this key may predict, but not explain predictions"
    )
    assert post(server, "/predict", "k-gone", PREDICT).json()["detail"] == "the key has expired"


def test_rows_per_second_are_limited_over_both_workers(server: ServerProcess):
    body = {"model": "price", "instances": make_rows(40)}
    answers = [post(server, "/predict", "k-slow", body) for _ in range(12)]
    statuses = [answer.status_code for answer in answers]
    # The account begins empty and may run 2 s ahead.
    assert statuses[:3] == [200, 200, 200]
    assert 429 in statuses
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["Retry-After"]) >= 1
    assert "'slow' may have 50 rows per second" in refused.json()["detail"]
    assert post(server, "/predict", "k-billing", body).status_code == 200


def test_outcomes_are_rows_too(server: ServerProcess):
    body = {"outcomes": [{"request_id": "never", "outcome": 1}] * 300}
    assert [post(server, "/outcomes", "k-labels", body).status_code for _ in range(2)] == [200, 429]


def test_heavy_work_is_limited(server: ServerProcess):
    heavy = {**PREDICT, "method": "shapley"}
    assert post(server, "/explain", "k-light", PREDICT).status_code == 200
    assert post(server, "/explain", "k-light", heavy).status_code == 429
    assert post(server, "/explain", "k-billing", heavy).status_code == 200


def test_names_are_in_the_log_and_the_metrics(server: ServerProcess):
    post(server, "/predict", "k-billing", {"model": "price", "instances": make_rows(7)})
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'eigenserve_key_requests_total{key="billing",status="200"}' in metrics
    assert 'eigenserve_key_requests_total{key="only predicts",status="403"}' in metrics
    rows = next(line for line in metrics.splitlines() if line.startswith('eigenserve_key_rows_total{key="billing"}'))
    assert float(rows.split()[-1]) >= 7
    eventually(lambda: any(line.get("key") == "billing" for line in lines(server)))
    assert all(line.get("key") is None for line in lines(server) if line.get("path") == "/metrics")


def lines(server: ServerProcess) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.log_text().splitlines() if line.endswith("}")]


def test_a_change_of_the_file_counts_within_seconds(server: ServerProcess, keys_file: Path):
    before = keys_file.read_text()
    keys_file.write_text(before + entry("late", "k-late"))
    eventually(lambda: all(post(server, "/predict", "k-late", PREDICT).status_code == 200 for _ in range(8)))
    keys_file.write_text("[[keys]")
    time.sleep(1.5)
    assert post(server, "/predict", "k-late", PREDICT).status_code == 200
    keys_file.write_text(before)
    eventually(lambda: all(post(server, "/predict", "k-late", PREDICT).status_code == 401 for _ in range(8)))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
