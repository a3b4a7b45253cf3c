"""Stores behind fsspec URLs: versions appear whole, copies are checked, and damage is reported."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigenserve.model import CheckpointError, SpectralModel, load_model
from eigenserve.model.checkpoints.local_store import ModelNotFoundError, ModelStore
from eigenserve.model.checkpoints.locations import open_store
from eigenserve.model.checkpoints.remote_store import RemoteStore
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace

fsspec = pytest.importorskip("fsspec", reason="needs fsspec")

_buckets = itertools.count()


def made(value: float) -> SpectralModel:
    """A model that predicts ``value`` times x."""
    pencil = TridiagonalPencil(
        (Term("x", (0,)),),
        CurveSet((Curve(0, (0,), (1.0,), knots=(0.0, 1.0), extend=True),)),
        *(np.zeros((1, 1)), np.zeros((1, 0)), np.array([0.0, value]).reshape(2, 1, 1), np.zeros((2, 1, 0))),
    )
    features = FeatureSpace((Feature("x", "numeric", typical=0.0),))
    return SpectralModel("regression", "y", features, SpectralEnsemble(pencil, 0, np.ones(1), np.zeros(1)))


@pytest.fixture
def store(tmp_path: Path) -> RemoteStore:
    opened = open_store(f"memory://bucket{next(_buckets)}/models/", tmp_path / "cache")
    assert isinstance(opened, RemoteStore)
    return opened


def disk(store: RemoteStore) -> Any:
    return store._filesystem[0]


def remote(store: RemoteStore, file: str) -> str:
    return f"{store._filesystem[1]}/{file}"


def test_what_is_saved_is_loaded_to_the_last_bit(store: RemoteStore):
    assert store.names() == []
    assert store.save("line", made(2.5)).card["version"] == 1
    saved = store.save("line", made(3.5), lambda folder, _: (folder / "report.html").write_text("<p>"))
    assert saved.card["version"] == 2
    assert (store.names(), store.versions("line")) == (["line"], [1, 2])
    assert store.load("line", 1).predict([[2.0]]).tolist() == [5.0]
    assert store.load("line").predict([[2.0]]).tolist() == [7.0]
    assert store.load("line").card["version"] == 2
    assert (store.report("line", 1), store.report("line", 2)) == (None, b"<p>")
    assert load_model(f"{store.root}/line").card["version"] == 2
    assert load_model(f"{store.root}/line/1").card["version"] == 1


def test_a_folder_may_be_given_as_a_url(tmp_path: Path):
    store = open_store(f"file://{tmp_path}/some/models", tmp_path / "cache")
    store.save("line", made(2.5))
    assert ModelStore(tmp_path / "some" / "models").load("line").predict([[2.0]]).tolist() == [5.0]
    assert store.load("line").predict([[2.0]]).tolist() == [5.0]


def test_a_version_whose_files_are_still_being_written_does_not_exist(store: RemoteStore):
    store.save("line", made(2.0))
    disk(store).pipe_file(remote(store, "line/2/model.json"), b"{}")
    disk(store).pipe_file(remote(store, "line/x/model.json"), b"{}")
    disk(store).pipe_file(remote(store, "..bad/1/model.json"), b"{}")
    assert store.names() == ["line"]
    assert store.versions("line") == [1]


def test_damage_is_reported_and_not_kept(store: RemoteStore):
    store.save("line", made(2.0))
    weights = remote(store, "line/1/model.safetensors")
    good = disk(store).cat_file(weights)
    disk(store).pipe_file(weights, good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="sha256"):
        store.load("line")
    disk(store).pipe_file(weights, good)
    assert store.load("line").predict([[2.0]]).tolist() == [4.0]


def test_a_damaged_copy_is_fetched_again_and_a_good_one_is_not(store: RemoteStore, monkeypatch: pytest.MonkeyPatch):
    store.save("line", made(2.0))
    store.load("line")
    (copy,) = store.cache.rglob("model.safetensors")
    copy.write_bytes(b"x")
    assert store.load("line").predict([[2.0]]).tolist() == [4.0]
    fetched: list[str] = []
    cat = disk(store).cat_file
    monkeypatch.setattr(disk(store), "cat_file", lambda path: (fetched.append(path), cat(path))[1])
    store.load("line")
    assert [path.rsplit("/", 1)[1] for path in fetched] == ["model.json"]


def test_a_version_that_was_written_again_is_another_one(store: RemoteStore):
    store.save("line", made(2.0))
    assert store.load("line").predict([[2.0]]).tolist() == [4.0]
    disk(store).rm(remote(store, "line"), recursive=True)
    store.save("line", made(9.0))
    assert store.load("line").predict([[2.0]]).tolist() == [18.0]
    assert len(list(store.cache.rglob("model.json"))) == 1


def test_what_is_not_there_is_reported(store: RemoteStore):
    store.save("line", made(2.0))
    with pytest.raises(ModelNotFoundError, match="versions: 1"):
        store.load("line", 7)
    with pytest.raises(ModelNotFoundError, match="no model 'other'"):
        store.load("other")
    with pytest.raises(ValueError, match="name"):
        store.versions("../line")
    with pytest.raises(ModelNotFoundError, match="STORE/NAME"):
        load_model("memory://line")


def test_an_unknown_protocol_is_one_clear_line(tmp_path: Path):
    with pytest.raises(ValueError, match="nope://x cannot be opened"):
        open_store("nope://x", tmp_path)
    assert isinstance(open_store(tmp_path), ModelStore)
