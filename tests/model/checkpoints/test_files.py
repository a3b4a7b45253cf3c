"""A checkpoint gives back the model to the last bit, and damage of any kind is refused with its place."""

import hashlib
import json
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from tests.support.twin import random_model, random_rows

from eigenserve.model.checkpoints.files import (
    DOCUMENT,
    FORMAT_VERSION,
    HASHED_FIRST_BYTES,
    TENSORS,
    WEIGHTS,
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)

TASKS = ("regression", "binary", "multiclass", "poisson")


@pytest.fixture
def folder(tmp_path):
    write_checkpoint(tmp_path, random_model("multiclass"))
    return tmp_path


def rewrite(folder, change, sign=True):
    """Change the document; with ``sign``, as someone would who also renews its hash."""
    document = json.loads((folder / DOCUMENT).read_text())
    change(document)
    if sign:
        document["document_sha256"] = ""
        unsigned = json.dumps(document, indent=1) + "\n"
        document["document_sha256"] = hashlib.sha256(unsigned.encode()).hexdigest()
    (folder / DOCUMENT).write_text(json.dumps(document, indent=1) + "\n")


def rewrite_weights(folder, change):
    """Change the tensors and renew all hashes."""
    tensors = {name: np.array(a) for name, a in safetensors.numpy.load_file(folder / WEIGHTS).items()}
    change(tensors)
    content = safetensors.numpy.save(tensors)
    (folder / WEIGHTS).write_bytes(content)
    rewrite(folder, lambda d: d.update(weights_sha256=hashlib.sha256(content).hexdigest()))


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("task", TASKS)
def test_a_model_comes_back_to_the_last_bit(tmp_path, task):
    model, rows = random_model(task), random_rows(300)
    write_checkpoint(tmp_path, model)
    back = read_checkpoint(tmp_path)
    columns = model.features.encode(rows)
    assert np.array_equal(back.scores(columns), model.scores(columns))
    for name in ("score", "baseline", "contributions", "sensitivities", "gap"):
        one, other = getattr(model.explain(rows), name), getattr(back.explain(rows), name)
        assert np.array_equal(one, other, equal_nan=True)
    assert (back.task, back.target, back.classes) == (task, "goal", model.classes)
    assert back.features == model.features
    assert back.ensemble.pencil.curves.curves == model.ensemble.pencil.curves.curves
    assert back.ensemble.pencil.terms == model.ensemble.pencil.terms
    assert back.card["metrics"] == {"rmse": 1.5}


def test_the_same_model_gives_the_same_bytes_also_after_a_round_trip(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_checkpoint(first, random_model("binary"))
    write_checkpoint(second, read_checkpoint(first))
    for name in (DOCUMENT, WEIGHTS):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_class_labels_keep_their_types(tmp_path):
    for classes in ((False, True), (0, 1), (0.5, 1.5), ("no", "ja, schön")):
        write_checkpoint(tmp_path, replace(random_model("binary"), classes=classes))
        back = read_checkpoint(tmp_path).classes
        assert back == classes
        assert list(map(type, back)) == list(map(type, classes))


def test_nothing_is_pickled(folder):
    assert sorted(os.listdir(folder)) == [DOCUMENT, WEIGHTS]
    json.loads((folder / DOCUMENT).read_text())
    assert set(safetensors.numpy.load_file(folder / WEIGHTS)) == set(TENSORS)


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_one_flipped_bit_anywhere_is_refused_with_the_file(folder, name):
    content = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    # All of the beginning and the end, where lengths and hashes stand, and a sample of the rest.
    places = {*range(200), *range(len(content) - 200, len(content)), *rng.integers(0, len(content), 400)}
    for place in places:
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << rng.integers(8)
        (folder / name).write_bytes(spoilt)
        # A flip in the document may also spoil the hash of the weights, which it holds.
        message = refusal(folder)
        assert str(folder) in message
        assert DOCUMENT in message
        assert name == DOCUMENT or WEIGHTS in message
    (folder / name).write_bytes(content)
    read_checkpoint(folder)


def test_a_flip_that_leaves_the_numbers_as_they_are_is_refused_too(folder):
    text = (folder / DOCUMENT).read_text()
    assert text.count("\n ")
    for spoilt in (text.replace("\n ", "\n\t", 1), text + " ", text.replace(": ", ":\n", 1)):
        assert spoilt != text
        (folder / DOCUMENT).write_text(spoilt)
        assert "does not match its document_sha256" in refusal(folder)


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
@pytest.mark.parametrize("keep", [0, 1, 8, 0.5, -1])
def test_a_truncated_file_is_refused_with_its_name(folder, name, keep):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    assert str(folder / name) in refusal(folder)


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_a_missing_file_is_reported(folder, name):
    (folder / name).unlink()
    assert refusal(folder) == f"{folder / name} is missing"


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS])
def test_a_folder_in_place_of_a_file_is_reported(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refusal(folder).startswith(f"{folder / name} cannot be read")


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_a_number_is_refused_even_with_right_hashes(folder, name, value):
    rewrite_weights(folder, lambda tensors: tensors[name].flat.__setitem__(3, value))
    assert refusal(folder) == f"{folder / WEIGHTS} is damaged: {name} must be finite; got NaN or infinity"


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_that_is_missing_or_of_a_wrong_shape_is_reported(folder, name):
    weights = (folder / WEIGHTS).read_bytes()
    rewrite_weights(folder, lambda tensors: tensors.update({name: tensors[name][..., :-1]}))
    assert "must have shape" in refusal(folder)
    (folder / WEIGHTS).write_bytes(weights)
    rewrite_weights(folder, lambda tensors: tensors.pop(name))
    assert refusal(folder) == f"{folder / WEIGHTS} has no tensor '{name}'"


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99, None, "1", 1.5])
def test_another_format_version_is_reported(folder, version):
    rewrite(folder, lambda d: d.update(format_version=version))
    assert refusal(folder) == (
        f"{folder / DOCUMENT} has format_version {version}, this Eigenserve reads {FORMAT_VERSION}: "
        "upgrade Eigenserve, or train the model again"
    )


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b"{}", b'{"format_version": 1}', b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}'],
    ids=["list", "null", "empty", "bare", "bytes", "nested", "nan"],
)
def test_a_document_that_is_none_is_refused(folder, content):
    (folder / DOCUMENT).write_bytes(content)
    assert str(folder / DOCUMENT) in refusal(folder)


REQUIRED = (
    *("task", "link", "classes", "target", "features", "terms", "curves"),
    *("eig_idx", "member_weights", "offset", "weights_sha256", "document_sha256"),
)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_document_without_a_required_part_is_reported_with_the_part(folder, key):
    rewrite(folder, lambda d: d.pop(key), sign=key != "document_sha256")
    assert refusal(folder) == f"{folder / DOCUMENT} has no '{key}'"


@pytest.mark.parametrize(
    ("key", "value"),
    # A target may be called x.
    [(k, v) for k in REQUIRED for v in (None, 7, "x", [[]], {"a": 1}) if (k, v) != ("target", "x")],
    ids=str,
)
def test_a_part_of_the_wrong_type_is_refused(folder, key, value):
    rewrite(folder, lambda d: d.update({key: value}), sign=key != "document_sha256")
    assert str(folder) in refusal(folder)


def test_a_changed_document_is_refused(folder):
    rewrite(folder, lambda d: d["metrics"].update(rmse=1.0), sign=False)
    assert "does not match its document_sha256" in refusal(folder)


def test_a_large_document_is_parsed_only_once_its_hash_is_right(folder, monkeypatch):
    rewrite(folder, lambda d: d.update(note="x" * HASHED_FIRST_BYTES))
    assert read_checkpoint(folder).card["note"]
    (folder / DOCUMENT).write_bytes(b'{"a":[' + b"[]," * (HASHED_FIRST_BYTES // 3) + b"0]}")
    monkeypatch.setattr(json, "loads", lambda content: pytest.fail("it was parsed"))
    assert "does not match its document_sha256" in refusal(folder)


def test_large_weights_are_read_into_memory_only_once_their_hash_is_right(folder):
    os.truncate(folder / WEIGHTS, 32 * 2**20)
    tracemalloc.start()
    try:
        assert "does not match the sha256" in refusal(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_the_bytes_of_a_checkpoint_of_format_1_stay_readable(folder):
    document = json.loads((folder / DOCUMENT).read_text())
    assert document["format_version"] == 1
    assert {*REQUIRED, "format_version", "metrics"} == set(document)
    assert set(document["features"][0]) == {
        *("name", "kind", "typical", "transform", "center", "scale"),
        *("low", "high", "categories", "missing", "step", "source", "cycle", "groups"),
    }
    assert set(document["curves"][0]) == {
        *("term", "numeric", "direction", "categorical", "num_codes", "knots", "extend", "missing"),
    }
