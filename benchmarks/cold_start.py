"""What a first use costs, in processes that find no compiled kernel and in such as find all of them.

    python -m benchmarks.cold_start [--quick]

Processor seconds are of the process and of those that it started, so they do not depend on what else the cores do;
seconds on the wall do. The peer is scikit-learn: the same table fitted by HistGradientBoostingRegressor with its
defaults, saved by joblib, and loaded for one row. The limit is the import of Numba, which every process pays for.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.history import record

ROOT = Path(__file__).resolve().parents[1]
ROWS, FEATURES = 1_000, 10
TARGETS = {
    **{"predict cold": 5.0, "predict warm": 0.4, "fit cold over warm": 8.0, "fit warm": 3.0},
    "demo fit cold over warm": 8.0,
}
#: In this order: the first finds no kernels.
KINDS = ("cold", "warm")
#: The fit of `make train-demo`.
DEMO = (
    *(str(ROOT / "examples/data/california_housing_train.csv"), "--target", "median_house_value", "--name", "housing"),
    *("--pairs", "longitude:latitude", "--budget", "20"),
)

FIT = "from eigenserve.__main__ import main; import sys; sys.argv[0] = 'eigenserve'; sys.exit(main())"
PREDICT = "from eigenserve import load_model; print(load_model({model!r}).predict([{row!r}]))"
PEER_FIT = """
import joblib, pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
table = pd.read_csv({table!r})
joblib.dump(HistGradientBoostingRegressor().fit(table.drop(columns="y"), table["y"]), {model!r})
"""
PEER_PREDICT = "import joblib, numpy as np; print(joblib.load({model!r}).predict(np.array([{row!r}])))"


class Cost(NamedTuple):
    """What a process took, on the wall and of the processors, in seconds."""

    wall_s: float
    cpu_s: float


def run(quick: bool = False) -> None:
    """Measure, print, and add to the history; quick: without the fits with default settings."""
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), quick)


def _measure(folder: Path, quick: bool) -> None:
    table = folder / "table.csv"
    _write_table(table)
    row = {f"x{i}": 0.1 * i for i in range(FEATURES)}
    fit = [FIT, "fit", str(table), "--target", "y", "--store", str(folder / "store"), "--name", "first"]
    fits = {"cold": _run(folder / "fit", *fit, *(["--budget", "1"] if quick else []))}
    fits["warm"] = _run(folder / "fit", *fit, *(["--budget", "1"] if quick else []))
    demo = (
        {}
        if quick
        else {kind: _run(folder / "demo", FIT, "fit", *DEMO, "--store", str(folder / kind)) for kind in KINDS}
    )
    predict = PREDICT.format(model=str(folder / "store" / "first"), row=row)
    predicts = {"cold": _run(folder / "predict", predict)}
    predicts["warm"] = min(_run(folder / "predict", predict) for _ in range(3))
    peer = str(folder / "peer.joblib")
    peer_fit = _run(folder / "peer", PEER_FIT.format(table=str(table), model=peer))
    peer_predict = _run(folder / "peer", PEER_PREDICT.format(model=peer, row=list(row.values())))
    limit = min(_run(folder / "peer", "import numba") for _ in range(3))
    figures = {}
    for what, costs, theirs in (("fit", fits, peer_fit), ("demo fit", demo, None), ("predict", predicts, peer_predict)):
        if not costs:
            continue
        for kind, cost in costs.items():
            figures[f"{what} {kind}, processor"] = cost.cpu_s
            figures[f"{what} {kind}, wall"] = cost.wall_s
        figures[f"{what} cold over warm, processor"] = costs["cold"].cpu_s - costs["warm"].cpu_s
        figures[f"{what} cold over warm, wall"] = costs["cold"].wall_s - costs["warm"].wall_s
        if theirs is not None:
            figures[f"{what}, scikit-learn, wall"] = theirs.wall_s
    figures["limit: import numba, processor"] = limit.cpu_s
    print(f"\nFirst use, {ROWS:,} rows of {FEATURES} numbers{', fits of a budget of 1 s' if quick else ''}\n")
    record("cold_start quick" if quick else "cold_start", figures, "s")
    wanted = ", ".join(f"{name} {seconds:g} s" for name, seconds in TARGETS.items())
    print(f"wanted on the wall of two idle cores: {wanted}; the load is {os.getloadavg()[0]:.1f}")


def _run(cache: Path, code: str, *arguments: str) -> Cost:
    """Run code in a new process, which finds kernels in this folder alone."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT / "src")}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.monotonic() - started, cpu_s)


def _write_table(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, FEATURES))
    table = pd.DataFrame(x, columns=[f"x{i}" for i in range(FEATURES)])
    noise = 0.3 * rng.standard_normal(ROWS)
    table["y"] = x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] + 0.5 * np.abs(x[:, 4]) + noise
    table.to_csv(path, index=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fits of a budget of one second")
    run(quick=parser.parse_args().quick)
