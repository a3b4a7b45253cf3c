"""Every figure of operating the service in one run: drift and its cost, shadow, and, by `benchmarks.records`, records.

    python -m benchmarks.operation [drift overhead shadow records] [--store build/operation]

Trains what the store does not have: `housing` (version 2 without its strongest feature) and `adult`, 20 s each.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.records import Running, serving
from benchmarks.service import JSON, ROOT, post
from eigenserve.model import load_model
from eigenserve.model.arrays import FloatArray
from eigenserve.model.monitoring import Counting, measure_drift, read_sketch

DATA = ROOT / "examples/data"
WITHOUT = "median_income"
WINDOWS, WINDOW_ROWS, DRAWS, TURNS = 20, 2_000, 3, 4
ADULT_TRAINING = 24_561
#: Of a standard deviation; of the values; and the least frequent category that is doubled: docs/monitoring.md says why.
SHIFT, GAPS, LEAST_SHARE = 0.2, 0.01, 0.04
Rows = list[dict[str, Any]]


def drift(store: Path) -> None:
    """Count alarms in held-out windows, and changes that are found within 2,000 rows."""
    for name, rows in (("housing", _csv(DATA / "california_housing_test.csv")), ("adult", _adult()[1])):
        model = load_model(store / name / "1")
        counting, rng = Counting(model, read_sketch(model, model.card)), np.random.default_rng(0)
        columns = model.features.encode([{f: row[f] for f in model.features.names} for row in rows])

        def alarms(window: FloatArray, counting: Counting = counting) -> list[str]:
            counts = counting.zeros()
            counting.count(window, counting.predictor.scores(window), counts)
            counting.count_contributions(window, counts)
            return [
                f"{channel.kind} {channel.name}" for channel in measure_drift(counting.sketch, counts) if channel.alarm
            ]

        windows = np.array_split(rng.permutation(len(columns)), WINDOWS)
        raised = [found for window in windows if (found := alarms(columns[window]))]
        print(f"{name}: {len(raised)} of {WINDOWS} held-out windows of {len(windows[0])} rows alarm {raised or ''}")
        made, found, missed = Counter[str](), Counter[str](), []
        for kind, j, changed in _changes(model, columns, rng):
            feature = model.features.names[j]
            made[kind] += 1
            if f"feature {feature}" in alarms(changed):
                found[kind] += 1
            else:
                missed.append(f"{kind} {feature}")
        said = "; ".join(f"{kind}: {found[kind]} of {count}" for kind, count in made.items())
        print(f"{name}: alarms that name the feature within {WINDOW_ROWS:,} rows: {said}; missed: {missed or 'none'}")


def _changes(model: Any, columns: FloatArray, rng: np.random.Generator) -> Any:
    """Yield windows in which one feature is changed: the kind of change, the feature's position, and the rows."""
    deviations = np.nanstd(columns, axis=0)
    for j, feature in enumerate(model.features.features):
        for _ in range(DRAWS):
            window = columns[rng.choice(len(columns), WINDOW_ROWS)]
            if feature.kind == "numeric":
                changed = window.copy()
                changed[:, j] += SHIFT * deviations[j]
                yield f"a shift of {SHIFT} sd", j, changed
            for code in range(feature.num_codes or 0):
                of_code, others = np.flatnonzero(window[:, j] == code), np.flatnonzero(window[:, j] != code)
                if LEAST_SHARE <= len(of_code) / WINDOW_ROWS <= 0.5:
                    changed = window.copy()
                    changed[rng.choice(others, min(len(of_code), len(others)), replace=False), j] = code
                    yield "a category doubled", j, changed
            if not np.isnan(columns[:, j]).any():
                changed = window.copy()
                changed[rng.choice(WINDOW_ROWS, int(GAPS * WINDOW_ROWS), replace=False), j] = np.nan
                yield f"gaps in {GAPS:.0%}", j, changed


def overhead(store: Path) -> None:
    """Compare the CPU time of requests with drift watched and without, in turns."""
    with (
        serving(store / "housing", EIGENSERVE_DRIFT="true") as on,
        serving(store / "housing", EIGENSERVE_DRIFT="false") as off,
    ):
        for count, requests in ((1, 4_000), (1_000, 400), (10_000, 40)):
            body = records.bodies(store / "housing", count)[JSON]
            used = {on: 0.0, off: 0.0}
            for turn in range(TURNS + 1):
                for server in (on, off)[:: 1 if turn % 2 else -1]:
                    taken = _cpu_s(server, body, requests)
                    used[server] += taken if turn else 0.0  # the first is not counted
            each = 1e6 * used[off] / TURNS / requests / count
            print(f"requests of {count:,} rows: {each:.2f} us a row; with drift {used[on] / used[off] - 1:+.1%}")


def _cpu_s(server: Running, body: bytes, requests: int) -> float:
    before = server.cpu_s()
    for _ in range(requests):
        post(server.port, "/predict", body, JSON)
    time.sleep(1.2)  # rows are counted once a second
    return server.cpu_s() - before


def shadow(store: Path) -> None:
    """Show the page of a version that was trained without a feature, and of drift, as the server gives them."""
    rows = [
        {f: row[f] for f in load_model(store / "housing" / "1").features.names}
        for row in _csv(DATA / "california_housing_test.csv")
    ]
    shifted = [{**row, WITHOUT: row[WITHOUT] + 0.2 * 1.9} for row in rows[:WINDOW_ROWS]]
    with serving(store / "housing", EIGENSERVE_SHADOW="housing:2") as server:
        for start in range(0, WINDOW_ROWS, 100):
            post(server.port, "/predict", json.dumps({"instances": rows[start : start + 100]}).encode(), JSON)
        time.sleep(2.5)
        page = _get(server, "/models/housing/shadow", "text/markdown")
        print("\n".join(page.splitlines()[:8]))
        print(
            f"one page of {len(page.splitlines())} lines that names {WITHOUT}: {WITHOUT in page.replace(chr(92), '')}"
        )
        before = json.loads(_get(server, "/models/housing/drift", JSON))["windows"]["recent"]
        for start in range(0, WINDOW_ROWS, 100):
            post(server.port, "/predict", json.dumps({"instances": shifted[start : start + 100]}).encode(), JSON)
        time.sleep(2.5)
        after = json.loads(_get(server, "/models/housing/drift", JSON))["windows"]["recent"]
        named = [f"{c['kind']} {c['name']}" for c in after["channels"] if c["alarm"]]
        print(
            f"as served: {before['alarms']} alarms in {before['rows']:,} held-out rows; then {WITHOUT} moves: {named}"
        )


def _get(server: Running, path: str, accept: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def _csv(path: Path) -> Rows:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [{name: _cell(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _cell(text: str) -> Any:
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        return None if text in ("", "?", "NA") else text


def _adult() -> tuple[Rows, Rows]:
    """Return rows to train on, and others."""
    rows = _csv(DATA / "adult.csv.gz")
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[i] for i in order[:ADULT_TRAINING]], [rows[i] for i in order[ADULT_TRAINING:]]


def _train(store: Path) -> None:
    """Fit what the store does not have."""
    store.mkdir(parents=True, exist_ok=True)
    housing = [
        str(DATA / "california_housing_train.csv"),
        "--target",
        "median_house_value",
        "--pairs",
        "longitude:latitude",
    ]
    for version, options in (("1", []), ("2", ["--exclude", WITHOUT])):
        if not (store / "housing" / version).is_dir():
            _fit(store, "housing", *housing, *options)
    if not (store / "adult/1").is_dir():
        rows = _adult()[0]
        with (store / "adult.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        _fit(store, "adult", str(store / "adult.csv"), "--target", "Income")


def _fit(store: Path, name: str, *arguments: str) -> None:
    command = [
        sys.executable,
        "-m",
        "eigenserve",
        "fit",
        *arguments,
        "--name",
        name,
        "--store",
        str(store),
        "--budget",
        "20",
    ]
    subprocess.run(command, cwd=ROOT, env=records.environment(), check=True, stdout=subprocess.DEVNULL)


PARTS: dict[str, Callable[[Path], None]] = {
    "drift": drift,
    "overhead": overhead,
    "shadow": shadow,
    "records": lambda store: records.run(str(store / "housing")),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--store", type=Path, default=ROOT / "build/operation")
    options = parser.parse_args()
    folder = options.store.resolve()
    _train(folder)
    for part in options.parts or PARTS:
        PARTS[part](folder)
