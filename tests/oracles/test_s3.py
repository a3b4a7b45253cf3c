"""A server whose store, or whose records, are in a bucket of a real S3 server."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.made_models import ROW, make_model, make_rows
from tests.support.server_process import free_port, running_server

from eigenserve.app.observability.records.folder import open_folder
from eigenserve.app.observability.records.verify import Verifier
from eigenserve.cli import main
from eigenserve.model import ModelStore
from eigenserve.model.checkpoints.locations import open_store
from eigenserve.model.checkpoints.remote_store import RemoteStore

for _needed in ("moto", "s3fs", "flask"):
    pytest.importorskip(_needed, reason="needs moto[server] and s3fs")

# s3fs and what is below it warn of their own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


@contextmanager
def s3_server() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(url), 60.0)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def store(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    return bucket_at(endpoint, tmp_path, monkeypatch)


def bucket_at(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    """A store in a bucket of its own."""
    for key, value in access(endpoint).items():
        monkeypatch.setenv(key, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{free_port()}"
    s3fs.S3FileSystem().mkdir(bucket)
    opened = open_store(f"s3://{bucket}/some/models", tmp_path / "own")
    assert isinstance(opened, RemoteStore)
    return opened


def access(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 500
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_server_follows_a_bucket(store: RemoteStore, endpoint: str, tmp_path: Path):
    rows = make_rows(20)
    expected = {"1": store.save("price", make_model(seed=1)).predict(rows).tolist()}
    settings = {
        **access(endpoint),
        "EIGENSERVE_WATCH_INTERVAL_S": "0.2",
        "EIGENSERVE_STORE_CACHE": str(tmp_path / "cache"),
        "PYTHONWARNINGS": "ignore",
    }
    with running_server(store.root, tmp_path / "log", "--workers", "2", **settings) as server:

        def version() -> str:
            answer = httpx.post(f"{server.url}/predict", json={"instances": rows}).json()
            assert answer["predictions"] == expected[answer["version"]]
            return str(answer["version"])

        assert version() == "1"
        expected["2"] = store.save("price", make_model(seed=2)).predict(rows).tolist()
        wait_for(lambda: {version() for _ in range(8)} == {"2"})
        # Damaged on its way: it displaces nothing, and the next good one is served.
        weights = "model.safetensors"
        store.save("price", make_model(seed=3), lambda folder, _: (folder / weights).write_bytes(b"x"))
        wait_for(lambda: "version not loaded" in server.log_text())
        assert version() == "2"
        expected["4"] = store.save("price", make_model(seed=4)).predict(rows).tolist()
        wait_for(lambda: {version() for _ in range(8)} == {"4"})
    # What was fetched is in the cache: a server that starts again fetches the documents only.
    copies = {path.parent.name for path in (tmp_path / "cache").rglob(weights)}
    assert copies >= {"1", "2", "4"}


def test_an_s3_server_that_is_down_costs_what_is_served_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with ExitStack() as stack:
        with s3_server() as endpoint:
            store = bucket_at(endpoint, tmp_path, monkeypatch)
            store.save("price", make_model(seed=1))
            settings = {
                **access(endpoint),
                "AWS_MAX_ATTEMPTS": "1",
                "EIGENSERVE_WATCH_INTERVAL_S": "0.2",
                "EIGENSERVE_STORE_CACHE": str(tmp_path / "cache"),
                "PYTHONWARNINGS": "ignore",
            }
            server = stack.enter_context(running_server(store.root, tmp_path / "log", **settings))
        wait_for(lambda: "the store cannot be read" in server.log_text(), 60.0)
        assert "Traceback" not in server.log_text()
        assert server.client.post("/predict", json={"instances": [ROW]}).status_code == 200


def test_a_bucket_without_models_is_one_line_and_exit_code_2(store: RemoteStore, endpoint: str, tmp_path: Path):
    from tests.support.server_process import start_command

    process = start_command(
        ["serve", "--port", "0", "--store", store.root],
        {**access(endpoint), "PYTHONWARNINGS": "ignore", "EIGENSERVE_STORE_CACHE": str(tmp_path)},
        tmp_path / "log",
    )
    assert process.wait(60) == 2
    text = (tmp_path / "log").read_text()
    assert f"error: the store {store.root} is empty" in text
    assert "Traceback" not in text


def test_records_in_a_bucket_are_verified_replayed_and_erased(endpoint: str, tmp_path: Path, monkeypatch, capsys):
    pytest.importorskip("cryptography", reason="needs eigenserve[records]")
    place = f"{bucket_at(endpoint, tmp_path, monkeypatch).root.rpartition('/')[0]}/records"
    store = ModelStore(tmp_path / "models")
    store.save("price", make_model(seed=1))
    rows = [{"id": f"person {i % 7}", **row} for i, row in enumerate(make_rows(60))]
    settings = {**access(endpoint), "PYTHONWARNINGS": "ignore", "EIGENSERVE_RECORDS": place}
    settings |= {"EIGENSERVE_RECORDS_PART_ROWS": "50", "EIGENSERVE_RECORDS_PART_S": "5"}
    with running_server(store.root, tmp_path / "ended.log", **settings) as server:
        assert server.client.post("/predict", json={"instances": rows}).status_code == 200
        assert server.client.post("/explain", json={"instances": rows[:5]}).status_code == 200
        assert server.stop() == 0
    with running_server(store.root, tmp_path / "killed.log", **settings) as server:
        assert server.client.post("/predict", json={"instances": rows[:3]}).status_code == 200
        wait_for(lambda: any("open with 3 rows" in part for part in Verifier(open_folder(place)).verify().open))
        server.stop(signal.SIGKILL)
    verdict = Verifier(open_folder(place)).verify()
    assert (verdict.rows, verdict.faults) == (65, [])
    assert "its process was killed: at least 3 rows" in verdict.lost[0]
    assert main(["records", "replay", place, "--store", str(store.root)]) == 0
    assert "65 rows computed again, 5 of them explained" in capsys.readouterr().out
    assert main(["records", "erase", place, "--id", "person 3"]) == 0
    assert "of 10 rows" in capsys.readouterr().out
    assert Verifier(open_folder(place)).verify().faults == []
    folder = open_folder(place)
    part = next(f"{chain}/{name}" for chain in folder.names() for name in folder.names(chain) if "decisions" in name)
    content = bytearray(folder.read(part))
    content[len(content) // 2] ^= 1
    folder.write(part, bytes(content))
    assert any("decisions.parquet was changed" in fault for fault in Verifier(open_folder(place)).verify().faults)
