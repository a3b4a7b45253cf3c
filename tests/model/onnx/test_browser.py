"""The example page predicts and explains in a real browser what the model does in Python."""

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.onnx import ExportSettings, onnx_bytes
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FEATURES = FeatureSpace(
    (
        Feature("area", "numeric", 3.0, center=2.5, scale=1.5, low=0.0, high=6.0),
        Feature("income", "numeric", 30.0, "log", center=3.0, scale=0.8, low=2.0, high=900.0, missing=True),
        Feature("garden", "boolean", True, missing=True),
        Feature("sold", "datetime", 19000.25, center=19000.0, scale=500.0, low=18000.0, high=20000.0),
        Feature("town & street", "categorical", "Łódź", categories=("Łódź", '"b"', "3"), missing=True),
    )
)
CURVES = CurveSet(
    (
        Curve(0, numeric=(0,), direction=(1.0,), knots=(-1.5, -0.2, 0.0, 0.7, 1.9)),
        Curve(1, numeric=(1,), direction=(1.0,), knots=(-1.0, 2.0), extend=True, missing=True),
        Curve(2, numeric=(2,), direction=(1.0,), knots=(0.0, 1.0), missing=True),
        Curve(3, numeric=(3,), direction=(1.0,), knots=(-1.0, 0.0, 1.0)),
        Curve(4, categorical=(4,), num_codes=(4,), missing=True),
    )
)
#: Rows as typed into the form one after the other; "" is missing, what is left out stays as it was.
TYPED = [
    {"area": "4.25", "sold": "2023-05-17T18:30", "town & street": '"b"'},
    {"income": "", "garden": "0", "town & street": ""},
    {"area": "-7", "income": "1e6", "garden": "", "town & street": "3"},
]


def small_model(task):
    """A model with every kind of feature."""
    classes = {"regression": (), "binary": (False, True), "multiclass": ("red", "green", "blue")}[task]
    rng, outputs = np.random.default_rng(0), len(classes) if task == "multiclass" else 1
    pencil = TridiagonalPencil(
        terms=tuple(Term(name, (i,)) for i, name in enumerate(FEATURES.names)),
        curves=CURVES,
        constant_diag=rng.standard_normal((outputs, 5)),
        constant_off_diag=rng.standard_normal((outputs, 4)),
        diag=0.4 * rng.standard_normal((CURVES.num_matrices, outputs, 5)),
        off_diag=0.4 * rng.standard_normal((CURVES.num_matrices, outputs, 4)),
    )
    ensemble = SpectralEnsemble(pencil, 2, np.ones(1), np.zeros(outputs))
    return SpectralModel(task, "price", FEATURES, ensemble, classes, {"name": task})


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The example with what it needs from the npm registry."""
    for name, found in (("chromium", CHROMIUM), ("node", shutil.which("node")), ("npm", shutil.which("npm"))):
        if found is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("site") / "browser"
    shutil.copytree(ROOT / "examples" / "browser", folder, ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm cannot install onnxruntime-web: {str(error.stderr)[-200:]}")
    return folder


@pytest.fixture(scope="module")
def address(site):
    """The site's address while it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=site))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_the_page_shows_what_the_model_says(task, site, address):
    model = small_model(task)
    (site / f"{task}.onnx").write_bytes(onnx_bytes(model, ExportSettings(explain=True)))
    command = ["node", "drive.mjs", CHROMIUM, f"{address}?model={task}.onnx", json.dumps(TYPED)]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["troubles"] == []
    row = {feature.name: feature.typical for feature in model.features.features}
    row["sold"] = "2022-01-08T06:00"  # 19000.25 days
    for changes, found in zip(TYPED, said["found"], strict=True):
        row = {**row, **{key: as_value(model, key, value) for key, value in changes.items()}}
        explanation = model.explain([row], method="eigenvector")
        for part in ("score", "baseline", "contributions", "gap"):
            # The promise of float64 files, in wasm as everywhere.
            expected = np.ravel(getattr(explanation, part))
            # The model's own gaps are right to one part in 128.
            relative = 1.0 / 128.0 if part == "gap" else 1e-9
            np.testing.assert_allclose(found[part], expected, rtol=relative, atol=1e-9 * np.abs(expected).max())
        if model.classes:
            np.testing.assert_allclose(found["probabilities"], model.predict_proba([row])[0], rtol=1e-9)
    if model.classes:
        shown = [f"{name}: {100 * p:.1f} %" for name, p in zip(model.classes, found["probabilities"], strict=True)]
        assert all(text.lower() in said["shown"].lower() for text in shown)
    for term in explanation.terms:
        assert term in said["shown"]


def test_a_file_that_is_not_there_is_reported(site, address):
    command = ["node", "drive.mjs", CHROMIUM, f"{address}?model=nothing.onnx", "[]"]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=120)
    assert "The model cannot be loaded: nothing.onnx: 404" in json.loads(done.stdout)["shown"]


def as_value(model, name, typed):
    """What was typed or chosen, as a row of the model has it."""
    if typed == "":
        return None
    kind = model.features.features[model.features.names.index(name)].kind
    return {"numeric": float, "datetime": str, "boolean": lambda text: text == "1", "categorical": str}[kind](typed)
