"""The base install is the solver, models and predictions; every other package comes with an extra that errors name."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from eigenserve.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = sorted(set().union(*EXTRAS.values()))

BARE = f"""
import sys
for name in {OPTIONAL}:
    sys.modules[name] = None  # makes an import fail as a missing package does
sys.path[:0] = ["src", "."]
"""


def run_bare(code):
    return subprocess.run(
        [sys.executable, "-c", BARE + code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_base_install_has_three_packages():
    names = {re.split(r"[<>=\[]", text)[0] for text in PROJECT["dependencies"]}
    assert names == {"numba", "numpy", "safetensors"}


def test_eigenvalues_models_and_explanations_need_nothing_else(tmp_path):
    done = run_bare(
        "from pathlib import Path\n"
        "from eigenserve import ModelStore, load_model\n"
        "from eigenserve.model.eigensolvers import eigvalsh_tridiagonal\n"
        "from tests.support.twin import random_model, random_rows\n"
        f"ModelStore(Path({str(tmp_path)!r})).save('made', random_model('multiclass'))\n"
        f"model = load_model({str(tmp_path / 'made')!r})\n"
        "print(len(model.predict(random_rows(5))), len(model.explain(random_rows(5))))\n"
        "print(eigvalsh_tridiagonal([2.0, 2.0], [1.0], eig_idx=0))\n"
    )
    assert (done.stdout, done.stderr) == ("5 5\n1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["serve"], "serve"),
        (["fit", "x.csv", "--target", "y"], "fit"),
        (["evaluate", "models/x", "x.csv"], "fit"),
        (["curvature", "models/x", "x.csv"], "torch"),
        (["score", "models/x", "x.csv", "--out", "y.csv"], "score"),
        (["export", "models/x", "--out", "x.onnx"], "onnx"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(arguments, extra):
    done = run_bare(f"from eigenserve.cli import main\nsys.exit(main({arguments}))")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"pip install 'eigenserve[{extra}]'" in done.stderr


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("import eigenserve.torch", "torch"),
        ("from eigenserve.operators import lanczos", "torch"),
        ("import eigenserve.jax", "jax"),
        ("import eigenserve.mlflow", "mlflow"),
        ("from eigenserve.client import Client", "client"),
        ("from eigenserve.model.onnx import to_onnx", "onnx"),
        ("from eigenserve import SpectralClassifier", "fit"),
    ],
)
def test_an_import_names_the_extra_that_it_lacks(code, extra):
    done = run_bare(code)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: module '"), done.stderr
    assert last.endswith(f"' is not installed; install it with: pip install 'eigenserve[{extra}]'")
    assert done.stderr.count("Traceback") == 1


def test_help_needs_no_extra():
    done = run_bare("from eigenserve.cli import main\nmain(['--help'])")
    assert (done.returncode, done.stderr) == (0, "")
    assert "serve the models of a store over HTTP" in done.stdout


def test_every_extra_that_errors_name_is_one():
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])
