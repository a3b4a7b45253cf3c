"""Watch a server while it is attacked: /livez every 100 ms, another client's small predictions, and its memory."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.made_models import ROW
from tests.support.server_process import ServerProcess

#: The attacker is 127.0.0.1; limits by client must spare this one.
ANOTHER_CLIENT = ("127.0.0.2", 0)
EVERY_S = 0.1


#: A server that does nothing: what its answers take on this machine, at the same time, is not the service's fault.
IDLE_SERVER = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    while connection.recv(4096):
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nOK")
    connection.close()
"""


@contextmanager
def idle_server() -> Iterator[int]:
    """The port of a server that does nothing."""
    with subprocess.Popen([sys.executable, "-c", IDLE_SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@dataclass
class Watch:
    """What was seen.

    Attributes:
        livez_s: seconds of each answer of /livez.
        predict_s: the same of the other client's predictions.
        idle_s: the same of a server that does nothing, if there is one.
        wrong: whatever was not answered as it must be.
        base_bytes, peak_bytes: resident memory before, and at most.
    """

    server: ServerProcess
    idle_port: int | None = None
    livez_s: list[float] = field(default_factory=list)
    predict_s: list[float] = field(default_factory=list)
    idle_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    base_bytes: int = 0
    peak_bytes: int = 0

    def __enter__(self) -> Watch:
        self.base_bytes = resident_bytes(self.server)
        # Forget the highest mark: from here on it is that of the attack.
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        self._expected = self._predict(connection)
        connection.close()
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(call,)) for call in self._calls()]
        for thread in self._threads:
            thread.start()
        return self

    def _calls(self):
        return (self._livez, self._predict, *([self._idle] if self.idle_port is not None else []))

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self.peak_bytes = resident_bytes(self.server, "VmHWM")

    @property
    def grown_mb(self) -> float:
        return (self.peak_bytes - self.base_bytes) / 2**20

    @property
    def worst_livez_s(self) -> float:
        """Seconds of the slowest answer of /livez beyond those of a server that does nothing."""
        return max(self.livez_s, default=0.0) - max(self.idle_s, default=0.0)

    @property
    def predict_p99_s(self) -> float:
        """The same at the 99th percentile of small predictions."""
        if len(self.predict_s) < 2:
            return 0.0
        return statistics.quantiles(self.predict_s, n=100, method="inclusive")[-1] - max(self.idle_s, default=0.0)

    def _loop(self, call) -> None:
        alive, idle = (200, b'{"status":"alive"}'), (200, b"OK")
        expected = {self._livez: alive, self._predict: self._expected, self._idle: idle}[call]
        times = {self._livez: self.livez_s, self._predict: self.predict_s, self._idle: self.idle_s}[call]
        port = self.idle_port if call == self._idle else self.server.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=ANOTHER_CLIENT)
        while not self._ends.wait(EVERY_S):
            started = time.perf_counter()
            try:
                answer = call(connection)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{call.__name__}: {error!r}")
                connection.close()
                continue
            times.append(time.perf_counter() - started)
            if answer != expected:
                self.wrong.append(f"{call.__name__}: {answer!r}")
        connection.close()

    def _idle(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        return self._livez(connection)

    def _livez(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _predict(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        body = json.dumps({"instances": [ROW], "model": "price"})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def resident_bytes(server: ServerProcess, mark: str = "VmRSS") -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(mark + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {mark}")
