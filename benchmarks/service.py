"""The service under load on loopback, against bare FastAPI and LitServe with the same model and payloads.

    python -m benchmarks.service --model models/housing [--litserve-python PATH] [--quick]

LitServe runs from a Python of its own, given by --litserve-python, or is left out. Servers take turns in
each round, so that a busy machine is busy for all of them; what is compared are medians of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.history import record
from benchmarks.limits import loopback_echo
from eigenserve.model import load_model

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = 64
LARGE_ROWS = 10_000
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"


def run(quick: bool = False, model: str = "models/housing", litserve_python: str | None = None) -> None:
    """Measure and print the tables."""
    path = Path(model).resolve()
    if not path.is_dir():
        print(f"service: left out, no model at {path}; train one with `make train-demo`")
        return
    rounds, seconds = (3, 2.0) if quick else (5, 4.0)
    small = json.dumps({"instances": feature_rows(path, 1)}).encode()
    with contextlib.ExitStack() as stack:
        ports = {
            "eigenserve": stack.enter_context(_eigenserve(path)),
            "bare FastAPI": stack.enter_context(_bare(path)),
        }
        if litserve_python is not None:
            ports["LitServe"] = stack.enter_context(_litserve(path, litserve_python))
        else:
            print("LitServe: left out (give --litserve-python)")
        seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                seen[name].append(asyncio.run(_load(port, small, seconds)))
        print(f"\none row, {CONNECTIONS} connections, medians of {rounds} rounds of {seconds:g} s\n")
        print(f"{'server':<14}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'x bare FastAPI':>16}")
        reference = statistics.median(r for r, _, _ in seen["bare FastAPI"])
        figures = {}
        for name, results in seen.items():
            rate, p50, p99 = (statistics.median(column) for column in zip(*results, strict=True))
            print(f"{name:<14}{rate:>12,.0f}{p50:>9.2f}{p99:>9.2f}{rate / reference:>16.2f}")
            figures[f"one row, {name}, requests/s"] = rate
        figures["one row against bare FastAPI, ratio"] = figures["one row, eigenserve, requests/s"] / reference
        figures |= _large(ports["eigenserve"], path, rounds * 3)
    print("\nwanted: JSON 1.25 and Arrow 1.12 of in process, explain by eigenvector 1.5 of predict\n")
    record("service quick" if quick else "service", figures, "")


def _large(port: int, path: Path, rounds: int) -> dict[str, float]:
    """One request of many rows, against the same rows in this process and the same bytes to and fro."""
    model, rows = load_model(path), feature_rows(path, LARGE_ROWS)
    columns = {name: [row[name] for row in rows] for name in model.features.names}
    as_json = json.dumps({"instances": rows}).encode()
    as_arrow, arrays = arrow_body(columns)
    work: dict[str, Callable[[], object]] = {
        "predict, rows as dicts, in process": lambda: model.predict(rows),
        "/predict, JSON": lambda: post(port, "/predict", as_json, JSON),
        "predict, columns, in process": lambda: model.predict(arrays),
        "/predict, Arrow": lambda: post(port, "/predict", as_arrow, ARROW),
        "explain, columns, in process": lambda: model.explain(arrays),
        "/explain, Arrow": lambda: post(port, "/explain", as_arrow, ARROW),
        "explain by eigenvector, in process": lambda: model.explain(arrays, method="eigenvector"),
        "/explain by eigenvector, Arrow": lambda: post(port, "/explain?method=eigenvector", as_arrow, ARROW),
    }
    times: dict[str, list[float]] = {name: [] for name in (*work, "loopback")}
    answered = len(post(port, "/predict", as_arrow, ARROW))
    with loopback_echo(len(as_arrow), answered) as echo:
        for turn in range(rounds + 1):
            for name, call in (*work.items(), ("loopback", echo)):
                started = time.perf_counter()
                call()
                if turn:
                    times[name].append(time.perf_counter() - started)
    print(f"\n{LARGE_ROWS:,} rows in one request, medians of {rounds}\n")
    names = list(work)
    for i, name in enumerate(names):
        median = statistics.median(times[name])
        ratio = f"{median / statistics.median(times[names[i - 1]]):>8.2f} x in process" if i % 2 else ""
        print(f"{name:<36}{median * 1e3:>9.1f} ms{LARGE_ROWS / median:>12,.0f} rows/s{ratio}")
    medians = {name: statistics.median(own) for name, own in times.items()}
    by_eigenvector, predicted = "/explain by eigenvector, Arrow", "/predict, Arrow"
    return {
        "/predict, JSON, ms": 1e3 * medians["/predict, JSON"],
        "/predict, JSON against rows in process, ratio": medians["/predict, JSON"] / medians[names[0]],
        "/predict, Arrow, ms": 1e3 * medians[predicted],
        "/predict, Arrow against columns in process, ratio": medians[predicted] / medians[names[2]],
        "/explain by eigenvector, Arrow, ms": 1e3 * medians[by_eigenvector],
        "/explain by eigenvector against /predict, ratio": medians[by_eigenvector] / medians[predicted],
        "limit: the same bytes over the loopback, ms": 1e3 * medians["loopback"],
    }


async def _load(port: int, body: bytes, seconds: float) -> tuple[float, float, float]:
    """Keep all connections busy; requests per second, p50 and p99 in milliseconds."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    times: list[float] = []
    ends = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.perf_counter()) < ends:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server answered {answer!r}")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    times.sort()
    return len(times) / seconds, times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3


@contextlib.contextmanager
def _server(command: list[str], path: Path, port: int, **environment: str) -> Iterator[int]:
    variables = {**os.environ, "BENCHMARK_MODEL": str(path), "PYTHONPATH": str(ROOT / "src"), **environment}
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_server(port, process, "/readyz" if "litserve" not in " ".join(command) else "/health")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _eigenserve(path: Path) -> contextlib.AbstractContextManager[int]:
    port = free_port()
    command = [sys.executable, "-m", "eigenserve", "serve", "--port", str(port), "--store", str(path.parent)]
    return _server(command, path, port, EIGENSERVE_DEFAULT_MODEL=path.name)


def _bare(path: Path) -> contextlib.AbstractContextManager[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.service_peers:bare"]
    return _server([*command, "--port", str(port), "--log-level", "warning"], path, port)


def _litserve(path: Path, python: str) -> contextlib.AbstractContextManager[int]:
    port = free_port()
    return _server([python, "-m", "benchmarks.litserve_peer", str(port)], path, port)


def wait_for_server(port: int, process: subprocess.Popen[bytes], probe: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}{probe}", timeout=5),
        ):
            return
        time.sleep(0.1)
    raise RuntimeError("the server was not ready in two minutes")


def post(port: int, path: str, body: bytes, media_type: str) -> bytes:
    """Send a request and return the answer's body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": media_type})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def feature_rows(path: Path, count: int) -> list[dict[str, Any]]:
    """Rows of the model's features, spread over their training ranges."""
    rows: list[dict[str, Any]] = []
    features = load_model(path).features.features
    for i in range(count):
        row: dict[str, Any] = {}
        for j, feature in enumerate(features):
            share = (i * 0.618034 + j * 0.414214) % 1.0
            if feature.kind == "numeric":
                row[feature.name] = round(feature.low + share * (feature.high - feature.low), 4)
            else:
                row[feature.name] = feature.typical
        rows.append(row)
    return rows


def arrow_body(columns: dict[str, list[Any]]) -> tuple[bytes, dict[str, Any]]:
    import pyarrow
    import pyarrow.ipc

    table = pyarrow.table(columns)
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue(), {name: table[name].to_numpy() for name in columns}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/housing")
    parser.add_argument("--litserve-python", metavar="PATH", help="a Python that has litserve and numba")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    run(options.quick, options.model, options.litserve_python)
