"""Curvature of trained models: losses, figures, files and the command."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model.checkpoints.local_store import ModelStore
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.curvature.device import choose_device
from eigenserve.training.curvature.measure import choose_loss, measure_curvature
from eigenserve.training.curvature.plot import BEGIN, curvature_figure, with_section, write_curvature
from eigenserve.training.data.schema import infer_features
from eigenserve.training.kernels.losses import HUBER, LOGISTIC, POISSON, SOFTMAX, losses

KINDS = {"regression": HUBER, "binary": LOGISTIC, "multiclass": SOFTMAX, "poisson": POISSON}


def _table(task: str, rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, rows))
    score = a + 0.5 * b * (a > 0)
    target = {
        "regression": 100 * score + rng.normal(size=rows),
        "binary": np.where(score + rng.normal(size=rows) > 0, "yes", "no"),
        "multiclass": np.digitize(score, [-0.5, 0.5]),
        "poisson": rng.poisson(np.exp(0.5 * score)),
    }[task]
    return pd.DataFrame({"a": a, "b": b, "y": target})


def _model(task: str) -> tuple[SpectralModel, pd.DataFrame]:
    """A model with random matrices, of dimension 3 with one member, and a table for it."""
    table = _table(task)
    space = infer_features(table[["a", "b"]])
    classes = tuple(np.unique(table.y).tolist()) if task in ("binary", "multiclass") else ()
    outputs = len(classes) if task == "multiclass" else 1
    knots = {"direction": (1.0,), "knots": (-1.0, 1.0), "extend": True}
    curves = CurveSet((Curve(0, numeric=(0,), **knots), Curve(1, numeric=(1,), **knots)))
    rng = np.random.default_rng(2)
    scale = 100.0 if task == "regression" else 1.0
    shapes = [(outputs, 3), (outputs, 2), (4, outputs, 3), (4, outputs, 2)]
    pencil = TridiagonalPencil(
        (Term("a", (0,)), Term("b", (1,))), curves, *(scale * rng.normal(size=shape) for shape in shapes)
    )
    ensemble = SpectralEnsemble(pencil, 1, np.ones(1), np.zeros(outputs))
    return SpectralModel(task, "y", space, ensemble, classes), table


@pytest.mark.parametrize("task", KINDS)
def test_the_loss_is_the_one_of_training(task):
    model, _ = _model(task)
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(50, 3 if task == "multiclass" else 1))
    target = rng.integers(0, 2, 50).astype(float)
    _, row_loss = choose_loss(model)
    expected = losses(KINDS[task], 0.5, scores, target)
    found = row_loss(torch.from_numpy(scores), torch.from_numpy(target))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("task", KINDS)
def test_every_task_has_a_curvature(task):
    model, table = _model(task)
    found = measure_curvature(model, table, top=2, probes=4)
    assert found.rows == len(table)
    assert bool(found.top.converged.all())
    assert bool((found.top.eigenvalues > 0).all())
    # So small a Hessian is seen whole by the quadrature.
    nodes, weights = found.spectrum.nodes, found.spectrum.weights
    assert float(found.top.eigenvalues[0]) == pytest.approx(nodes.max(), rel=1e-6)
    assert weights.sum() == pytest.approx(1.0)


def test_figures_do_not_depend_on_the_unit_of_the_target():
    model, table = _model("regression")
    ensemble, pencil = model.ensemble, model.ensemble.pencil
    names = ("constant_diag", "constant_off_diag", "diag", "off_diag")
    scaled = replace(pencil, **{name: 1000 * getattr(pencil, name) for name in names})
    other = replace(model, ensemble=replace(ensemble, pencil=scaled, offset=1000 * ensemble.offset))
    first = measure_curvature(model, table, top=2)
    second = measure_curvature(other, table.assign(y=1000 * table.y), top=2)
    # Rounding of the scaled matrices, through eigenvalues that converged to 1e-3 squared.
    np.testing.assert_allclose(second.top.eigenvalues, first.top.eigenvalues, rtol=1e-6)
    assert second.loss_value == pytest.approx(first.loss_value, rel=1e-9)


def test_a_model_of_the_logarithm_has_the_curvature_of_poissons_loss():
    model, table = _model("poisson")
    prices = replace(model, task="regression", log_link=True)
    assert choose_loss(prices)[0] == "poisson"
    assert measure_curvature(prices, table, top=1).top.eigenvalues[0] > 0
    for wrong in (table.y - 1.0, 0.0 * table.y):
        with pytest.raises(UserError, match="'y' must be at least 0"):
            measure_curvature(prices, table.assign(y=wrong), top=1)


def test_rows_count_by_their_weight_and_exposure():
    model, table = _model("poisson")
    settings = {"training": {"settings": {"weight": "w", "exposure": "e"}}}
    weighted = replace(model, card=settings)
    twice = pd.concat([table, table.iloc[:50]])
    plain = measure_curvature(model, twice, top=2)
    counted = measure_curvature(weighted, table.assign(w=1.0 + (np.arange(200) < 50), e=1.0), top=2)
    np.testing.assert_allclose(counted.top.eigenvalues, plain.top.eigenvalues, rtol=1e-6)
    # A count over three units of exposure is a third of it, three times.
    exposed = measure_curvature(weighted, table.assign(y=3 * table.y, w=1.0, e=3.0), top=2)
    once = measure_curvature(model, table, top=2)
    np.testing.assert_allclose(exposed.top.eigenvalues, once.top.eigenvalues, rtol=1e-6)
    with pytest.raises(UserError, match="no column 'w'"):
        measure_curvature(weighted, table)


def test_the_curvature_of_counts_does_not_depend_on_the_unit_of_the_exposure():
    model, table = _model("poisson")
    settings = {"training": {"settings": {"exposure": "e"}}}
    found = []
    for unit in (1.0, 1e6):
        ensemble = replace(model.ensemble, offset=model.ensemble.offset - np.log(unit))
        per_unit = replace(model, card=settings, ensemble=ensemble)
        found.append(measure_curvature(per_unit, table.assign(e=unit), top=2).top.eigenvalues)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_too_many_eigenvalues_are_reported():
    model, table = _model("regression")
    with pytest.raises(UserError, match="--top must be"):
        measure_curvature(model, table, top=10**6)


def test_the_command_writes_figures_and_a_plot_next_to_the_model(tmp_path, capsys):
    model, table = _model("regression")
    ModelStore(tmp_path).save("demo", model)
    folder = tmp_path / "demo" / "1"
    (folder / "report.html").write_text("<html><body><p>before</p></body></html>")
    before = {name: (folder / name).read_bytes() for name in ("model.json", "model.safetensors")}
    table.to_csv(tmp_path / "rows.csv", index=False)
    arguments = ["curvature", str(tmp_path / "demo"), str(tmp_path / "rows.csv"), "--top", "2", "--json"]
    threads = torch.get_num_threads()
    try:
        for _ in range(2):  # measuring again replaces what was written
            assert main(arguments) == 0
            printed = json.loads(capsys.readouterr().out.splitlines()[-1])
            written = json.loads((folder / "curvature.json").read_text())
            assert written["top"] == printed["top"]
            assert len(written["top"]["eigenvalues"]) == 2
            assert written["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
            text = (folder / "report.html").read_text()
            assert text.count(BEGIN) == 1
            assert "<p>before</p>" in text
            assert text.endswith("</body></html>")
    finally:
        torch.set_num_threads(threads)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert ModelStore(tmp_path).load("demo").card["version"] == 1
    assert not list(folder.glob(".draft-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "-1"], "--seed must be in"),
        (["--seed", str(2**64)], "--seed must be in"),
        (["--device", "gpu"], "invalid choice: 'gpu'"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda needs a CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA"),
        ),
    ],
)
def test_a_mistaken_option_is_reported_in_one_line(change, message, tmp_path, capsys):
    model, table = _model("binary")
    ModelStore(tmp_path).save("demo", model)
    table.to_csv(tmp_path / "rows.csv", index=False)
    threads = torch.get_num_threads()
    try:
        assert main(["curvature", str(tmp_path / "demo"), str(tmp_path / "rows.csv"), "--top", "1", *change]) == 2
    finally:
        torch.set_num_threads(threads)
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not (tmp_path / "demo" / "1" / "curvature.json").exists()


def test_the_device_is_the_one_asked_for(monkeypatch):
    for has_cuda in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        assert choose_device("cpu") == "cpu"
        assert choose_device("auto") == ("cuda" if has_cuda else "cpu")
    assert choose_device("cuda") == "cuda"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("task", KINDS)
def test_both_devices_measure_the_same(task):
    model, table = _model(task)
    here, there = (measure_curvature(model, table, top=2, device=device) for device in ("cpu", "cuda"))
    # Eigenvalues that converged to 1e-3, whose errors go with its square; the same starts on both devices.
    np.testing.assert_allclose(there.top.eigenvalues.cpu(), here.top.eigenvalues, rtol=1e-6)
    assert there.spectrum.trace == pytest.approx(here.spectrum.trace, rel=1e-6)


def test_a_missing_model_is_reported_in_one_line(tmp_path, capsys):
    assert main(["curvature", str(tmp_path / "none"), "rows.csv"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_report_that_brings_plotly_does_not_get_it_again():
    model, table = _model("binary")
    document = measure_curvature(model, table, top=2).document()
    lean = with_section("<html><body><script>Plotly.newPlot('x')</script></body></html>", document)
    assert len(lean) < 100_000  # plotly itself is megabytes
    assert len(curvature_figure(document).data) == 3


def test_without_a_report_the_figures_alone_are_written(tmp_path):
    model, table = _model("binary")
    document = measure_curvature(model, table, top=2).document()
    assert write_curvature(tmp_path, document) == [tmp_path / "curvature.json"]
