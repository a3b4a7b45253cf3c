"""`eigenserve export` writes files of the demo models that strangers can serve."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("pandas")

from eigenserve.cli import main  # noqa: E402
from eigenserve.model import ModelStore, load_model  # noqa: E402
from eigenserve.model.matrices.curves import Curve, CurveSet, Term  # noqa: E402
from eigenserve.model.matrices.ensemble import SpectralEnsemble  # noqa: E402
from eigenserve.model.matrices.pencil import TridiagonalPencil  # noqa: E402
from eigenserve.model.onnx import ExportSettings, agreement  # noqa: E402
from eigenserve.model.spectral import SpectralModel  # noqa: E402
from eigenserve.training.data.schema import infer_features  # noqa: E402
from eigenserve.training.data.table import read_table  # noqa: E402

DATA = Path(__file__).parents[3] / "examples" / "data"
#: File, target, task and a pair of each demo model.
DEMOS = {
    "housing": ("california_housing_test.csv", "median_house_value", "regression", ("longitude", "latitude")),
    "adult": ("adult.csv.gz", "Income", "binary", ("Education", "Age")),
    "titanic": ("titanic.csv", "survived", "binary", ("sex", "pclass")),
    "penguins": ("penguins.csv", "species", "multiclass", ("bill_length_mm", "island")),
    "weights": ("penguins.csv", "body_mass_g", "poisson", ("sex", "species")),
}
#: A model server of its own: it has onnxruntime and a file, and nothing of this project on its path.
STRANGER = """
import http.server, json, sys
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
kinds = {"tensor(double)": np.float64, "tensor(string)": object}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        columns = {
            i.name: np.array([[row[i.name]] for row in rows], kinds[i.type]) for i in session.get_inputs()
        }
        names = [output.name for output in session.get_outputs()]
        found = {name: part.tolist() for name, part in zip(names, session.run(names, columns))}
        body = json.dumps({"outputs": found, "modules": sorted(sys.modules)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def demo_model(name, seed=0):
    """A demo model's features, terms and curves with random weights: the file is judged, not a fit."""
    file, target, task, pair = DEMOS[name]
    table = read_table(DATA / file)
    table = table[table[target].notna()]
    space = infer_features(table.drop(columns=target))
    coordinates = space.coordinates(space.encode(table))
    names = list(space.names)
    terms = [(i,) for i in range(len(names))] + [tuple(names.index(part) for part in pair)]
    curves = []
    for term, members in enumerate(terms):
        chosen = [space.features[i] for i in members]
        categorical = tuple(i for i in members if space.features[i].kind == "categorical")
        numeric = tuple(i for i in members if i not in categorical)
        direction = (1.0, 0.7)[: len(numeric)]
        place = coordinates[:, list(numeric)] @ np.array(direction)
        knots = np.unique(np.nanquantile(place, np.linspace(0, 1, 12))) if numeric else np.zeros(1)
        curves.append(
            Curve(
                term,
                numeric,
                direction,
                categorical,
                tuple(space.features[i].num_codes for i in categorical),
                tuple(knots.tolist()),
                missing=any(feature.missing for feature in chosen),
            )
        )
    classes = tuple(sorted(table[target].unique().tolist())) if task in ("binary", "multiclass") else ()
    outputs = len(classes) if task == "multiclass" else 1
    rng, shape, curve_set = np.random.default_rng(seed), (2 * outputs, 15), CurveSet(tuple(curves))
    pencil = TridiagonalPencil(
        terms=tuple(Term(" & ".join(names[i] for i in members), members) for members in terms),
        curves=curve_set,
        constant_diag=rng.standard_normal(shape),
        constant_off_diag=rng.standard_normal((shape[0], 14)),
        diag=0.2 * rng.standard_normal((curve_set.num_matrices, *shape)),
        off_diag=0.2 * rng.standard_normal((curve_set.num_matrices, shape[0], 14)),
    )
    ensemble = SpectralEnsemble(pencil, 7, np.array([0.4, 0.6]), rng.standard_normal(outputs))
    return SpectralModel(task, target, space, ensemble, classes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the demo models."""
    folder = tmp_path_factory.mktemp("models")
    for name in DEMOS:
        ModelStore(folder).save(name, demo_model(name))
    return folder


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", DEMOS)
def test_demo_models_agree_on_their_own_data(name, precision, store, tmp_path):
    out = tmp_path / "model.onnx"
    arguments = ["export", str(store / name), "--out", str(out), "--explain", "--precision", precision]
    assert main(arguments) == 0
    model, rows = load_model(store / name), read_table(DATA / DEMOS[name][0]).head(1000)
    settings, columns = ExportSettings(explain=True, precision=precision), model.features.encode(rows)
    found = agreement.run(out.read_bytes(), agreement.graph_inputs(model, columns, settings))
    ratios = agreement.compare(model, columns, found, settings)
    # At a knot a derivative is the one from the right, and rounding of a logarithm decides on which side of
    # the knot a row stands; rows of training data stand on knots often.
    del ratios["sensitivities"]
    assert max(ratios.values()) <= 1.0, ratios


def test_a_server_that_knows_nothing_of_this_project_serves_the_file(store, tmp_path):
    out = tmp_path / "model.onnx"
    assert main(["export", str(store / "titanic"), "--out", str(out), "--explain"]) == 0
    model, rows = load_model(store / "titanic"), read_table(DATA / "titanic.csv").head(20)
    texts = {feature.name for feature in model.features.features if feature.kind == "categorical"}
    body = []
    for row in rows[list(model.features.names)].to_dict("records"):
        missing = {key for key, value in row.items() if value != value or value is None}
        body.append(
            {key: ("" if key in texts else float("nan")) if key in missing else value for key, value in row.items()}
        )
    # -I: neither the current folder nor the environment's path.
    command = [sys.executable, "-I", "-c", STRANGER, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", int(server.stdout.readline()), timeout=30)
            connection.request("POST", "/", json.dumps(body))
            answer = json.loads(connection.getresponse().read())
            connection.close()
        finally:
            server.terminate()
    assert not {"model", "training", "numba", "scipy"} & set(answer["modules"])
    explanation = model.explain(rows, method="eigenvector")
    np.testing.assert_allclose(answer["outputs"]["contributions"], explanation.contributions, rtol=1e-9, atol=1e-9)
    assert np.ravel(answer["outputs"]["label"]).tolist() == model.predict(rows).tolist()


def test_the_last_line_is_json_where_asked_for(store, tmp_path, capsys):
    out = tmp_path / "penguins.onnx"
    assert main(["export", str(store / "penguins"), "--out", str(out), "--opset", "21", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["model"], said["opset"], said["bytes"]) == ("penguins", 21, out.stat().st_size)
    assert onnx.load(out).opset_import[0].version == 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["STORE/nothing", "--out", "x.onnx"], "no model at"),
        (["STORE/penguins", "--out", "missing/x.onnx"], "cannot write"),
        (["STORE/penguins", "--out", "x.onnx", "--opset", "9"], "opset must be in"),
        (["STORE/penguins"], "--out"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments, message, store, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *(part.replace("STORE", str(store)) for part in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_agree_is_not_written(store, tmp_path, capsys, monkeypatch):
    # Another model of the same features in place of the exported one.
    other = agreement.to_onnx(demo_model("titanic", seed=1), ExportSettings())
    monkeypatch.setattr(agreement, "to_onnx", lambda model, settings: other)
    assert main(["export", str(store / "titanic"), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "must agree with the model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
