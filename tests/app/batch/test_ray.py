"""Ray Data writes the file that the local engine writes, on a real Ray of several processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.made_models import FEATURES, make_rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).resolve().parents[3]
NAMES = [feature.name for feature in FEATURES]
#: Starting Ray takes a quarter of a minute on a busy machine.
TIMEOUT_S = 200

SCRIPT = """
import json, sys
import ray
from eigenserve.app.batch import on_ray, scorer
from eigenserve.app.batch.local import score_here
from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.ray import ray_engine
from eigenserve.app.batch.places import Place
from eigenserve.app.batch.run import score_file
from model import load_model

# This process says how large parts are and which task reads which of them.
scorer.PART_ROWS, on_ray.PARTS_PER_READ = 256, 4
model, folder = load_model(sys.argv[1]), sys.argv[2]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
found = {}
try:
    for data, suffix in (("rows.parquet", "parquet"), ("rows.csv", "csv")):
        for name, engine in (("here", score_here), ("ray", ray_engine())):
            out = Place(f"{folder}/{name}.{suffix}")
            summary = score_file(model, Place(f"{folder}/{data}"), out, method="eigenvector", engine=engine)
            found[f"{name}.{suffix}"] = summary.rows
    for data in ("bad.csv", "lacks.parquet"):
        try:
            score_file(model, Place(f"{folder}/{data}"), Place(f"{folder}/none.csv"), engine=ray_engine())
        except ScoreError as error:
            found[data] = str(error)
finally:
    ray.shutdown()
print(json.dumps(found))
"""


def test_without_ray_the_command_says_what_to_install(store, tmp_path):
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from eigenserve.cli import main\n"
        f"sys.exit(main(['score', {str(store.root / 'price')!r}, 'x.csv', '--out', 'o.csv', '--engine', 'ray']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "eigenserve[ray]" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'eigenserve[ray]'")
def test_ray_data_writes_the_bytes_of_the_local_engine(store, tmp_path):
    # Parts of 256 rows: twelve of Parquet, which three tasks read, and eight of CSV, which one does.
    rows = [{name: row.get(name) for name in NAMES} for row in make_rows(3_000, seed=4)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=700)
    pq.write_table(table.drop_columns(["age"]), tmp_path / "lacks.parquet")
    lines = [",".join("" if row[name] is None else str(row[name]) for name in NAMES) for row in rows[:2000]]
    (tmp_path / "rows.csv").write_text("\n".join([",".join(NAMES), *lines]) + "\n")
    (tmp_path / "bad.csv").write_text("\n".join([",".join(NAMES), *lines[:99], "x,1,true,Rome,1"]) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(store.root / "price"), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for suffix, count in (("parquet", 3_000), ("csv", 2_000)):
        assert found[f"here.{suffix}"] == found[f"ray.{suffix}"] == count
        assert (tmp_path / f"here.{suffix}").read_bytes() == (tmp_path / f"ray.{suffix}").read_bytes()
    assert "row 100, column 'age': must be a number" in found["bad.csv"]
    assert "no column 'age'" in found["lacks.parquet"]
