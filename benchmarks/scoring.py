"""Batch scoring of a Parquet file against `predict` in this process, its memory, and a run that is killed.

    python -m benchmarks.scoring --model models/housing [--rows 10000000] [--folder DIR]

In-process `predict` sees the same rows as arrays, in parts as large as those of `score`, before and after it; reading
them from the file is not counted there. The killed run ends by SIGKILL at a random moment, and is started again.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eigenserve.model import SpectralModel, load_model
from eigenserve.model.kernels.threads import num_threads

PART_ROWS = 2**17
ROOT = Path(__file__).resolve().parents[1]


def run(quick: bool = False, model: str = "models/housing", rows: int | None = None, folder: str | None = None) -> None:
    """Measure and print."""
    path = Path(model).resolve()
    if not path.is_dir():
        print(f"scoring: left out, no model at {path}; train one with `make train-demo`")
        return
    with tempfile.TemporaryDirectory(dir=folder) as work:
        _measure(path, rows or (500_000 if quick else 10_000_000), Path(work))


def _measure(path: Path, rows: int, work: Path) -> None:
    model = load_model(path)
    members = len(model.ensemble.member_weights)
    print(f"\n{rows:,} rows of Parquet, {len(model.features)} features, {members} members, {num_threads()} threads\n")
    data, whole, killed = work / "rows.parquet", work / "whole.parquet", work / "killed.parquet"
    _write_rows(model, rows, data)
    before = _predict(model, data)
    started = time.monotonic()
    process = _start(path, data, whole)
    resident = _watch(process)
    wall_s = time.monotonic() - started
    summary = json.loads(process.stdout.read().splitlines()[-1]) if process.stdout else {}
    after = _predict(model, data)
    # Against the better one: on a machine that others use, the other one says how busy it was.
    predict_s = min(before, after)
    print(f"predict in this process   {rows / predict_s:>12,.0f} rows/s ({rows / before:,.0f}, {rows / after:,.0f})")
    print(f"score, file to file       {rows / summary['seconds']:>12,.0f} rows/s, {predict_s / summary['seconds']:.0%}")
    print(f"score, with its start-up  {rows / wall_s:>12,.0f} rows/s, {predict_s / wall_s:.0%}")
    quarters = [resident[len(resident) * i // 4 : len(resident) * (i + 1) // 4] for i in range(4)]
    print(f"resident memory at most   {max(resident):>12.0f} MB; by quarters {[round(max(q)) for q in quarters]}")
    process = _start(path, data, killed)
    moment = random.uniform(0.1, 0.9) * wall_s
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = _start(path, data, killed)
    _watch(process)
    summary = json.loads(process.stdout.read().splitlines()[-1]) if process.stdout else {}
    same = filecmp.cmp(whole, killed, shallow=False)
    print(f"killed after {moment:.1f} s, went on after {summary['resumed_rows']:,} rows: same bytes: {same}")


def _write_rows(model: SpectralModel, rows: int, data: Path) -> None:
    """Rows spread evenly over the training ranges, written a million at a time."""
    generator = np.random.default_rng(0)
    features = model.features.features
    schema = pa.schema([(feature.name, pa.float64()) for feature in features])
    with pq.ParquetWriter(data, schema) as writer:
        for start in range(0, rows, 10**6):
            count = min(10**6, rows - start)
            columns = {f.name: generator.uniform(f.low, f.high, count) for f in features}
            writer.write_table(pa.table(columns))


def _predict(model: SpectralModel, data: Path) -> float:
    """Seconds in `predict` of all rows."""
    seconds = 0.0
    with pq.ParquetFile(data) as table:
        for batch in table.iter_batches(PART_ROWS):
            rows = np.stack([column.to_numpy() for column in batch.columns], axis=1)
            started = time.perf_counter()
            model.predict(rows)
            seconds += time.perf_counter() - started
    return seconds


def _start(path: Path, data: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "eigenserve", "score", str(path), str(data), "--out", str(out), "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _watch(process: subprocess.Popen[str]) -> list[float]:
    """Wait for its end; its resident memory meanwhile, in MB, ten times a second."""
    resident: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            resident.extend(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmRSS"))

    watcher = threading.Thread(target=look)
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    if code:
        raise RuntimeError(f"score ended with {code}")
    return resident


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--model", default="models/housing")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--folder", help="where to write the files")
    parser.add_argument("--quick", action="store_true")
    run(**vars(parser.parse_args()))
