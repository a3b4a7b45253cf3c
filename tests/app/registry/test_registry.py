"""Which models are served, and what displaces them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made_models import make_model

from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.registry import served as served_module
from eigenserve.model import CheckpointError, ModelStore


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
