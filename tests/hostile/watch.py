"""Watch a server while it is attacked: /livez every 100 ms, another client's small predictions, and its memory."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.made_models import ROW
from tests.support.server_process import ServerProcess

#: The attacker is 127.0.0.1; limits by client must spare this one.
ANOTHER_CLIENT = ("127.0.0.2", 0)
EVERY_S = 0.1


@dataclass
class Watch:
    """What was seen.

    Attributes:
        livez_s: seconds of each answer of /livez.
        predict_s: the same of the other client's predictions.
        wrong: whatever was not answered as it must be.
        base_bytes, peak_bytes: resident memory before, and at most.
    """

    server: ServerProcess
    livez_s: list[float] = field(default_factory=list)
    predict_s: list[float] = field(default_factory=list)
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
        self._threads = [threading.Thread(target=self._loop, args=(call,)) for call in (self._livez, self._predict)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self.peak_bytes = resident_bytes(self.server, "VmHWM")

    @property
    def grown_mb(self) -> float:
        return (self.peak_bytes - self.base_bytes) / 2**20

    @property
    def predict_p99_s(self) -> float:
        return statistics.quantiles(self.predict_s, n=100, method="inclusive")[-1] if len(self.predict_s) > 1 else 0.0

    def _loop(self, call) -> None:
        times = self.livez_s if call == self._livez else self.predict_s
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.port, timeout=30, source_address=ANOTHER_CLIENT
        )
        while not self._ends.wait(EVERY_S):
            started = time.perf_counter()
            try:
                answer = call(connection)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{call.__name__}: {error!r}")
                connection.close()
                continue
            times.append(time.perf_counter() - started)
            if answer != (self._expected if call == self._predict else (200, b'{"status":"alive"}')):
                self.wrong.append(f"{call.__name__}: {answer!r}")
        connection.close()

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
