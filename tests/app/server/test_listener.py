"""A server that stops under load loses no request whose connection was made, though each comes on its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.made_models import make_rows
from tests.support.server_process import ROOT, running_server

from eigenserve.app.server.listener import admit_no_more, has_waiting
from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

LOAD = ROOT / "tests/deploy/compose/load.py"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep new connections from a listening socket")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_connections_made_before_the_end_are_answered(store: ModelStore, tmp_path: Path, workers: str):
    body = json.dumps({"instances": make_rows(100), "model": "price"})
    with running_server(store.root, tmp_path / "log", "--workers", workers) as server:
        command = [sys.executable, str(LOAD), "127.0.0.1", str(server.port), body]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            assert load.stdout.readline() == "started\n"
            time.sleep(1.0)
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 10
            result = json.loads(load.stdout.readline())
    assert result["lost"] == []
    assert result["answered"].keys() == {"200"}
    assert result["answered"]["200"] > 50


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep new connections from a listening socket")
def test_a_socket_that_admits_no_more_still_hands_out_what_waits():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=5) as early:
            assert admit_no_more(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            assert has_waiting(listener)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"answer")
            assert early.recv(10) == b"answer"
            assert not has_waiting(listener)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
