"""A server that is asked to end does so with exit code 0: while it starts, and while its store does not answer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.support.server_process import ROOT, free_port, running_server, start_command

from eigenserve.model import ModelStore
from eigenserve.model.checkpoints.files import DOCUMENT

pytestmark = pytest.mark.alone

#: Replaces a method of the local store by one that never returns, as on a network that hangs, and runs the command.
HANG = """
import sys, time
from eigenserve.__main__ import main
from eigenserve.model.checkpoints.local_store import ModelStore
{before}
ModelStore.listing = lambda self: time.sleep(1000)
{after}
sys.exit(main())
"""


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def catches_sigterm(pid: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) & 1 << signal.SIGTERM - 1)
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_anything_is_imported_ends_the_server_in_good_order(
    store: ModelStore, tmp_path: Path, number: int, workers: str
):
    arguments = ["serve", "--port", str(free_port()), "--store", str(store.root), "--workers", workers]
    process = start_command(arguments, {}, tmp_path / "log")
    wait_until(lambda: catches_sigterm(process.pid))
    assert "llvmlite" not in Path(f"/proc/{process.pid}/maps").read_text()
    process.send_signal(number)
    assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("delay_s", [0.5, 1.5])
def test_a_signal_at_any_time_of_the_start_ends_two_workers_in_good_order(
    store: ModelStore, tmp_path: Path, delay_s: float
):
    arguments = ["serve", "--port", str(free_port()), "--store", str(store.root), "--workers", "2"]
    process = start_command(arguments, {}, tmp_path / "log")
    wait_until(lambda: catches_sigterm(process.pid))
    time.sleep(delay_s)
    process.terminate()
    assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_pipe_in_the_store_blocks_nothing(store: ModelStore, tmp_path: Path, workers: str):
    own = ModelStore(tmp_path / "store")
    own.save("price", store.load("price"))
    (own.root / "pipe" / "1").mkdir(parents=True)
    os.mkfifo(own.root / "pipe" / "1" / DOCUMENT)
    os.mkfifo(own.root / "fifo")
    with running_server(own.root, tmp_path / "log", "--workers", workers) as server:
        assert server.client.get("/readyz").json()["models"] == ["price"]
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("hangs", ["at the start", "later"])
def test_a_store_that_never_answers_does_not_keep_the_server_from_ending(store: ModelStore, tmp_path: Path, hangs: str):
    if hangs == "later":
        before, after = (
            "listing, calls = ModelStore.listing, []",
            (
                "hang = ModelStore.listing\n"
                "ModelStore.listing = lambda self: hang(self) if calls.append(1) or len(calls) > 1 else listing(self)"
            ),
        )
    else:
        before = after = ""
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", HANG.format(before=before, after=after), "serve", "--port", str(port)],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": "src",
                "EIGENSERVE_STORE": str(store.root),
                "EIGENSERVE_DEFAULT_MODEL": "price",
            },
            stderr=log,
        )
    try:
        wait_until(lambda: _status(port, "/livez") == 200)
        if hangs == "later":
            wait_until(lambda: _status(port, "/readyz") == 200)
            wait_until(lambda: _status(port, "/readyz") == 200)
            time.sleep(3)
            assert _status(port, "/readyz") == 200
        else:
            assert _status(port, "/readyz") == 503
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert "the store does not answer" in (tmp_path / "log").read_text()


def _status(port: int, path: str) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_does_not_end_a_server_that_starts(store: ModelStore, tmp_path: Path, workers: str):
    port = free_port()
    arguments = ["serve", "--port", str(port), "--store", str(store.root), "--workers", workers]
    process = start_command(arguments, {}, tmp_path / "log")

    def is_ready() -> bool:
        process.send_signal(signal.SIGHUP)
        assert process.poll() is None
        time.sleep(0.05)
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        return False

    wait_until(lambda: catches_sigterm(process.pid))
    wait_until(is_ready, 120.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "died" not in (tmp_path / "log").read_text()
