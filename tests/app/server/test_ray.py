"""The service on a real Ray Serve: no request fails while a replica is killed and while a version is rolled."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.support.made_models import make_model, make_rows
from tests.support.server_process import free_port

from eigenserve.model import ModelStore

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'eigenserve[ray]'"
)

ROOT = Path(__file__).resolve().parents[3]
REPLICAS, CLIENTS = 4, 6
#: Starting Ray and four replicas on a busy machine.
START_S = 150.0

DRIVER = """
import sys
import ray
from ray import serve
from eigenserve.app.server.ray import build

store, port, name = sys.argv[1:]

def release(text):
    scale = {"min_replicas": 4, "max_replicas": 4, "cpus": 0.5, "threads": 1}
    serve.run(build({"store": store, "release": text, **scale}), name=name)
    print("released", text, flush=True)

ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
try:
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    release("1")
    for line in sys.stdin:
        release(line.strip())
finally:
    serve.shutdown()
    ray.shutdown()
"""


def replica_pids(name: str) -> set[int]:
    """The processes of this application's replicas: Ray gives them their names as titles."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(f"ray::ServeReplica:{name}:Replica".encode()):
                found.add(int(folder.name))
    return found


def wait_for(what, deadline_s: float):
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError("not in time")


class Load:
    """Clients that predict and explain one after the other, until they are stopped."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[str, int, str]] = []
        self.faults: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        rows = make_rows(3, seed=number)
        with httpx.Client(base_url=self._url, timeout=30.0) as client:
            while not self._stop.is_set():
                path = "/predict" if len(self.answers) % 2 else "/explain"
                try:
                    answer = client.post(path, json={"instances": rows})
                    if answer.status_code != 200:
                        self.faults.append(f"{path}: {answer.status_code} {answer.text[:200]}")
                        continue
                    body = answer.json()
                    assert len(body["predictions" if path == "/predict" else "explanations"]) == 3
                    self.answers.append((path, answer.status_code, body["version"]))
                except (httpx.HTTPError, AssertionError, KeyError, ValueError) as error:
                    self.faults.append(f"{path}: {error!r}")


def test_no_request_fails_while_a_replica_is_killed_and_a_version_is_rolled(tmp_path):
    store = ModelStore(tmp_path / "models")
    store.save("price", make_model(seed=1))
    name, port = f"test-{uuid.uuid4().hex[:8]}", free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "driver.log"
    with log.open("wb") as errors:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(store.root), str(port), name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    printed: list[str] = []
    listener = threading.Thread(target=_listen, args=(driver, printed), daemon=True)
    listener.start()
    try:
        wait_for(lambda: driver.poll() is not None or "released 1\n" in printed, START_S)
        assert driver.poll() is None, log.read_text()[-3000:]
        assert len(replica_pids(name)) == REPLICAS
        with Load(url) as load:
            wait_for(lambda: len(load.answers) > 100, 60)
            before = replica_pids(name)
            os.kill(next(iter(before)), signal.SIGKILL)
            wait_for(lambda: len(replica_pids(name)) == REPLICAS and replica_pids(name) != before, 60)
            killed = len(load.answers)
            wait_for(lambda: len(load.answers) > killed + 100, 60)
            assert {version for _, _, version in load.answers} == {"1"}
            store.save("price", make_model(seed=2))
            driver.stdin.write("2\n")
            driver.stdin.flush()
            wait_for(lambda: "released 2\n" in printed, 120)
            rolled = len(load.answers)
            wait_for(lambda: len(load.answers) > rolled + 200, 60)
        counts = Counter((path, version) for path, _, version in load.answers)
        assert load.faults == []
        assert min(counts[path, version] for path in ("/predict", "/explain") for version in "12") > 50
        # What was under way as the last replica went may have been answered by the first version.
        assert {version for _, _, version in load.answers[rolled + CLIENTS :]} == {"2"}
        assert not replica_pids(name) & before
        bad = httpx.post(f"{url}/predict", json={"instances": [{"nope": 1}]}, timeout=30.0)
        assert (bad.status_code, bad.headers["content-type"]) == (422, "application/problem+json")
        assert httpx.get(f"{url}/readyz", timeout=30.0).status_code == 200
    finally:
        driver.stdin.close()
        try:
            driver.wait(60)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
        listener.join(10)
        driver.stdout.close()
    assert driver.returncode == 0, log.read_text()[-3000:]


def test_the_deployment_file_and_the_builder_know_the_same_arguments():
    yaml = pytest.importorskip("yaml")
    (application,) = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())["applications"]
    # In a process of its own: Ray warns of what others do, and warnings are errors here.
    code = (
        "import sys, json\n"
        "from eigenserve.app.server.ray import build\n"
        "build(json.loads(sys.argv[1]))\n"
        "try:\n"
        "    build({'replica': 3})\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(application["args"])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert application["import_path"] == "eigenserve.app.server.ray:build"
    assert done.stdout.startswith("unknown arguments: replica; there are release, "), done.stderr


def _listen(driver: subprocess.Popen[str], printed: list[str]) -> None:
    for line in driver.stdout:
        printed.append(line)
