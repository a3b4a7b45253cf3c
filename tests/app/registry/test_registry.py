"""Which models are served, and what displaces them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.made_models import make_model

from eigenserve.app.agreement.agreement import Arbiter
from eigenserve.app.agreement.board import Board
from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.registry import served as served_module
from eigenserve.app.registry.peers import Workers
from eigenserve.app.registry.shelf import LOOKS_OF_PATIENCE
from eigenserve.model import CheckpointError, ModelStore
from eigenserve.model.checkpoints.local_store import ModelNotFoundError


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    store = ModelStore(tmp_path)
    store.save("price", make_model(seed=1))
    made = ModelRegistry(store)
    made.load_all()
    return made


def test_a_version_that_cannot_predict_displaces_nothing(registry: ModelRegistry, monkeypatch):
    def broken(served: ServedModel) -> None:
        raise ValueError("no such kernel")

    registry.store.save("price", make_model(seed=2))
    monkeypatch.setattr(served_module, "warm_up", broken)
    registry.look()
    assert registry.find("price").version == 1
    assert "no such kernel" in registry.failures["price", 2]


def test_a_request_keeps_the_model_it_began_with(registry: ModelRegistry):
    before = registry.find()
    registry.store.save("price", make_model(seed=2))
    registry.look()
    assert (before.version, registry.find().version) == (1, 2)
    registry.unload("price")
    assert before.model.predict([{}]) is not None
    with pytest.raises(ProblemError, match="no model 'price'"):
        registry.find("price")


def test_only_a_named_or_the_only_model_answers(registry: ModelRegistry):
    assert registry.find().name == "price"
    registry.store.save("other", make_model(seed=3))
    registry.look()
    with pytest.raises(ProblemError, match="other, price") as refused:
        registry.find()
    assert refused.value.status == 422
    registry.default = "other"
    assert registry.find().name == "other"


def test_a_model_without_any_good_version_is_refused(tmp_path: Path):
    store = ModelStore(tmp_path)
    store.save("price", make_model(), lambda folder, _: (folder / "model.json").write_text("{"))
    with pytest.raises(CheckpointError, match=r"model\.json"):
        ModelRegistry(store).load_all()


def test_one_bad_model_keeps_no_other_from_being_served(tmp_path: Path):
    store = ModelStore(tmp_path)
    store.save("bad", make_model(), lambda folder, _: (folder / "model.json").write_text("{"))
    store.save("price", make_model())
    made = ModelRegistry(store)
    made.load_all()
    assert list(made.served) == ["price"]
    assert made.unready_reason() is None
    assert list(made.failures) == [("bad", 1)]


def test_a_server_without_its_default_model_is_not_ready_until_it_has_it(tmp_path: Path):
    store = ModelStore(tmp_path)
    store.save("bad", make_model(), lambda folder, _: (folder / "model.safetensors").unlink())
    store.save("price", make_model())
    made = ModelRegistry(store, default="bad")
    made.load_all()
    assert made.find("price").version == 1
    assert "the default model 'bad' is not served" in (made.unready_reason() or "")
    assert "model.safetensors is missing" in (made.unready_reason() or "")
    store.save("bad", make_model())
    made.look()
    assert made.unready_reason() is None
    assert made.find().version == 2


def test_a_server_whose_models_are_all_gone_is_not_ready(registry: ModelRegistry, tmp_path: Path):
    shutil.rmtree(tmp_path / "price")
    for _ in range(LOOKS_OF_PATIENCE):
        assert registry.unready_reason() is None
        registry.look()
    assert registry.unready_reason() == "no model is served"
    registry.store.save("price", make_model())
    registry.look()
    assert registry.unready_reason() is None
    registry.unload("price")
    assert registry.unready_reason() is None  # as it was ordered


def test_a_load_on_request_takes_the_store_as_it_is_now(registry: ModelRegistry, tmp_path: Path):
    registry.store.save("price", make_model(seed=2))
    assert registry.load("price").version == 2
    shutil.rmtree(tmp_path / "price" / "2")
    assert registry.load("price").version == 1
    assert registry.find("price").version == 1
    (tmp_path / "price" / "1" / "model.json").write_text("{")
    assert registry.load("price").version == 1  # as it was loaded
    with pytest.raises(ModelNotFoundError, match="no model 'rent' in the store; models there: price"):
        registry.load("rent")
    registry.store.save("rent", make_model(), lambda folder, _: (folder / "model.json").write_text("{"))
    with pytest.raises(CheckpointError, match=r"rent/1/model\.json"):
        registry.load("rent")


class Sender:
    """Workers of one server in this process, whose messages arrive when ``deliver`` is called."""

    def __init__(self, folder: Path, keep_versions: int = 10) -> None:
        self.folder = folder
        folder.mkdir()
        self.arbiter = Arbiter(keep_versions, Board(folder).publish)
        self.messages: list[tuple[str, tuple[object, ...]]] = []

    def worker(self, number: int) -> Workers:
        return Workers(number, self.folder, lambda name, arguments: self.messages.append((name, arguments)))

    def deliver(self) -> None:
        messages, self.messages = self.messages, []
        for name, arguments in messages:
            getattr(self.arbiter, name)(*arguments)


def test_workers_change_versions_together_and_let_go_of_the_old_ones(tmp_path: Path):
    store, sender = ModelStore(tmp_path / "store"), Sender(tmp_path / "shared", keep_versions=1)
    store.save("price", make_model(seed=1))
    first, second = (ModelRegistry(store, keep_versions=1, peers=sender.worker(n)) for n in (1, 2))
    for each in (first, second):
        each.load_all()
        assert not each.ready
        sender.deliver()
        assert each.ready
    store.save("price", make_model(seed=2))
    first.look()
    sender.deliver()
    assert (first.find().version, second.find().version) == (1, 1)
    second.look()
    assert (first.find().version, second.find().version) == (1, 1)
    sender.deliver()
    assert (first.find().version, second.find().version) == (2, 2)
    first.look()
    second.look()
    assert {key for (key, _) in [*first._loaded, *second._loaded]} == {("price", 2)}


def test_a_worker_that_starts_while_the_store_is_away_serves_what_the_others_do(tmp_path: Path):
    store, sender = ModelStore(tmp_path / "store"), Sender(tmp_path / "shared")
    for seed in range(2):
        store.save("price", make_model(seed=seed))
    store.save("rent", make_model(seed=3))
    first = ModelRegistry(store, peers=sender.worker(1))
    first.load_all()
    sender.deliver()
    first.unload("rent")
    sender.deliver()
    (tmp_path / "store").rename(tmp_path / "away")
    second = ModelRegistry(store, peers=sender.worker(2))
    second.load_all()
    sender.deliver()
    assert second.ready
    assert {name: list(versions) for name, versions in second.served.items()} == {"price": [1, 2]}
    assert second.find().digest == first.find().digest
    sender.arbiter.leave(1)
    assert second.find().version == 2


def test_unloading_and_loading_reach_all_workers(tmp_path: Path):
    store, sender = ModelStore(tmp_path / "store"), Sender(tmp_path / "shared")
    store.save("price", make_model())
    store.save("rent", make_model())
    first, second = (ModelRegistry(store, peers=sender.worker(n)) for n in (1, 2))
    for each in (first, second):
        each.load_all()
        sender.deliver()
    first.unload("price")
    sender.deliver()
    assert list(second.served) == ["rent"]
    second.look()
    sender.deliver()
    looks = second.peers.agreement.looks
    first.load("price")
    sender.deliver()
    assert second.peers.agreement.looks == looks + 1
    assert list(second.served) == ["rent"]  # it has let go of the model, and is asked to look for it
    second.look()
    sender.deliver()
    assert list(first.served) == list(second.served) == ["price", "rent"]
