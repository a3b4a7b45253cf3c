"""Kernels that were compiled for a CPU level are found again by a server whose entry point chose that level."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
ENTRYPOINT = ROOT / "deploy/container/entrypoint.sh"

#: Everything that a server computes with a row, for every task; prints the kernels that were not in the cache.
SERVE = """
from tests.support.made_models import make_model, make_rows
from eigenserve.app.server.compile_kernels import kernels, use
from eigenserve.model.explanations.explain import METHODS
for task in ("regression", "binary", "multiclass", "poisson"):
    model = make_model(task)
    use(model, make_rows(3)[2], ("age", "rate"))
    for count in (1, 40):
        model.predict(make_rows(count))
        for method in METHODS:
            model.explain(make_rows(count), method=method)
assert any(kernel.stats.cache_hits for _, _, kernel in kernels())
print([name for _, name, kernel in kernels() if kernel.stats.cache_misses])
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of kernels, sealed, for this machine's level."""
    folder = tmp_path_factory.mktemp("kernels")
    level = subprocess.run([ENTRYPOINT], capture_output=True, text=True, check=True).stdout.strip()
    command = [sys.executable, "-m", "eigenserve.app.server.compile_kernels", str(folder), level]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout.startswith(f"{level}: ")
    assert int(made.stdout.split()[1]) >= 10
    return folder


def run_at_the_entry_point(compiled: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The entry point's command with `python -m` made `python`, so that it runs code instead of a module."""
    script = tmp_path / "entrypoint.sh"
    script.write_text(ENTRYPOINT.read_text().replace("exec python -m eigenserve", f"exec {sys.executable}"))
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    environment = {
        **os.environ,
        "EIGENSERVE_KERNELS": str(compiled),
        "TMPDIR": str(tmp),
        "PYTHONPATH": f"{ROOT}/src:{ROOT}",
    }
    command = ["sh", str(script), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_server_compiles_nothing_again(compiled: Path, tmp_path: Path):
    done = run_at_the_entry_point(compiled, tmp_path, "-c", SERVE)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_kernels_of_changed_sources_are_not_used(compiled: Path, tmp_path: Path):
    # Or else the test above would hold for any folder.
    done = run_at_the_entry_point(tmp_path, tmp_path, "-c", "import os; print(os.environ.get('NUMBA_CPU_NAME'))")
    assert done.stdout == "None\n"
    assert "no kernels for this CPU" in done.stderr
