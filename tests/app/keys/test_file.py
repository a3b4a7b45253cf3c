"""A file of keys: what it may hold, and how it is read again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eigenserve.app.keys.file import KeysFile, KeysFileError, parse_keys, read_keys
from eigenserve.app.keys.grants import ORDINARY, digest_of, scope_of

DIGEST = digest_of(b"secret")
ENTRY = f'[[keys]]\nname = "billing"\nsha256 = "{DIGEST}"\n'


def test_an_entry_is_a_grant():
    text = ENTRY + 'scopes = ["predict", "admin"]\nexpires = 2031-01-31\nrows_per_s = 100\nheavy = 2\n'
    grant = parse_keys(text, "keys.toml")[DIGEST]
    assert (grant.name, grant.label, grant.scopes) == ("billing", "billing", {"predict", "admin"})
    assert (grant.rows_per_s, grant.heavy) == (100.0, 2)
    assert grant.expires == datetime(2031, 1, 31, tzinfo=UTC)
    assert not grant.has_expired()
    plain = parse_keys(ENTRY, "keys.toml")[DIGEST]
    assert (plain.scopes, plain.expires, plain.rows_per_s, plain.heavy) == (ORDINARY, None, None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[keys]", "not valid TOML"),
        ("keys = 1", r"\[\[keys\]\] tables"),
        (ENTRY + "[other]\n", "got other"),
        (ENTRY.replace(DIGEST, "secret"), "key 1: sha256: .*64 hexadecimal digits"),
        (ENTRY.replace("billing", "a\\nb"), "key 1: name"),
        (ENTRY + "scope = []", "key 1: scope"),
        (ENTRY + 'scopes = ["everything"]', "key 1: scopes"),
        (ENTRY + "rows_per_s = 0", "key 1: rows_per_s"),
        (ENTRY + "rows_per_s = inf", "key 1: rows_per_s"),
        (ENTRY + "heavy = -1", "key 1: heavy"),
        (ENTRY + 'expires = "soon"', "key 1: expires"),
        (ENTRY + ENTRY.replace("billing", "audit"), "key 2 is the same key as that of 'billing'"),
        (ENTRY + ENTRY.replace(DIGEST, "0" * 64) + "heavy = 1", "same scopes and limits; see 'billing'"),
        ("[[keys]]\n", "key 1: name: Field required; sha256: Field required"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_without_the_key(text: str, says: str):
    with pytest.raises(KeysFileError, match=says) as refused:
        parse_keys(text, "keys.toml")
    assert "secret" not in str(refused.value)


def test_an_owner_has_two_keys_while_one_is_replaced():
    text = ENTRY + "expires = 2031-01-31\n" + ENTRY.replace(DIGEST, "0" * 64)
    assert {grant.name for grant in parse_keys(text, "keys.toml").values()} == {"billing"}


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(KeysFileError, match=r"keys\.toml cannot be read: No such file"):
        read_keys(tmp_path / "keys.toml")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "keys.toml"
    made.write_text(ENTRY)
    return made


def test_a_file_that_changes_is_read_again_and_a_bad_one_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture):
    keys = KeysFile(path)
    keys.start()
    keys.stop()
    path.write_text(ENTRY + "heavy = 3\n")
    look_twice(keys)
    assert keys.grants[DIGEST].heavy == 3
    for _ in range(2):
        path.write_text("[[keys]")
        look_twice(keys)
        assert keys.grants[DIGEST].heavy == 3
    assert caplog.text.count("the keys stay as they were") == 1
    path.unlink()
    look_twice(keys)
    assert keys.grants[DIGEST].heavy == 3
    path.write_text("keys = []")
    look_twice(keys)
    assert keys.grants == {}


def look_twice(keys: KeysFile) -> None:
    for _ in range(2):
        keys.look()


def test_a_file_that_is_written_in_place_revokes_nothing_while_it_is_short(
    path: Path, caplog: pytest.LogCaptureFixture
):
    keys, whole = KeysFile(path), ENTRY + f'[[keys]]\nname = "late"\nsha256 = "{"0" * 64}"\n'
    path.write_text(whole)
    keys.start()
    keys.stop()
    for size in (0, len(ENTRY), len(whole) - 10, len(whole)):
        path.write_text(whole[:size])
        keys.look()
        assert len(keys.grants) == 2
    for content in ("", "# nothing yet\n"):
        path.write_text(content)
        look_twice(keys)
        assert len(keys.grants) == 2
    assert "revokes all of them" in caplog.records[-1].__dict__["reason"]
    path.write_text(ENTRY)
    look_twice(keys)
    assert len(keys.grants) == 1


def test_a_worker_that_starts_while_the_file_is_short_has_the_keys_of_the_others(path: Path, tmp_path: Path):
    first, second = KeysFile(path), KeysFile(path)
    first.copy = second.copy = tmp_path / "copy.toml"
    first.start()
    path.write_text("")
    second.start()
    for keys in (first, second):
        keys.stop()
    assert second.grants == first.grants != {}


def test_a_worker_that_starts_while_the_file_is_away_has_the_keys_of_the_others(path: Path, tmp_path: Path):
    first, second = KeysFile(path), KeysFile(path)
    first.copy = second.copy = tmp_path / "copy.toml"
    first.start()
    path.write_text("[[keys]")
    second.start()
    assert second.grants == first.grants
    path.write_text(ENTRY + "heavy = 3\n")
    look_twice(second)
    assert second.grants[DIGEST].heavy == 3
    for keys in (first, second):
        keys.stop()


def test_a_key_ends_when_it_expires():
    soon = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert not parse_keys(ENTRY + f"expires = {soon}", "keys.toml")[DIGEST].has_expired()
    assert parse_keys(ENTRY + f"expires = {past}", "keys.toml")[DIGEST].has_expired()


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/predict", "predict"),
        ("/invocations", "predict"),
        ("/models", "predict"),
        ("/v1/models/a:predict", "predict"),
        ("/v2/models/a/infer", "predict"),
        ("/explain", "explain"),
        ("/reasons", "explain"),
        ("/counterfactuals", "explain"),
        ("/v1/models/a:explain", "explain"),
        ("/models/a/versions/1/model.onnx", "files"),
        ("/models/a/versions/1/report", "files"),
        ("/v2/repository/models/a/load", "admin"),
        ("/v2/repository/models/a/unload", "admin"),
    ],
)
def test_every_path_needs_a_scope(path: str, scope: str):
    assert scope_of(path) == scope


def test_a_file_that_may_never_end_is_refused_at_once(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(KeysFileError, match=r"regular file|directory"):
            read_keys(path)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(KeysFileError, match="at most 16777216 bytes"):
        read_keys(large)
    with pytest.raises(KeysFileError, match="not valid TOML"):
        parse_keys("keys = " + "[" * 100_000, "keys.toml")
