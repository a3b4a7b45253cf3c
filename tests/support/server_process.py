"""A real server: a process of its own on a free port, ended by the test that began it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
#: A cold kernel cache compiles for about half a minute; a warm one starts in two seconds.
START_TIMEOUT_S = 180.0


class ServerProcess:
    """``eigenserve serve`` and a client of it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        self.log = log
        self.client = httpx.Client(base_url=url, timeout=30.0)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log_text()}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5.0).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the server was not ready in time: {self.log_text()}")

    def log_text(self) -> str:
        return self.log.read_text()

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_command(arguments: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``eigenserve`` with its output in files, and only these settings."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("EIGENSERVE_")}
    with log.open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "eigenserve", *arguments],
            cwd=ROOT,
            env={**inherited, **environment},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


@contextmanager
def running_server(
    store: Path, log: Path, *arguments: str, ready: bool = True, **environment: str
) -> Iterator[ServerProcess]:
    """A server on ``store``; settings as keywords, such as ``EIGENSERVE_MAX_ROWS="10"``."""
    port = free_port()
    process = start_command(["serve", "--port", str(port), "--store", str(store), *arguments], environment, log)
    server = ServerProcess(process, f"http://127.0.0.1:{port}", log)
    try:
        if ready:
            server.wait_ready()
        yield server
    finally:
        server.stop()
