"""Versions appear whole or not at all, in order, and no name leads out of the store."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.support.twin import random_model, random_rows

from eigenserve.model import CheckpointError, ModelStore, load_model
from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS
from eigenserve.model.checkpoints.local_store import ModelNotFoundError, check_name

OUTSIDE = (
    "",
    ".",
    "..",
    "../other",
    "a/b",
    "/etc",
    "a\\b",
    ".hidden",
    "-x",
    "a\n",
    "ü",
    "x" * 101,
    "a b",
    "a\0",
)


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "store")


def test_versions_count_from_one_and_the_newest_is_the_default(store):
    models = [random_model(seed=seed) for seed in range(3)]
    saved = [store.save("houses", model) for model in models]
    assert [model.card["version"] for model in saved] == store.versions("houses") == [1, 2, 3]
    rows = random_rows(10)
    for version, model in enumerate(models, 1):
        assert np.array_equal(store.load("houses", version).predict(rows), model.predict(rows))
    newest = store.load("houses")
    assert np.array_equal(newest.predict(rows), models[2].predict(rows))
    assert (newest.card["name"], newest.card["version"]) == ("houses", 3)
    assert newest.card["metrics"] == {"rmse": 1.5}


class Folder:
    def __fspath__(self):
        return "models"


@pytest.mark.parametrize("root", ["models", Path("models"), Folder()], ids=["str", "Path", "PathLike"])
def test_a_store_is_made_of_any_path(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ModelStore(root).save("houses", random_model())
    assert ModelStore(root) == ModelStore(Path("models"))
    assert ModelStore(root).names() == ["houses"]
    assert (tmp_path / "models" / "houses" / "1").is_dir()


def test_a_store_is_no_url_and_no_number():
    with pytest.raises(
        ValueError, match=r"a ModelStore is a folder; .*open_store opens a URL; got 's3://bucket/models'"
    ):
        ModelStore("s3://bucket/models")
    with pytest.raises(TypeError, match="PathLike"):
        ModelStore(3)


def test_versions_are_ordered_as_numbers(store):
    folder = store.root / "houses"
    for version in (2, 10, 9):
        (folder / str(version)).mkdir(parents=True)
    assert store.versions("houses") == [2, 9, 10]
    assert store.save("houses", random_model()).card["version"] == 11


def test_a_file_that_is_not_a_version_is_ignored(store):
    store.save("houses", random_model())
    for name in ("0", "01", "-1", "1.0", "draft", "٣", "1٣"):
        (store.root / "houses" / name).mkdir()
    (store.root / "houses" / "7").write_text("a file")
    assert store.versions("houses") == [1]


def test_a_version_that_cannot_be_looked_at_hides_no_other(store, monkeypatch):
    for _ in range(2):
        store.save("houses", random_model())
    is_dir = Path.is_dir

    def forbidden(path):
        if path.name == "2":
            raise PermissionError(13, "Permission denied")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", forbidden)
    assert store.versions("houses") == [1, 2]
    assert store.names() == ["houses"]
    assert store.load("houses", 1).card["version"] == 1


def test_a_model_saved_again_gets_the_name_and_version_of_its_new_place(store):
    store.save("first", random_model())
    again = store.save("second", store.load("first"))
    assert (again.card["name"], again.card["version"]) == ("second", 1)
    assert store.load("second").card["name"] == "second"


def test_names_are_models_with_a_version(store):
    assert store.names() == []
    store.save("b", random_model())
    store.save("a.1_x-y", random_model())
    (store.root / "empty").mkdir()
    (store.root / ".git" / "1").mkdir(parents=True)
    (store.root / "file").write_text("")
    assert store.names() == ["a.1_x-y", "b"]


def test_an_unknown_model_or_version_is_reported_with_the_known_ones(store):
    store.save("houses", random_model())
    with pytest.raises(ModelNotFoundError, match=r"no model 'boats' in the store .*; models there: houses"):
        store.load("boats")
    with pytest.raises(ModelNotFoundError, match="no version 2 of model 'houses'; versions: 1"):
        store.load("houses", 2)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_cannot_lead_out_of_the_store(store, name):
    for call in (check_name, store.versions, store.load, lambda n: store.save(n, random_model())):
        with pytest.raises(ValueError, match="a model's name must be"):
            call(name)
    assert not store.root.exists()


def test_a_model_is_loaded_by_its_path(store):
    for seed in range(2):
        store.save("houses", random_model(seed=seed))
    rows = random_rows(5)
    for path, seed in (("houses", 1), ("houses/1", 0), ("houses/2/", 1)):
        expected = random_model(seed=seed).predict(rows)
        assert np.array_equal(load_model(store.root / path).predict(rows), expected)
        assert np.array_equal(load_model(f"{store.root}/{path}").predict(rows), expected)


def test_a_model_is_loaded_from_within_its_folder(store, monkeypatch):
    store.save("houses", random_model())
    monkeypatch.chdir(store.root / "houses" / "1")
    assert load_model(".").card["version"] == 1
    assert load_model("..").card["name"] == "houses"


def test_a_model_whose_name_is_a_number_is_loaded_by_its_path(store):
    store.save("2024", random_model())
    assert load_model(store.root / "2024").card["name"] == "2024"
    assert load_model(store.root / "2024" / "1").card["version"] == 1


@pytest.mark.parametrize("path", ["boats", "houses/2", "houses/x", "", "houses/1/model.json", "a b", "../store"])
def test_a_path_without_a_model_is_reported(store, path):
    store.save("houses", random_model())
    (store.root / "a b").mkdir()
    with pytest.raises(ModelNotFoundError):
        load_model(store.root / path)


def test_a_damaged_version_is_reported_and_the_others_load(store):
    for _ in range(2):
        store.save("houses", random_model())
    (store.root / "houses" / "2" / WEIGHTS).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"houses/2/model\.safetensors"):
        store.load("houses")
    assert store.load("houses", 1).card["version"] == 1


def test_a_writer_that_fails_leaves_nothing(store):
    def fail(folder, model):
        assert sorted(p.name for p in folder.iterdir()) == [DOCUMENT, WEIGHTS]
        assert model.card["version"] == 1
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"):
        store.save("houses", random_model(), add_files=fail)
    assert list((store.root / "houses").iterdir()) == []


def test_more_files_appear_with_the_version(store):
    store.save("houses", random_model(), add_files=lambda folder, _: (folder / "report.html").write_text("x"))
    assert (store.root / "houses" / "1" / "report.html").read_text() == "x"


def test_concurrent_writers_and_readers_see_only_whole_versions(store):
    model, rows = random_model(dim=3, members=1), random_rows(3)
    expected, done = model.predict(rows), threading.Event()
    store.save("houses", model)

    def read():
        seen = 0
        while not done.is_set():
            for version in store.versions("houses"):
                assert np.array_equal(store.load("houses", version).predict(rows), expected)
            seen += 1
        return seen

    def write(_):
        return [store.save("houses", model).card["version"] for _ in range(5)]

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            versions = [version for made in pool.map(write, range(4)) for version in made]
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert sorted(versions) == list(range(2, 22))
    assert sorted(p.name for p in (store.root / "houses").iterdir()) == sorted(map(str, range(1, 22)))


def test_a_version_can_be_read_by_other_users(store):
    store.save("houses", random_model())
    assert (store.root / "houses" / "1").stat().st_mode & 0o055 == 0o055


def test_a_report_is_handed_out_only_if_it_is_a_file_of_the_store(store, tmp_path):
    """A link could lead to any file of the machine, a pipe would never end, a folder is not a page."""
    store.save("houses", random_model())
    secret = tmp_path / "secret"
    secret.write_text("x")
    report = store.root / "houses" / "1" / "report.html"
    assert store.report("houses", 1) is None
    makers = (lambda: report.symlink_to(secret), report.mkdir, lambda: os.mkfifo(report))
    for make in makers:
        make()
        with pytest.raises(CheckpointError, match="it is not a regular file"):
            store.report("houses", 1)
        report.rmdir() if report.is_dir() and not report.is_symlink() else report.unlink()
    report.write_text("page")
    assert store.report("houses", 1) == b"page"


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_a_pipe_or_an_absurdly_large_file_is_not_read(store, name):
    store.save("houses", random_model())
    path = store.root / "houses" / "1" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: it is not a regular file"):
        store.load("houses")
    path.unlink()
    path.touch()
    os.truncate(path, 2**33)  # takes no room
    with pytest.raises(CheckpointError, match="must have at most"):
        store.load("houses")
    path.unlink()
