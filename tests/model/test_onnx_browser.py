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
pytest.importorskip("torch")

from model import load_model
from training.cli import main

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Rows as typed into the form; what is left out keeps the typical value, "" is missing.
MODELS = {
    "housing": (
        "california_housing_test.csv --target median_house_value --pairs longitude:latitude",
        [{"longitude": "-122.4", "latitude": "37.8", "median_income": "8.5"}, {"total_rooms": "12345"}],
    ),
    "titanic": (
        "titanic.csv --target survived --exclude alive",
        [{"age": "", "sex": "female"}, {"age": "4", "deck": "B", "alone": "0"}],
    ),
}


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


@pytest.mark.parametrize("name", MODELS)
def test_the_page_shows_what_the_model_says(name, site, address, tmp_path):
    words, typed = MODELS[name]
    data, *options = words.split()
    store = ["--name", name, "--store", str(tmp_path), "--epochs", "1", "--members", "2"]
    assert main(["fit", str(ROOT / "examples" / "data" / data), *options, *store]) == 0
    assert main(["export", str(tmp_path / name), "--out", str(site / f"{name}.onnx"), "--explain"]) == 0
    command = ["node", "drive.mjs", CHROMIUM, f"{address}?model={name}.onnx", json.dumps(typed)]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["troubles"] == []
    model = load_model(tmp_path / name)
    row = {feature.name: feature.typical for feature in model.features.features}
    for changes, found in zip(typed, said["found"], strict=True):
        row = {**row, **{key: as_value(model, key, value) for key, value in changes.items()}}
        explanation = model.explain([row])
        for part in ("score", "baseline", "contributions", "gap"):
            # The promise of float64 files, in wasm as everywhere.
            expected = np.ravel(getattr(explanation, part))
            np.testing.assert_allclose(found[part], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
        if model.classes:
            assert found["label"] == model.predict([row]).tolist()
            assert f"{100 * found['probabilities'][1]:.1f} %" in said["shown"] or changes is not typed[-1]
    for term in explanation.terms:
        assert term in said["shown"]


def test_a_file_that_is_not_there_is_told(site, address):
    command = ["node", "drive.mjs", CHROMIUM, f"{address}?model=nothing.onnx", "[]"]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=120)
    assert "The model cannot be loaded: nothing.onnx: 404" in json.loads(done.stdout)["shown"]


def as_value(model, name, typed):
    """What was typed or chosen, as a row of the model has it."""
    if typed == "":
        return None
    kind = model.features.features[model.features.names.index(name)].kind
    return {"numeric": float, "boolean": lambda text: text == "1", "categorical": str}[kind](typed)
