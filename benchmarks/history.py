"""Keep what benchmarks measured, one JSON object a line, and show how a figure has moved since the last runs.

The file is `build/benchmarks.jsonl`, or what EIGENSERVE_BENCH_HISTORY names; figures of other machines are left out.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
#: Runs that a figure is compared with.
LAST = 5


def record(benchmark: str, figures: Mapping[str, float], unit: str) -> None:
    """Add a run to the history, and print each figure with its ratio to the median of the last runs."""
    path = Path(os.environ.get("EIGENSERVE_BENCH_HISTORY", ROOT / "build/benchmarks.jsonl"))
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, {_processor()}"
    earlier = [run["figures"] for run in _runs(path) if (run["benchmark"], run["machine"]) == (benchmark, machine)]
    for name, figure in figures.items():
        before = [run[name] for run in earlier if name in run][-LAST:]
        against = f"{figure / median(before):>8.2f} of the last {len(before)}" if before and median(before) else ""
        print(f"{name:<58}{figure:>9.2f} {unit}{against}")
    run = {
        "benchmark": benchmark,
        "machine": machine,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": _commit(),
        "load": os.getloadavg()[0],
        "unit": unit,
        "figures": dict(figures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(run) + "\n")


def _runs(path: Path) -> list[dict]:
    runs = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            run = json.loads(line)
            whole = isinstance(run, dict) and run.keys() >= {"benchmark", "machine"}
            whole = whole and all(isinstance(figure, int | float) for figure in run["figures"].values())
        except (ValueError, KeyError, AttributeError):
            whole = False
        if whole:
            runs.append(run)
        else:
            print(f"left out, damaged: line {number} of {path}")
    return runs


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
