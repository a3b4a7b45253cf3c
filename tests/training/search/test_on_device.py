"""Members trained as one batch of tensors are those that the kernels train, whatever their curves, loss and size."""

import sys
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.target import Target
from eigenserve.training.estimators import SpectralRegressor
from eigenserve.training.fit import fit
from eigenserve.training.kernels.losses import losses
from eigenserve.training.planning.clock import Clock
from eigenserve.training.progress import Silent
from eigenserve.training.search.halving import Search
from eigenserve.training.search.jobs import OutOfTimeError
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.members import Task
from eigenserve.training.search.on_device import run
from eigenserve.training.search.on_device.run import train_batches
from eigenserve.training.search.preparation.links import prepare_linked
from eigenserve.training.search.preparation.planned import plan_fit
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.tasks import train_tasks
from eigenserve.training.settings import make_settings


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def table(task="regression", rows=500):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, rows))
    frame = pd.DataFrame({"a": a, "b": b, "c": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))})
    frame["code"] = rng.choice(list("xyz"), rows)
    score = np.abs(a) + a * b + (frame.code == "x") + 0.3 * rng.normal(size=rows)
    classes = ()
    if task == "binary":
        score, classes = (score > 1.0).astype(float), ("n", "y")
    elif task == "multiclass":
        score, classes = np.digitize(score, [0.5, 1.5]).astype(float), ("l", "m", "h")
    elif task == "poisson":
        score = rng.poisson(np.exp(0.3 * score)).astype(float)
    return frame, Target("y", task, score.to_numpy() if hasattr(score, "to_numpy") else score, classes)


def bench_of(task="regression", **settings):
    frame, goal = table(task)
    made = make_settings({"dim": 5, "pairs": "a:b", **settings})
    space = infer_features(frame, {*made.convex, *made.concave})
    scope = plan_fit(space, frame, goal, made).scope
    columns = space.encode(frame)
    return prepare_linked(space, columns, goal, np.ones(len(frame)), made, scope, Clock(60.0), core_seconds=1.0)[1]


SETTINGS = {
    "regression": {},
    "binary": {"task": "binary"},
    "multiclass": {"task": "multiclass"},
    "poisson": {"task": "poisson"},
    "quantile": {"loss": "quantile", "quantile": 0.8},
    "monotone": {"monotone": "a=+,c=-"},
    "convex": {"pairs": "none", "convex": ["a"], "monotone": "a=-"},
    "concave": {"pairs": "none", "concave": ["a", "c"]},
    "capped": {"pairs": "none", "max_strength": "a=0.2"},
    "linear": {"pairs": "none", "curves": "linear"},
    "one by one": {"dim": 1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_members_of_a_batch_are_those_of_the_kernels(settings, one_thread):
    bench = replace(bench_of(**settings), device="torch-cpu")
    ways = [way for way in bench.suitable() if way.level == 0][:3]
    tasks = [Task(way, steps, fold, (i,)) for i, way in enumerate(ways) for steps, fold in ((1, 0), (1, 1), (6, None))]
    for task, member in train_batches(bench, tasks, lambda share: True):
        slow = bench.train(*task, Event())
        # Adam divides a slope by its size: one that is all rounding may step either way, and such are few.
        rate, apart = bench.learning_rate, np.abs(slow.params - member.params)
        assert np.quantile(apart, 0.99) <= 2e-2 * rate
        assert apart.max() <= 2.1 * rate * task.steps
        np.testing.assert_allclose(member.offset, slow.offset, atol=1e-3 * rate)
        if task.fold is not None:
            # float32 matrices with entries near 10, and eigenvalues to 1e-6 of the spectrum's width.
            np.testing.assert_allclose(member.scores, slow.scores, atol=1e-5)
            assert one_fold_loss(bench, task.fold, member.scores) == pytest.approx(
                one_fold_loss(bench, task.fold, slow.scores), abs=1e-6
            )


def one_fold_loss(bench, fold, scores):
    held = bench.fold == fold
    return losses(*bench.judging, scores, bench.rows.target[held].astype(np.float64)).mean()


def search_on(bench, device):
    search = Search(replace(bench, device=device, max_candidates=3), lambda dim: 4, Silent())
    search.run((40,), core_s=1e6, vary=False)
    return search.judged


def test_a_search_judges_the_same_candidates_by_the_same_losses(one_thread):
    bench = bench_of("binary")
    ours, theirs = (search_on(bench, device) for device in ("torch-cpu", "cpu"))
    assert [entry.candidate for entry in ours] == [entry.candidate for entry in theirs]
    # 40 steps from the same numbers with the same rows: noise of seeds is 1e-2 here.
    np.testing.assert_allclose([entry.loss for entry in ours], [entry.loss for entry in theirs], rtol=1e-4)


def test_a_finished_model_of_a_device_predicts_as_the_cpus(one_thread):
    frame, goal = table(rows=200)
    frame["y"] = goal.values
    settings = {"curves": "linear", "epochs": 2, "members": 2, "dim": 5}
    ours, theirs = (fit(frame, "y", make_settings({**settings, "device": name})) for name in ("torch-cpu", "cpu"))
    assert ours.model.card["training"]["settings"]["device"] == "torch-cpu"
    np.testing.assert_allclose(ours.model.predict(frame), theirs.model.predict(frame), atol=1e-3)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)


def test_members_wait_for_room_in_the_devices_memory(one_thread, monkeypatch):
    bench = replace(bench_of(), device="torch-cpu")
    tasks = [Task(bench.suitable()[0], 3, fold, (fold,)) for fold in range(4)]
    together = dict(train_batches(bench, tasks, lambda share: True))
    monkeypatch.setattr(run, "_most_members", lambda *_: 3)
    shares = []
    apart = dict(train_batches(bench, tasks, lambda share: not shares.append(share)))
    for task in tasks:
        np.testing.assert_allclose(apart[task].scores, together[task].scores, atol=1e-6)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75, 10 / 12, 11 / 12, 1.0])


def test_a_batch_ends_with_what_it_has_or_is_given_up(one_thread, tmp_path):
    bench, journal = replace(bench_of(), device="torch-cpu"), Journal(tmp_path / "search")
    tasks = [Task(bench.suitable()[0], 5, fold, (fold,)) for fold in range(2)]
    (first, _) = train_tasks(bench, tasks, cut=lambda: True, journal=journal)
    short = bench.train(bench.suitable()[0], 5, 0, (0,), Event(), late=lambda: True)
    assert len(first.scores) == len(short.scores)
    assert journal.scores((0,)) is None
    with pytest.raises(OutOfTimeError):
        list(train_tasks(bench, tasks, late=lambda: True))
    whole = list(train_tasks(bench, tasks, journal=journal))
    again = list(train_tasks(bench, tasks, late=lambda: True, journal=journal))
    np.testing.assert_array_equal(again[1].scores, whole[1].scores)


def test_a_device_that_is_missing_is_named_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    command = ["fit", str(tmp_path / "none.csv"), "--target", "y", "--store", str(tmp_path), "--device"]
    assert main([*command, "cuda"]) == 2
    assert "device cuda needs a CUDA device" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert main([*command, "gpu"]) == 2
    assert "device must be cpu, cuda or cuda:N; got 'gpu'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="device cuda needs a CUDA device"):
        SpectralRegressor(device="cuda").fit(np.eye(30), np.arange(30.0))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([*command, "cuda:1"]) == 2
    assert "pip install 'eigenserve[train]'" in capsys.readouterr().err


def test_several_processes_train_on_the_cpu():
    bench = SimpleNamespace(device="cuda")
    with pytest.raises(UserError, match="trains in one process; got 2"):
        list(train_tasks(bench, [], Ranks(0, 2)))
