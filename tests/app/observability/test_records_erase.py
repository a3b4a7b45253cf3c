"""Erasing a person: all rows, however the id is spelled, also when two erase at once or one was killed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.app_client import app_client
from tests.support.made_models import ROW, make_rows

pytest.importorskip("pyarrow", reason="needs pyarrow")

from tests.support.recorded import chain_of, verify

from eigenserve.app.observability.records.chain import private_key, public_key
from eigenserve.app.observability.records.decisions import from_parquet
from eigenserve.app.observability.records.erase import erase
from eigenserve.app.observability.records.folder import Folder, LocalFolder, RemoteFolder, open_folder
from eigenserve.app.observability.records.reading import plain_id
from eigenserve.app.observability.records.verify import Verifier
from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model import ModelStore

PEOPLE = [{"id": f"person {i}", **row} for i, row in enumerate(make_rows(6))]


def record(store: ModelStore, place: object, rows: list[dict[str, Any]] = PEOPLE) -> Folder:
    with app_client(store, records=str(place)) as client:
        for model in ("price", "choice"):
            client.post("/predict", json={"instances": rows, "model": model})
    return open_folder(str(place))


@pytest.fixture
def bucket(store: ModelStore, request: pytest.FixtureRequest) -> Folder:
    """Records where nothing can be locked."""
    pytest.importorskip("fsspec")
    return record(store, f"memory://{request.node.name}")


def is_in_order(folder: Folder) -> bool:
    return Verifier(folder).verify().faults == []


def ids_of(folder: Folder) -> set[str]:
    paths = [f"{chain}/{name}" for chain in folder.names() for name in folder.names(chain) if "details" in name]
    return {each for path in paths for each in from_parquet(folder.read(path)).column("id").to_pylist()}


@pytest.mark.alone
def test_two_who_erase_at_the_same_time_follow_each_other(store: ModelStore, tmp_path: Path, monkeypatch):
    folder, write, done = record(store, tmp_path), LocalFolder.write, {}

    def slow(self: LocalFolder, path: str, content: bytes) -> None:
        time.sleep(0.05)
        write(self, path, content)

    monkeypatch.setattr(LocalFolder, "write", slow)
    people = [f"person {i}" for i in range(4)]
    threads = [
        threading.Thread(target=lambda who: done.update({who: erase(folder, who).rows}), args=(who,)) for who in people
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert done == dict.fromkeys(people, 2)
    assert is_in_order(folder)
    assert ids_of(folder) == {"person 4", "person 5"}


def test_where_nothing_can_be_locked_the_second_is_refused_and_claims_nothing(bucket: Folder, monkeypatch):
    create = RemoteFolder.create

    def taken(self: RemoteFolder, path: str, content: bytes) -> None:
        """Erase somebody else at this moment."""
        monkeypatch.setattr(RemoteFolder, "create", create)
        assert erase(bucket, "person 2").rows == 2
        create(self, path, content)

    monkeypatch.setattr(RemoteFolder, "create", taken)
    with pytest.raises(UserError, match="another erasure took place at the same moment: call it again"):
        erase(bucket, "person 1")
    assert is_in_order(bucket)
    assert erase(bucket, "person 1").rows == 2
    assert is_in_order(bucket)
    assert ids_of(bucket) == {f"person {i}" for i in (0, 3, 4, 5)}


def test_where_nothing_can_be_locked_what_is_undone_meanwhile_is_not_claimed(bucket: Folder, monkeypatch):
    write = RemoteFolder.write

    def overwritten(self: RemoteFolder, path: str, content: bytes) -> None:
        write(self, path, self.read(path) if "details" in path else content)

    monkeypatch.setattr(RemoteFolder, "write", overwritten)
    with pytest.raises(UserError, match="undid this one: call it again"):
        erase(bucket, "person 1")


@pytest.mark.parametrize("release", ["same", "another"])
def test_what_was_begun_and_not_finished_is_finished_by_the_next_one(
    store: ModelStore, tmp_path: Path, monkeypatch, release: str
):
    folder = record(store, tmp_path)
    write = LocalFolder.write

    def killed(self: LocalFolder, path: str, content: bytes) -> None:
        if "details" in path:
            raise KeyboardInterrupt
        write(self, path, content)

    monkeypatch.setattr(LocalFolder, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(folder, "person 1")
    monkeypatch.setattr(LocalFolder, "write", write)
    assert any("not finished" in fault for fault in verify(tmp_path).faults)
    if release == "another":  # whose files are of other bytes
        note = tmp_path / "erasures" / "00000001.json"
        note.write_text(json.dumps({**json.loads(note.read_text()), "after": "0" * 64}))
    assert erase(folder, "person 2").rows == 2
    assert is_in_order(folder)
    assert erase(folder, "person 1").rows == 1
    assert is_in_order(folder)
    assert not {"person 1", "person 2"} & ids_of(folder)


def test_where_nothing_can_be_locked_an_erasure_under_way_is_left_alone(bucket: Folder, monkeypatch):
    write = RemoteFolder.write
    monkeypatch.setattr(RemoteFolder, "write", lambda self, path, content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        erase(bucket, "person 1")
    monkeypatch.setattr(RemoteFolder, "write", write)
    with pytest.raises(UserError, match="another erasure is under way, or was ended by force: try again in 1"):
        erase(bucket, "person 2")
    monkeypatch.setattr("eigenserve.app.observability.records.erase.BUSY_S", 0.0)
    assert erase(bucket, "person 2").rows == 2
    assert is_in_order(bucket)


def test_signed_records_are_erased_with_their_key_alone(
    copied: Path, recorded: tuple[Path, int], tmp_path: Path, capsys
):
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    assert main(["records", "erase", str(copied), "--id", "person 1"]) == 2
    assert "these records are signed: give the private key" in capsys.readouterr().err
    with pytest.raises(UserError, match="is signed by another one"):
        erase(LocalFolder(copied), "person 1", ed25519.Ed25519PrivateKey.generate())
    assert verify(copied).erased == 0
    assert not (copied / "erasures").exists()
    key = private_key(recorded[0] / "private.pem")
    assert erase(LocalFolder(copied), "person 1", key).rows > 0
    assert verify(copied, public_key(recorded[0] / "public.pem")).faults == []


def test_an_unsigned_note_that_somebody_added_is_not_carried_out(copied: Path, recorded: tuple[Path, int]):
    key, folder = private_key(recorded[0] / "private.pem"), LocalFolder(copied)
    erase(folder, "person 1", key)
    last = max((copied / "erasures").glob("*.json"))
    link = json.loads((chain_of(copied) / "00000005.json").read_bytes())
    note = {**json.loads(last.read_bytes()), "number": int(last.stem) + 1, "part": 5, "rows": [0]}
    note["before"] = link["files"]["details"]["sha256"]
    last.with_name(f"{int(last.stem) + 1:08d}.json").write_text(json.dumps(note))
    with pytest.raises(UserError, match="is not finished and not signed by this key"):
        erase(folder, "person 2", key)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("7", "7"), ("7.0", "7"), ("-7.00", "-7"), ("1e+16", "1" + 16 * "0"), ("007", "007"), ("7.5", "7.5"),
        ("1.0.0", "1.0.0"), ("1e+400", "1e+400"), ("a", "a"), ("", ""),
    ],
)  # fmt: skip
def test_an_id_has_one_spelling(text: str, plain: str):
    assert plain_id(text) == plain


def test_whole_numbers_are_one_id_however_they_are_written(store: ModelStore, tmp_path: Path):
    ids = [7, 7.0, "7", "7.0", 7.5, "007", 1e16, 10**16, True, -3.0]
    with app_client(store, records=str(tmp_path)) as client:
        for each in ids:
            client.post("/predict", json={"instances": [{"id": each, **ROW}]})
    folder = LocalFolder(tmp_path)
    assert erase(folder, "7").rows == 4
    assert erase(folder, "7.0").rows == 0
    assert erase(folder, "10000000000000000").rows == 2
    assert ids_of(folder) == {"7.5", "007", "True", "-3"}
    assert erase(folder, "-3.0").rows == 1
    assert is_in_order(folder)


def test_show_and_erase_find_what_an_earlier_release_recorded(store: ModelStore, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("eigenserve.app.observability.records.answered._text", str)
    record(store, tmp_path, [{"id": 7.0, **ROW}])
    for spelled in ("7", "7.0"):
        assert main(["records", "show", str(tmp_path), "--id", spelled]) == 0
        assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["7.0", "7.0"]
    assert main(["records", "erase", str(tmp_path), "--id", "7"]) == 0
    assert "of 2 rows" in capsys.readouterr().out


@pytest.mark.alone
def test_rows_that_wait_to_be_written_are_waited_for_or_named(store: ModelStore, tmp_path: Path, capsys):
    with app_client(store, records=str(tmp_path), records_part_s=2.5) as client:
        client.post("/predict", json={"instances": PEOPLE})
        ends = time.monotonic() + 10
        while json.loads(next(tmp_path.rglob("open.json"), tmp_path / "none").read_text())["rows"] != len(PEOPLE):
            assert time.monotonic() < ends
            time.sleep(0.02)
        assert main(["records", "erase", str(tmp_path), "--id", "person 1", "--wait", "0"]) == 3
        text = capsys.readouterr().out
        assert "of 0 rows" in text
        assert "part 1 is being gathered, with 6 rows: it may hold more rows of this id; erase again once" in text
        assert main(["records", "erase", str(tmp_path), "--id", "person 1"]) == 0
        assert "of 1 rows" in capsys.readouterr().out
        # Nothing waits: nothing is waited for, but for what was answered a moment ago.
        started = time.monotonic()
        assert main(["records", "erase", str(tmp_path), "--id", "person 2"]) == 0
        assert time.monotonic() - started < 5
    assert verify(tmp_path).faults == []
    assert verify(tmp_path).erased == 2


@pytest.mark.alone
def test_rows_that_came_while_a_part_was_written_are_waited_for(store: ModelStore, tmp_path: Path, monkeypatch):
    write, slow = LocalFolder.write, threading.Event()

    def writing(self: LocalFolder, path: str, content: bytes) -> None:
        if path.endswith("1.decisions.parquet"):
            slow.set()
            time.sleep(1.0)
        write(self, path, content)

    monkeypatch.setattr(LocalFolder, "write", writing)
    with app_client(store, records=str(tmp_path), records_part_rows=6, records_part_s=2) as client:
        client.post("/predict", json={"instances": PEOPLE})
        assert slow.wait(10)
        client.post("/predict", json={"instances": PEOPLE[:2]})
        assert erase(LocalFolder(tmp_path), "person 1", wait_s=20.0).rows == 2
