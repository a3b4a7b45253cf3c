"""What a process takes from a store that is copied to, damaged, emptied and taken away."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from benchmarks.store_chaos import sign
from tests.support.made_models import make_model

from eigenserve.app.registry import failures
from eigenserve.app.registry.shelf import LOOKS_OF_PATIENCE, LOOKS_UNTIL_GONE, Shelf
from eigenserve.model import ModelStore
from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS
from eigenserve.model.checkpoints.remote_store import RemoteStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "store")
    for seed in range(2):
        made.save("price", make_model(seed=seed))
    made.save("rent", make_model(seed=9))
    return made


@pytest.fixture
def loads() -> list[tuple[str, int | None]]:
    return []


@pytest.fixture
def shelf(store: ModelStore, loads: list[tuple[str, int | None]]) -> Shelf:
    made = Shelf(store, 10, lambda name, version: loads.append((name, version)), lambda files: None)
    made.look()
    loads.clear()
    return made


def versions(shelf: Shelf) -> dict[str, list[int]]:
    return {name: sorted(taken) for name, taken in shelf.taken.items()}


def damage_all(folder: Path) -> list[Callable[[], object]]:
    """Ways to make a checkpoint one that cannot be loaded."""
    document, weights = folder / DOCUMENT, folder / WEIGHTS
    return [
        lambda: document.write_text("[" * 100_000),
        lambda: document.write_text("{}"),
        lambda: weights.write_bytes(b""),
        lambda: (document.unlink(), os.mkfifo(document)),
        lambda: (weights.unlink(), os.mkfifo(weights)),
        lambda: (document.unlink(), document.mkdir()),
        lambda: (document.unlink(), document.symlink_to("/dev/zero")),
        lambda: (document.unlink(), document.symlink_to(document)),
        lambda: os.truncate(weights, 2**31),
    ]


@pytest.mark.parametrize("kind", range(9))
def test_a_bad_version_touches_no_other(shelf: Shelf, store: ModelStore, kind: int):
    store.save("price", make_model(seed=5))
    damage_all(store.root / "price" / "3")[kind]()
    (store.root / "price" / "3").rename(store.root / "price" / "999999999")
    store.save("rent", make_model(seed=6))
    shutil.copytree(store.root / "price" / "1", store.root / "price" / "4")
    shelf.look()
    assert versions(shelf) == {"price": [1, 2, 4], "rent": [1, 2]}
    assert list(shelf.failures.known) == [("price", 999_999_999)]


@pytest.mark.parametrize("number", ["1" + 400 * "0", "1e400", "-1", "2.5", "null", str(2**63), "9" * 5000])
@pytest.mark.parametrize("key", ["eig_idx", "knots", "num_codes", "offset", "member_weights", "center"])
def test_absurd_numbers_in_a_document_are_a_damaged_version(shelf: Shelf, store: ModelStore, key: str, number: str):
    """Signed as if it had been written so."""
    store.save("price", make_model(seed=5))
    path = store.root / "price" / "3" / DOCUMENT
    document = json.loads(path.read_text())

    def put(value: object) -> object:
        if isinstance(value, dict):
            return {k: "@@" if k == key and v != [] else put(v) for k, v in value.items()}
        return [put(v) for v in value] if isinstance(value, list) else value

    in_list = key in ("knots", "num_codes", "offset", "member_weights")
    sign(path, json.dumps(put(document)).replace('"@@"', f"[{number}]" if in_list else number))
    shelf.look()
    assert versions(shelf)["rent"] == [1]
    # A center may be any finite number. Whatever the version is taken for, it is that in one place.
    assert (3 in versions(shelf)["price"]) != (("price", 3) in shelf.failures.known)
    assert {1, 2} <= set(versions(shelf)["price"])


def test_a_version_is_looked_at_again_when_its_files_change(shelf: Shelf, store: ModelStore, tmp_path: Path):
    whole = ModelStore(tmp_path / "other")
    whole.save("price", make_model(seed=7))
    source, place = whole.root / "price" / "1", store.root / "price" / "3"
    place.mkdir()
    for first, second in ((DOCUMENT, WEIGHTS), (WEIGHTS, DOCUMENT)):
        shutil.copy(source / first, place)
        shelf.look()
        assert 3 not in shelf.taken["price"]
        content = (source / second).read_bytes()
        (place / second).write_bytes(content[:1000])
        shelf.look()
        assert 3 not in shelf.taken["price"]
        (place / second).write_bytes(content)
        shelf.look()
        assert 3 in shelf.taken["price"]
        assert not shelf.failures.known
        shutil.rmtree(place)
        for _ in range(LOOKS_UNTIL_GONE):
            shelf.look()
        assert 3 not in shelf.taken["price"]
        place.mkdir()


def test_what_fails_unchanged_is_tried_again_ever_more_rarely(shelf: Shelf, store: ModelStore, loads, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("eigenserve.app.registry.shelf.time.monotonic", lambda: now)
    store.save("price", make_model(), lambda folder, _: (folder / WEIGHTS).write_bytes(b"x"))
    tried = []
    for _ in range(1000):
        shelf.look()
        tried += [now] * len(loads)
        loads.clear()
        now += 1.0
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert max(pauses) == failures.LAST_RETRY_S


def test_what_failed_is_forgotten_when_it_is_gone(shelf: Shelf, store: ModelStore):
    store.save("price", make_model(), lambda folder, _: (folder / WEIGHTS).write_bytes(b"x"))
    shelf.look()
    shutil.rmtree(store.root / "price" / "3")
    shelf.look()
    assert not shelf.failures.known
    store.save("price", make_model(seed=3))
    shelf.look()
    assert versions(shelf)["price"] == [1, 2, 3]


def test_a_store_that_is_away_unloads_nothing(shelf: Shelf, store: ModelStore):
    away = store.root.with_name("away")
    store.root.rename(away)
    for _ in range(2 * LOOKS_OF_PATIENCE):
        with pytest.raises(FileNotFoundError):
            shelf.look()
    store.root.mkdir()  # a volume that is not mounted
    for _ in range(2 * LOOKS_OF_PATIENCE):
        with pytest.raises(OSError, match="taken for an outage"):
            shelf.look()
    (away / "price").rename(store.root / "price")  # models that come back one at a time
    for _ in range(LOOKS_OF_PATIENCE - 1):
        shelf.look()
    assert versions(shelf) == {"price": [1, 2], "rent": [1]}
    (away / "rent").rename(store.root / "rent")
    shelf.look()
    shutil.rmtree(store.root / "rent")
    for _ in range(LOOKS_UNTIL_GONE):
        assert "rent" in shelf.taken
        shelf.look()
    assert versions(shelf) == {"price": [1, 2]}


def test_models_that_are_removed_from_a_store_that_stays_are_let_go(shelf: Shelf, store: ModelStore):
    for name in ("price", "rent"):
        shutil.rmtree(store.root / name)
    for _ in range(LOOKS_OF_PATIENCE):
        assert versions(shelf) == {"price": [1, 2], "rent": [1]}
        shelf.look()
    assert versions(shelf) == {}


def test_what_is_damaged_or_rewritten_later_is_served_as_it_was_loaded(shelf: Shelf, store: ModelStore, loads):
    weights = store.root / "price" / "2" / WEIGHTS
    content, served = weights.read_bytes(), shelf.taken["price"][2].served
    weights.write_bytes(content[:100])
    shelf.look()
    assert shelf.taken["price"][2].served is served
    assert ("price", 2) in shelf.failures.known
    weights.write_bytes(content)
    shelf.look()
    assert shelf.taken["price"][2].served is served
    assert not shelf.failures.known
    assert loads == [("price", None)]
    shutil.rmtree(store.root / "price" / "2")
    shutil.copytree(store.root / "rent" / "1", store.root / "price" / "2")
    shelf.look()
    assert shelf.taken["price"][2].served.digest == shelf.taken["rent"][1].served.digest


def test_a_model_whose_folder_cannot_be_listed_keeps_what_it_has(shelf: Shelf, store: ModelStore, monkeypatch):
    listed = ModelStore.versions

    def fail(self: ModelStore, name: str) -> list[int]:
        if name == "price":
            raise PermissionError(13, "Permission denied")
        return listed(self, name)

    monkeypatch.setattr(ModelStore, "versions", fail)
    store.save("rent", make_model(seed=3))
    for _ in range(3):
        shelf.look()
    assert versions(shelf) == {"price": [1, 2], "rent": [1, 2]}
    assert "Permission denied" in shelf.failures.known["price", 0].reason
    monkeypatch.undo()
    shelf.look()
    assert not shelf.failures.known


def test_an_object_store_heals_as_a_folder_does(tmp_path: Path):
    """With uploads that are under way, versions that are uploaded again, and an outage."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    store = RemoteStore(f"memory://shelf-{tmp_path.name}/models", tmp_path / "cache")
    path = store._filesystem[1]
    for seed in range(2):
        store.save("price", make_model(seed=seed))
    made = Shelf(store, 10, lambda name, version: None, lambda files: None)
    made.look()
    assert versions(made) == {"price": [1, 2]}
    source = ModelStore(tmp_path / "source")
    source.save("price", make_model(seed=5))
    document, weights = ((source.root / "price" / "1" / name).read_bytes() for name in (DOCUMENT, WEIGHTS))
    system.pipe_file(f"{path}/price/3/{DOCUMENT}", document)
    made.look()
    assert (versions(made)["price"], dict(made.failures.known)) == ([1, 2], {})
    system.pipe_file(f"{path}/price/3/{WEIGHTS}", weights[:-10])
    made.look()
    assert versions(made)["price"] == [1, 2]
    system.pipe_file(f"{path}/price/3/{WEIGHTS}", weights)
    made.look()
    assert (versions(made)["price"], dict(made.failures.known)) == ([1, 2, 3], {})
    # Uploaded again with other content.
    before = made.taken["price"][3].served.digest
    source.save("price", make_model(seed=6))
    for name in (WEIGHTS, DOCUMENT):
        system.pipe_file(f"{path}/price/3/{name}", (source.root / "price" / "2" / name).read_bytes())
    made.look()
    assert made.taken["price"][3].served.digest != before
    # A prefix without objects is what a bucket that lost its rights may look like.
    files = {name: system.cat_file(name) for name in system.find(path)}
    system.rm(path, recursive=True)
    for _ in range(2 * LOOKS_OF_PATIENCE):
        with pytest.raises(OSError, match="taken for an outage"):
            made.look()
    assert versions(made) == {"price": [1, 2, 3]}
    for name, content in files.items():
        system.pipe_file(name, content)
    made.look()
    assert versions(made) == {"price": [1, 2, 3]}
