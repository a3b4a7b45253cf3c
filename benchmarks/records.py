"""What decision records cost and whether they hold: throughput, losses, tampering, erasure, replay.

    python -m benchmarks.records [--model models/housing] [--rows 1000000]

Two servers, with records and without, take turns with the same requests of 10,000 rows. Rows per second are those of
one client, and of two that keep both cores busy; CPU time is the server's, until its last part is written.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.service import ARROW, JSON, ROOT, arrow_body, free_port, post, wait_for_server
from eigenserve.model import load_model

PER_REQUEST, TURNS = 10_000, 5
#: Seconds after which a part with few rows is written.
PART_S = 2.0
TABLE = ROOT / "examples/data/california_housing_test.csv"


@dataclass(frozen=True, eq=False)
class Running:
    """A server on a free port."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """Return what its process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(model: Path, **settings: str) -> Iterator[Running]:
    """Serve a model's store in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "eigenserve", "serve", "--port", str(port), "--store", str(model.parent)]
    variables = {**environment(), "EIGENSERVE_DEFAULT_MODEL": model.name, **settings}
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_server(port, process, "/readyz")
        yield Running(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def environment() -> dict[str, str]:
    """Return the environment of a command: this checkout's code, and no setting of whoever runs this."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EIGENSERVE_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src")}


def run(model: str = "models/housing", rows: int = 1_000_000) -> None:
    """Measure and print."""
    path, folder = Path(model).resolve(), Path(tempfile.mkdtemp(prefix="records-"))
    try:
        _throughput(path, folder / "throughput", rows)
        _losses(path, folder / "losses", rows)
        _changes(path, folder / "changes")
    finally:
        shutil.rmtree(folder)


def _throughput(model: Path, folder: Path, rows: int) -> None:
    settings = {"EIGENSERVE_RECORDS": str(folder), "EIGENSERVE_RECORDS_PART_S": str(PART_S)}
    with serving(model) as plain, serving(model, **settings) as recorded:
        print(f"\n{rows:,} rows in requests of {PER_REQUEST:,}, in {TURNS} turns; recorded / not recorded\n")
        for media_type, body in bodies(model, PER_REQUEST).items():
            for clients in (1, 2):
                cpu, took = {plain: 0.0, recorded: 0.0}, {plain: 0.0, recorded: 0.0}
                for turn in range(TURNS + 1):
                    for server in (plain, recorded)[:: 1 if turn % 2 else -1]:
                        used = _load(server, media_type, body, rows // TURNS, clients)
                        if turn:  # the first is not counted
                            cpu[server] += used[0]
                            took[server] += used[1]
                print(
                    f"{media_type.rpartition('/')[2]:<24}{clients} client(s)"
                    f"{rows / took[recorded]:>10,.0f} /{rows / took[plain]:>10,.0f} rows/s"
                    f" ={took[plain] / took[recorded]:7.1%}"
                    f"   CPU {1e6 * cpu[recorded] / rows:.2f} /{1e6 * cpu[plain] / rows:.2f} us a row"
                    f" ={cpu[plain] / cpu[recorded]:7.1%}"
                )
    verdict = verify(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / verdict["rows"]
    expected = 4 * (TURNS + 1) * (rows // TURNS)
    print(
        f"SIGTERM: {expected:,} rows answered, {verdict['rows']:,} recorded; {size:.0f} bytes a row; {_said(verdict)}"
    )


def _load(server: Running, media_type: str, body: bytes, rows: int, clients: int) -> tuple[float, float]:
    """Send rows; return the server's CPU seconds until all is written, and the seconds until the last answer."""
    cpu, started = server.cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for _ in pool.map(lambda _: post(server.port, "/predict", body, media_type), range(rows // PER_REQUEST)):
            pass
    took = time.perf_counter() - started
    time.sleep(PART_S + 1.0)
    return server.cpu_s() - cpu, took


def _losses(model: Path, folder: Path, rows: int) -> None:
    """Kill a server while it answers."""
    body = bodies(model, PER_REQUEST)[ARROW]
    with contextlib.suppress(OSError), serving(model, EIGENSERVE_RECORDS=str(folder)) as server:
        for _ in range(rows // PER_REQUEST // 4 + 3):
            post(server.port, "/predict", body, ARROW)
        time.sleep(1.5)  # the marker of the open part is written each second
        server.process.kill()
        server.process.wait()
        verdict = verify(folder)
        answered = (rows // PER_REQUEST // 4 + 3) * PER_REQUEST
        print(f"kill -9: {answered:,} rows answered, {verdict['rows']:,} in parts; at once: {_said(verdict)}")


def _changes(model: Path, folder: Path) -> None:
    """Change records in every way, erase a person, and compute all again."""
    people = [{"id": f"person {i % 100}", **row} for i, row in enumerate(table_rows(model, PER_REQUEST))]
    settings = {"EIGENSERVE_RECORDS": str(folder), "EIGENSERVE_RECORDS_PART_ROWS": "1"}
    body = json.dumps({"instances": people}).encode()
    with serving(model, **settings) as server:
        for path in ("/predict", "/explain", "/predict", "/predict"):
            post(server.port, path, body, JSON)
            time.sleep(0.7)
    chain = next(path for path in folder.iterdir() if path.is_dir())
    files = sorted(path for path in chain.iterdir())
    found = 0
    for file in files:
        content = file.read_bytes()
        file.write_bytes(
            content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
        )
        found += bool(verify(folder)["faults"])
        file.write_bytes(content)
    print(f"one flipped byte in each of {len(files)} files: found {found} times")
    copy = folder.with_name("removed")
    found = 0
    for number in range(5):
        shutil.copytree(folder, copy)
        for file in copy.glob(f"*/{number:08d}.*"):
            file.unlink()
        found += bool(verify(copy)["faults"])
        shutil.rmtree(copy)
    print(f"each of 5 links removed with its part: found {found} times")
    shutil.copytree(folder, copy)
    for kind in ("json", "decisions.parquet", "details.parquet"):
        first, second = (next(copy.glob(f"*/{number:08d}.{kind}")) for number in (3, 4))
        between = first.with_suffix(".moved")
        first.rename(between)
        second.rename(first)
        between.rename(second)
    print(f"two parts exchanged with their links: found {bool(verify(copy)['faults'])}")
    shutil.rmtree(copy)
    print(command("erase", str(folder), "--id", "person 7").stdout.strip())
    print(f"verify then: {_said(verify(folder))}")
    print(command("replay", str(folder), "--store", str(model.parent)).stdout.strip())


def verify(folder: Path) -> dict[str, Any]:
    """Return what ``records verify`` finds."""
    last = command("verify", str(folder), "--json").stdout.strip().splitlines()[-1]
    return dict(json.loads(last))


def command(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``eigenserve records``."""
    line = [sys.executable, "-m", "eigenserve", "records", verb, *arguments]
    done = subprocess.run(line, cwd=ROOT, env=environment(), capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    return done


def table_rows(model: Path, count: int) -> list[dict[str, Any]]:
    """Rows of the held-out table, again and again."""
    names = load_model(model).features.names
    with TABLE.open() as file:
        rows = [{name: float(row[name]) if row[name] else None for name in names} for row in csv.DictReader(file)]
    return [rows[i % len(rows)] for i in range(count)]


def bodies(model: Path, count: int) -> dict[str, bytes]:
    """Requests of so many rows, by media type."""
    rows = table_rows(model, count)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {JSON: json.dumps({"instances": rows}).encode(), ARROW: arrow_body(columns)[0]}


def _said(verdict: dict[str, Any]) -> str:
    return "; ".join([*verdict["faults"], *verdict["lost"]]) or "in order"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/housing")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    run(options.model, options.rows)
