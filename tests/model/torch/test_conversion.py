"""From module to served model and back: the same scores, saved, served over HTTP, explained and exported."""

import httpx
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from tests.support.server_process import running_server  # noqa: E402
from tests.support.twin import random_model, random_rows  # noqa: E402

from eigenserve.model import ModelStore  # noqa: E402
from eigenserve.torch import (  # noqa: E402
    PiecewiseCurves,
    SpectralEnsemble,
    SpectralLayer,
    SpectralNeuron,
    from_model,
    to_model,
)

NAMES = ["a", "b", "c"]


def raw_rows(count=40, seed=0):
    return np.random.default_rng(seed).normal([5.0, -1.0, 100.0], [2.0, 0.5, 30.0], (count, 3))


def curved(basis="hats"):
    knots = [(-1.0, 0.0, 0.7), (-0.5, 0.5), (-2.0, -1.0, 1.0, 2.0)]
    curves = PiecewiseCurves.through(knots, basis=basis)
    return torch.nn.Sequential(curves, SpectralEnsemble(curves.out_features, 1, 5, members=3, dtype=torch.float64))


MODULES = {
    "neuron": lambda: SpectralNeuron(3, 7, 2, dtype=torch.float64),
    "ensemble": lambda: SpectralEnsemble(3, 1, 5, members=3, dtype=torch.float64),
    "curves": curved,
    "ramps": lambda: curved("ramps"),
}


@pytest.mark.parametrize("kind", MODULES)
def test_a_model_scores_as_the_module_it_was_made_from(kind):
    module, raw = MODULES[kind](), raw_rows()
    center, scale = raw.mean(0), raw.std(0)
    model = to_model(
        module, features=NAMES, target="y", center=center, scale=scale, rows=raw, target_center=3.0, target_scale=2.5
    )
    truth = 3.0 + 2.5 * module(torch.from_numpy((raw - center) / scale)).detach().numpy().reshape(-1)
    assert model.predict(raw) == pytest.approx(truth, abs=1e-12)
    explanation = model.explain(raw)
    total = explanation.baseline + explanation.contributions.sum(1)
    assert total == pytest.approx(truth, abs=1e-11)
    assert [term.name for term in model.ensemble.pencil.terms] == NAMES
    assert model.features.features[0].low == raw[:, 0].min()


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass", "poisson"])
def test_a_module_scores_as_the_model_it_was_made_from_and_gives_it_back(task):
    model, given = random_model(task), random_rows(60)
    module = from_model(model)
    columns = model.features.encode(given)
    coordinates = torch.from_numpy(model.features.coordinates(columns))
    scores = model.scores(columns)
    assert module(coordinates).detach().numpy() == pytest.approx(scores, abs=1e-12 * max(1.0, np.abs(scores).max()))
    again = to_model(module, like=model)
    assert np.array_equal(again.scores(columns), scores)
    assert (again.task, again.classes, again.ensemble.pencil.terms) == (
        model.task,
        model.classes,
        model.ensemble.pencil.terms,
    )


def test_a_model_can_be_tuned_further_in_torch():
    model, given = random_model("regression"), random_rows(60)
    columns = model.features.encode(given)
    z, target = torch.from_numpy(model.features.coordinates(columns)), torch.from_numpy(model.scores(columns)) + 1.0
    module = from_model(model)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(z), target).backward()
        optimizer.step()
    tuned = to_model(module, like=model)
    before, after = (np.abs(m.scores(columns) - target.numpy()).mean() for m in (model, tuned))
    assert after < 0.5 * before


def test_curves_in_ramps_are_monotone_once_served():
    curves = PiecewiseCurves.through([(-1.0, 0.0, 1.0), (-1.0, 1.0)], basis="ramps")
    signs = curves.monotone_signs({0: 1, 1: -1})
    layer = SpectralNeuron(curves.out_features, 5, monotone=signs, dtype=torch.float64)
    model = to_model(torch.nn.Sequential(curves, layer), features=["up", "down"], target="y")
    assert model.certificates().monotone == {"up": "+", "down": "-"}


def test_a_module_is_saved_served_and_exported(tmp_path):
    module, raw = SpectralEnsemble(3, 1, 5, members=2, dtype=torch.float64), raw_rows(8)
    model = to_model(module, features=NAMES, target="y", center=5.0, scale=10.0, rows=raw)
    store = ModelStore(tmp_path / "store")
    store.save("made", model)
    truth = module(torch.from_numpy((raw - 5.0) / 10.0)).detach().numpy()[:, 0]
    with running_server(store.root, tmp_path / "log") as server:
        rows = [dict(zip(NAMES, row, strict=True)) for row in raw.tolist()]
        answer = httpx.post(f"{server.url}/predict", json={"model": "made", "instances": rows}).json()
        assert answer["predictions"] == pytest.approx(truth.tolist(), abs=1e-12)
        explained = httpx.post(f"{server.url}/explain", json={"model": "made", "instances": rows[:1]}).json()
        entry = explained["explanations"][0]
        assert entry["baseline"] + sum(entry["contributions"].values()) == pytest.approx(truth[0], abs=1e-9)


def test_an_exported_onnx_file_of_a_module_agrees():
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from eigenserve.model.onnx import ExportSettings, graph_inputs, onnx_bytes

    module, raw = curved("ramps"), raw_rows(8)
    model = to_model(module, features=NAMES, target="y", center=5.0, scale=10.0)
    session = onnxruntime.InferenceSession(onnx_bytes(model))
    (scores,) = session.run(["prediction"], graph_inputs(model, raw, ExportSettings()))
    truth = module(torch.from_numpy((raw - 5.0) / 10.0)).detach().numpy()
    assert scores.reshape(-1, 1) == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "classification"}, "task must be regression, binary, multiclass or poisson; got 'classification'"),
        ({"task": "classify", "classes": ["no", "yes"]}, "task must be regression, .*; got 'classify'"),
        ({"task": None}, "task must be regression, .*; got None"),
        ({"classes": ["no", "yes"]}, "a regression model must have no classes.*With classes the task is binary"),
        ({"task": "poisson", "classes": list("xyz")}, "must have no classes.*With classes the task is multiclass"),
        ({"task": "binary"}, "a binary model must have 2 classes"),
        ({"task": "multiclass", "classes": list("xyz")}, "a multiclass model has 3 outputs; got 1"),
    ],
)
def test_a_task_that_is_none_or_does_not_match_is_refused_with_those_there_are(options, message):
    with pytest.raises(ValueError, match=message):
        to_model(SpectralNeuron(3, 5), features=NAMES, target="y", **options)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_module_that_gives_logits_becomes_a_classifier(task, tmp_path):
    classes = ["no", "maybe", "yes"] if task == "multiclass" else ["no", "yes"]
    layer = SpectralLayer(3, len(classes) if task == "multiclass" else 1, 5, dtype=torch.float64)
    model = to_model(layer, features=NAMES, target="y", task=task, classes=classes)
    ModelStore(str(tmp_path / "store")).save("made", model)
    again = ModelStore(tmp_path / "store").load("made")
    x = np.random.default_rng(0).normal(size=(5, 3))
    logits = layer(torch.from_numpy(x)).detach()
    truth = logits.softmax(1) if task == "multiclass" else torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1)
    assert again.predict_proba(x) == pytest.approx(truth.numpy(), abs=1e-12)
    assert set(again.predict(x)) <= set(classes)


def test_what_cannot_be_served_is_refused():
    with pytest.raises(ValueError, match="set smoothing to None"):
        to_model(SpectralNeuron(3, 5, smoothing=0.1), features=NAMES, target="y")
    with pytest.raises(ValueError, match="the module takes 3 inputs; got 2 features"):
        to_model(SpectralNeuron(3, 5), features=NAMES[:2], target="y")
    network = torch.nn.Sequential(SpectralLayer(3, 4, 5), torch.nn.Tanh(), SpectralNeuron(4, 5))
    with pytest.raises(TypeError, match="got SpectralLayer, Tanh, SpectralNeuron"):
        to_model(network, features=NAMES, target="y")
    with pytest.raises(ValueError, match="needs features and target"):
        to_model(SpectralNeuron(3, 5))
    with pytest.raises(ValueError, match="target_scale must be positive"):
        to_model(SpectralNeuron(3, 5), features=NAMES, target="y", target_scale=0.0)
