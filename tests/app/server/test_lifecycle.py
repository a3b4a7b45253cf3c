"""A server's life: models that come and go under load, workers that die, signals, overload."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from tests.support.load import load_on
from tests.support.made_models import ROW, make_model, make_rows
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

LARGE = {"instances": make_rows(400)}


@pytest.fixture
def own_store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "models")
    made.save("price", make_model(seed=1))
    return made


def wait_for(condition, timeout_s: float = 20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def version(server: ServerProcess) -> str:
    return server.client.post("/predict", json={"instances": [ROW]}).json()["version"]


def load_model_anew(server: ServerProcess, name: str = "price") -> int:
    return server.client.post(f"/v2/repository/models/{name}/load").status_code


def children(pid: int) -> list[int]:
    """Server processes below a supervisor."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and b"spawn_main" in command and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_a_version_that_appears_is_served_by_itself(own_store: ModelStore, tmp_path: Path):
    with running_server(own_store.root, tmp_path / "log", EIGENSERVE_WATCH_INTERVAL_S="0.1") as server:
        assert version(server) == "1"
        own_store.save("price", make_model(seed=2))
        wait_for(lambda: version(server) == "2")
        own_store.save("other", make_model(seed=3))
        wait_for(lambda: server.client.get("/models/other").status_code == 200)


def test_only_the_newest_versions_are_kept(own_store: ModelStore, tmp_path: Path):
    for seed in range(2, 5):
        own_store.save("price", make_model(seed=seed))
    settings = {"EIGENSERVE_KEEP_VERSIONS": "2", "EIGENSERVE_WATCH_INTERVAL_S": "0.1"}
    with running_server(own_store.root, tmp_path / "log", **settings) as server:
        assert server.client.get("/models/price").json()["versions"] == ["3", "4"]
        shutil.rmtree(own_store.root / "price" / "4")
        wait_for(lambda: server.client.get("/models/price").json()["versions"] == ["2", "3"])
        shutil.rmtree(own_store.root / "price")
        wait_for(lambda: server.client.get("/models/price").status_code == 404)


def test_a_bad_version_displaces_nothing(own_store: ModelStore, tmp_path: Path):
    with running_server(own_store.root, tmp_path / "log", EIGENSERVE_WATCH_INTERVAL_S="0.1") as server:
        own_store.save("price", make_model(seed=2), lambda folder, _: (folder / "model.safetensors").write_bytes(b"x"))
        wait_for(lambda: "version not loaded" in server.log_text())
        assert version(server) == "1"
        assert load_model_anew(server) == 200
        index = server.client.post("/v2/repository/index").json()
        assert [(e["version"], e["state"]) for e in index] == [("1", "READY"), ("2", "UNAVAILABLE")]
        assert "model.safetensors" in index[1]["reason"]
        own_store.save("price", make_model(seed=3))
        wait_for(lambda: version(server) == "3")
    # And a server that starts now serves the newest good version.
    with running_server(own_store.root, tmp_path / "log2") as server:
        assert version(server) == "3"


def test_a_model_is_unloaded_until_it_is_loaded_again(own_store: ModelStore, tmp_path: Path):
    with running_server(own_store.root, tmp_path / "log", EIGENSERVE_WATCH_INTERVAL_S="0.05") as server:
        assert server.client.post("/v2/repository/models/price/unload").status_code == 200
        time.sleep(0.3)
        assert server.client.post("/predict", json={"instances": [ROW], "model": "price"}).status_code == 404
        assert server.client.post("/v2/repository/models/price/unload").status_code == 404
        assert load_model_anew(server) == 200
        assert version(server) == "1"
        for name in ("nope", "..%2f..", ".draft"):
            assert load_model_anew(server, name) == 404


def test_reloads_under_load_fail_no_request_and_mix_no_versions(own_store: ModelStore, tmp_path: Path):
    rows = make_rows(20)
    expected = {"1": own_store.load("price").predict(rows).tolist()}
    with running_server(own_store.root, tmp_path / "log", EIGENSERVE_WATCH_INTERVAL_S="0") as server:
        with load_on(server.url, lambda client: client.post("/predict", json={"instances": rows})) as load:
            for i in range(2, 42):
                saved = own_store.save("price", make_model(seed=i))
                expected[str(i)] = saved.predict(rows).tolist()
                assert load_model_anew(server) == 200
                if i % 5 == 0:
                    assert server.client.post("/v2/repository/models/price/unload").status_code == 200
                    assert load_model_anew(server) == 200
        assert not load.failures
        # 404 or 422 (no default): only while the model was unloaded.
        assert load.statuses() <= {200, 404, 422}
        good = [response.json() for status, _, response in load.answers if status == 200]
        assert len({body["version"] for body in good}) > 10
        for body in good:
            assert body["predictions"] == expected[body["version"]]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_answers_every_accepted_request(store: ModelStore, tmp_path: Path, workers: str):
    def send(client: httpx.Client) -> httpx.Response:
        return client.post("/predict", json={**LARGE, "model": "price"})

    with running_server(store.root, tmp_path / "log", "--workers", workers) as server:
        with load_on(server.url, send, clients=6) as load:
            wait_for(lambda: len(load.answers) > 50)
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 10
            answered = len(load.answers)
            wait_for(lambda: len(load.failures) > 12)
        assert len(load.answers) == answered
        # A refused connection is not an accepted request; anything else would be one that was lost.
        assert {type(error) for error in load.failures} == {httpx.ConnectError}
        assert load.statuses() == {200}
        assert "Traceback" not in server.log_text()


def test_a_killed_worker_costs_only_its_own_requests_and_is_replaced(store: ModelStore, tmp_path: Path):
    def send(client: httpx.Client) -> httpx.Response:
        return client.post("/predict", json={**LARGE, "model": "price"})

    with running_server(store.root, tmp_path / "log", "--workers", "2") as server:
        pid = server.process.pid
        wait_for(lambda: len(children(pid)) == 2)
        clients = 6
        with load_on(server.url, send, clients) as load:
            wait_for(lambda: len(load.answers) > 50)
            first = children(pid)
            os.kill(first[0], signal.SIGKILL)
            wait_for(lambda: len(children(pid)) == 2 and children(pid) != first)
            before = len(load.answers)
            wait_for(lambda: len(load.answers) > before + 100)
        assert len(load.failures) <= clients
        assert load.statuses() == {200}
        assert "worker died" in server.log_text()
        total = sum(
            float(line.split()[-1])
            for line in server.client.get("/metrics").text.splitlines()
            if line.startswith("eigenserve_requests_total{") and '"/predict",status="200"' in line
        )
        # The dead worker's numbers are kept, but for what was under way.
        assert len(load.answers) - clients <= total <= len(load.answers) + clients


def test_a_worker_that_hangs_is_noticed_and_replaced(store: ModelStore, tmp_path: Path):
    settings = {"EIGENSERVE_HANG_TIMEOUT_S": "2.5", "EIGENSERVE_DEFAULT_MODEL": "price"}
    with running_server(store.root, tmp_path / "log", "--workers", "2", **settings) as server:
        pid = server.process.pid
        # Before it is ready, a worker takes no connections: there must be one that answers while the other hangs.
        wait_for(lambda: server.log_text().count('"message":"ready"') == 2, 60)
        before = children(pid)
        os.kill(before[0], signal.SIGSTOP)  # not dead: it keeps its connections and answers nothing
        wait_for(lambda: before[0] not in children(pid) and len(children(pid)) == 2, 60)
        assert before[1] in children(pid)
        assert "worker hangs, killing it" in server.log_text()
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        # Healthy ones are left alone.
        after = set(children(pid))
        time.sleep(4)
        assert set(children(pid)) == after
        assert httpx.post(f"{server.url}/predict", json={"instances": [ROW]}).status_code == 200


def test_unloading_reaches_all_workers(store: ModelStore, tmp_path: Path):
    arguments = ("--workers", "2")
    with running_server(store.root, tmp_path / "log", *arguments, EIGENSERVE_WATCH_INTERVAL_S="0.1") as server:

        def statuses() -> set[int]:
            return {
                httpx.post(f"{server.url}/predict", json={"instances": [ROW], "model": "count"}).status_code
                for _ in range(20)
            }

        wait_for(lambda: statuses() == {200})
        assert server.client.post("/v2/repository/models/count/unload").status_code == 200
        wait_for(lambda: statuses() == {404})
        assert load_model_anew(server, "count") == 200
        wait_for(lambda: statuses() == {200})


def test_overload_is_answered_with_503_and_when_to_come_again(store: ModelStore, tmp_path: Path):
    body = httpx.Request("POST", "http://x", json={"instances": make_rows(3000), "model": "level"}).read()
    headers = {"Content-Type": "application/json"}

    def send(client: httpx.Client) -> httpx.Response:
        response = client.post("/explain", content=body, headers=headers)
        if response.status_code == 503:
            assert int(response.headers["Retry-After"]) >= 1
            time.sleep(0.02)
        return response

    settings = {"EIGENSERVE_MAX_QUEUE_ROWS": "9500", "EIGENSERVE_DEADLINE_S": "10"}
    with running_server(store.root, tmp_path / "log", **settings) as server:
        with load_on(server.url, send, clients=10) as load:
            time.sleep(3)
            # A small request meanwhile is served all the same.
            small = {"instances": [ROW], "model": "price"}
            assert httpx.post(f"{server.url}/predict", json=small).is_success
        assert not load.failures
        assert load.statuses() == {200, 503}
        accepted = sorted(seconds for status, seconds, _ in load.answers if status == 200)
        assert accepted[int(0.99 * len(accepted))] < 10
        assert httpx.post(f"{server.url}/explain", content=body, headers=headers, timeout=30).is_success
        assert 'eigenserve_rejections_total{reason="overloaded"}' in server.client.get("/metrics").text


def test_a_request_past_the_deadline_is_504(store: ModelStore, tmp_path: Path):
    body = {"instances": make_rows(20_000), "model": "level"}
    with running_server(store.root, tmp_path / "log", EIGENSERVE_DEADLINE_S="0.02") as server:
        answer = server.client.post("/explain", json=body)
        assert answer.status_code == 504
        assert "deadline" in answer.json()["detail"]
        assert server.client.get("/readyz").status_code == 200


def test_a_client_that_leaves_is_not_computed_for(store: ModelStore, tmp_path: Path):
    body = httpx.Request("POST", "http://x", json={"instances": make_rows(6000), "model": "level"}).read()
    head = f"POST /explain HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with running_server(store.root, tmp_path / "log") as server:
        for _ in range(12):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
                connection.sendall(head.encode() + body)
        wait_for(lambda: 'reason="client gone"' in server.client.get("/metrics").text)
        wait_for(lambda: "eigenserve_queued_rows 0.0" in server.client.get("/metrics").text)
        answered = [
            float(line.split()[-1])
            for line in server.client.get("/metrics").text.splitlines()
            if line.startswith('eigenserve_rows_total{kind="explain",model="level"}')
        ]
        assert sum(answered) < 12 * 6000


def test_logs_are_json_lines_with_the_ids_of_request_and_trace(store: ModelStore, tmp_path: Path):
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"X-Request-ID": "me-1", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    with running_server(store.root, tmp_path / "log") as server:
        server.client.get("/models?secret=x", headers=headers)
        wait_for(lambda: "me-1" in server.log_text())
        lines = [json.loads(line) for line in server.log_text().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "me-1"]
    assert (line["path"], line["status"], line["trace_id"]) == ("/models", 200, trace)
    assert "secret" not in str(lines)


def test_the_server_ends_within_its_drain_timeout(store: ModelStore, tmp_path: Path):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    with (
        running_server(store.root, tmp_path / "log", EIGENSERVE_DRAIN_TIMEOUT_S="1") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
    ):
        connection.sendall(head)  # a body that never ends
        time.sleep(0.2)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 8
