"""What ``records verify`` finds, what it cannot know, and that no damage stops it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.app_client import app_client
from tests.support.made_models import ROW, make_rows

pytest.importorskip("pyarrow", reason="needs pyarrow")

import pyarrow as pa
from tests.support.recorded import chain_of, verify

from eigenserve.app.observability.records.chain import private_key, public_key, sha256
from eigenserve.app.observability.records.decisions import from_parquet, to_parquet
from eigenserve.app.observability.records.erase import erase
from eigenserve.app.observability.records.folder import LocalFolder
from eigenserve.app.observability.records.verify import Verifier
from eigenserve.cli import main
from eigenserve.model import ModelStore

#: Bytes of each class that are changed in each file.
MOST = 2


@pytest.fixture
def small(copied: Path, recorded: tuple[Path, int]) -> tuple[Path, Any, dict[str, str]]:
    """Records with an erasure, their public key, and their heads."""
    keys = recorded[0]
    erase(LocalFolder(copied), "person 30", private_key(keys / "private.pem"))
    erase(LocalFolder(copied), "person 31", private_key(keys / "private.pem"))
    public = public_key(keys / "public.pem")
    verdict = verify(copied, public)
    assert (verdict.faults, verdict.lost) == ([], [])
    return copied, public, verdict.heads


def class_of(byte: int) -> str:
    text = chr(byte)
    return next(
        (name for name in ("isalpha", "isdigit", "isspace", "isprintable") if text.isascii() and getattr(text, name)()),
        "binary",
    )


def changes(content: bytes, draw: random.Random) -> Iterator[bytes]:
    """Change a byte of each class, or the length."""
    places: dict[str, list[int]] = {}
    for place, byte in enumerate(content):
        places.setdefault(class_of(byte), []).append(place)
    for some in places.values():
        for place in draw.sample(some, min(MOST, len(some))):
            yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    yield from (
        b"",
        content[: len(content) // 2],
        content + b"x",
        b"[" * 100_000,
        b"null",
        b"{}",
        b'{"files": {"a": 1}}',
    )


def test_any_damage_to_any_file_is_found_and_stops_nothing(
    store: ModelStore, recorded: tuple[Path, int], tmp_path: Path, capsys
):
    folder, key, public = tmp_path, recorded[0] / "private.pem", public_key(recorded[0] / "public.pem")
    with app_client(store, records=str(folder), records_key=key) as client:
        for name in ("price", "choice"):
            rows = [{"id": f"person {i}", **row} for i, row in enumerate(make_rows(6))]
            client.post("/predict", json={"instances": rows, "model": name})
    erase(LocalFolder(folder), "person 1", private_key(key))
    heads, draw, count = verify(folder).heads, random.Random(5), 0
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    ends = {max(chain_of(folder).glob("0*.json")), max((folder / "erasures").glob("*.json"))}
    for path in files:
        content = path.read_bytes()
        for changed in changes(content, draw):
            path.write_bytes(changed)
            assert Verifier(LocalFolder(folder), public, heads).verify().faults, (path, changed[:200])
            alone = verify(folder)
            assert alone.faults or path.suffix == ".sig" or path in ends, (path, changed[:200])
            read = path.suffix == ".json" and count % 4 == 0
            for command in (["show"], ["replay", "--store", str(store.root)]) if read else ():
                assert main(["records", command[0], str(folder), *command[1:]]) in (0, 1, 2, 3)
            count += 1
        path.unlink()
        assert Verifier(LocalFolder(folder), public, heads).verify().faults, path
        path.mkdir()
        assert Verifier(LocalFolder(folder), public, heads).verify().faults, path
        path.rmdir()
        path.write_bytes(content)
    assert count > 200
    assert Verifier(LocalFolder(folder), public, heads).verify().faults == []


@pytest.mark.parametrize("member", ["files", "number", "rows", "model", "sha256", "name", "details"])
def test_a_letter_that_is_changed_in_a_link_is_said_and_the_rest_is_verified(copied: Path, capsys, member: str):
    path = chain_of(copied) / "00000001.json"
    path.write_text(path.read_text().replace(f'"{member}"', f'"{member[:-1]}!"'))
    assert main(["records", "verify", str(copied)]) == 1
    text = capsys.readouterr().out
    assert text.startswith(f"CHANGED: {path.parent.name}/00000001.json was changed: ")
    parts = len(list(path.parent.glob("*.decisions.parquet")))
    assert f"{parts - 1} parts" in text
    assert main(["records", "show", str(copied)]) == 2
    assert "00000001.json cannot be read: it was changed" in capsys.readouterr().err


def test_the_end_is_proved_by_signatures_or_kept_heads_and_this_is_said(
    copied: Path, recorded: tuple[Path, int], tmp_path: Path, capsys
):
    heads = tmp_path.with_name(f"{tmp_path.name}.heads")
    assert main(["records", "verify", str(copied), "--json"]) == 0
    printed = capsys.readouterr().out
    assert "NOT PROVED: who wrote the records: signed; not checked: give --public-key" in printed
    assert "NOT PROVED: the last link of each chain" in printed
    heads.write_text(printed)
    last = max(chain_of(copied).glob("0*.json"))
    last.write_text(last.read_text().replace('"dropped": 0', '"dropped": 7'))
    assert verify(copied).faults == []
    for options, said in (
        (["--public-key", str(recorded[0] / "public.pem")], "is not signed by this key"),
        (["--heads", str(heads)], "it does not have the head that was kept"),
    ):
        assert main(["records", "verify", str(copied), *options]) == 1
        text = capsys.readouterr().out
        assert said in text
        assert "the last link" not in text
    last.write_text(last.read_text().replace('"dropped": 7', '"dropped": 0'))
    assert main(["records", "verify", str(copied), "--heads", str(heads)]) == 0
    assert "kept heads (--heads) alone" not in capsys.readouterr().out
    heads.write_text(json.dumps(json.loads(printed.splitlines()[-1])["heads"]))
    assert main(["records", "verify", str(copied), "--heads", str(heads)]) == 0
    heads.write_text("[1]")
    assert main(["records", "verify", str(copied), "--heads", str(heads)]) == 2


def test_an_end_that_was_cut_off_shows_by_the_kept_heads(copied: Path):
    heads, chain = verify(copied).heads, chain_of(copied)
    links = sorted(chain.glob("0*.json"))
    for path in (links[-1], links[-1].with_name(f"{links[-1].name}.sig")):
        path.unlink()
    marker = {"part": len(links) - 1, "previous": sha256(links[-2].read_bytes()), "rows": 0, "at": 0.0, "holder": ""}
    (chain / "open.json").write_text(json.dumps(marker))
    assert verify(copied).faults == []
    assert "cut off" in Verifier(LocalFolder(copied), heads=heads).verify().faults[0]


def test_some_signatures_that_were_removed_show_without_the_key(small: tuple[Path, Any, dict[str, str]]):
    folder = small[0]
    (chain_of(folder) / "00000002.json.sig").unlink()
    assert any("00000002.json is not signed" in fault for fault in verify(folder).faults)


def test_signatures_of_erasures_that_were_removed_show_without_the_key(small: tuple[Path, Any, dict[str, str]]):
    folder = small[0]
    for path in (folder / "erasures").glob("*.sig"):
        path.unlink()
    assert any("an erasure of it is not" in fault for fault in verify(folder).faults)


def test_an_erasure_that_was_undone_shows_by_the_kept_heads(copied: Path, recorded: tuple[Path, int]):
    key, before = private_key(recorded[0] / "private.pem"), copied.with_name(f"{copied.name}.before")
    shutil.copytree(copied, before)
    assert erase(LocalFolder(copied), "person 1", key).rows > 0
    public = public_key(recorded[0] / "public.pem")
    heads = verify(copied, public).heads
    assert Verifier(LocalFolder(copied), public, heads).verify().faults == []
    assert Verifier(LocalFolder(before), public).verify().faults == []
    assert Verifier(LocalFolder(before), public, heads).verify().faults == [
        "erasures: gone, and there when the heads were kept"
    ]
    assert erase(LocalFolder(before), "person 2", key).rows > 0
    assert "undone" in Verifier(LocalFolder(before), public, heads).verify().faults[0]


def test_an_erasure_that_was_undone_shows_by_a_chain_that_began_later(store: ModelStore, tmp_path: Path):
    records, before = tmp_path / "records", tmp_path / "before"
    with app_client(store, records=str(records)) as client:
        client.post("/predict", json={"instances": [{"id": 1, **ROW}, {"id": 2, **ROW}]})
    shutil.copytree(records, before)
    assert erase(LocalFolder(records), "1").rows == 1
    with app_client(store, records=str(records)):
        pass
    assert verify(records).faults == []
    shutil.rmtree(records / "erasures")
    for path in before.rglob("*.details.parquet"):
        shutil.copy(path, records / path.relative_to(before))
    assert verify(records).faults == ["an erasure is gone, or was changed, which was there when a chain began"]


def erase_and_rename(folder: Path, change: Any) -> None:
    """Erase a row, and change what the others mean in the same step."""
    path = next(folder.rglob("00000001.details.parquet"))
    before = from_parquet(path.read_bytes())
    left = to_parquet(change(before.slice(1)))
    note = {"number": 1, "previous": None, "at": 0.0, "chain": path.parent.name, "part": 1}
    note |= {"before": sha256(path.read_bytes()), "after": sha256(left), "rows": [0]}
    (folder / "erasures").mkdir()
    (folder / "erasures" / "00000001.json").write_text(json.dumps(note))
    path.write_bytes(left)


def swap_names(table: Any) -> Any:
    names = {"age": "income", "income": "age"}
    columns = {f"inputs.{old}": f"inputs.{new}" for old, new in names.items()}
    renamed = table.rename_columns([columns.get(name, name) for name in table.column_names])
    stated = json.loads(table.schema.metadata[b"eigenserve"])
    for feature in stated["features"]:
        feature["name"] = names.get(feature["name"], feature["name"])
    return renamed.replace_schema_metadata({b"eigenserve": json.dumps(stated).encode()})


def swap_labels(table: Any) -> Any:
    place = table.column_names.index("inputs.city")
    labels = {"Paris": "Rome", "Rome": "Paris"}
    texts = [labels.get(text, text) for text in table.column("inputs.city").to_pylist()]
    changed = table.set_column(place, "inputs.city", pa.array(texts).dictionary_encode())
    stated = table.schema.metadata[b"eigenserve"].replace(b'"Paris", "Rome"', b'"Rome", "Paris"')
    assert stated != table.schema.metadata[b"eigenserve"]
    return changed.replace_schema_metadata({b"eigenserve": stated})


@pytest.mark.parametrize("change", [swap_names, swap_labels])
def test_names_and_labels_cannot_change_under_the_cover_of_an_erasure(store: ModelStore, tmp_path: Path, change: Any):
    rows = [{"id": f"person {i}", **row} for i, row in enumerate(make_rows(6))]
    with app_client(store, records=str(tmp_path)) as client:
        client.post("/predict", json={"instances": rows})
    erase_and_rename(tmp_path, change)
    assert any("names or labels of its details were changed" in fault for fault in verify(tmp_path).faults)


def test_records_of_an_earlier_release_are_verified_and_what_is_not_proved_is_said(store: ModelStore, tmp_path: Path):
    rows = [{"id": f"person {i}", **row} for i, row in enumerate(make_rows(6))]
    with app_client(store, records=str(tmp_path)) as client:
        client.post("/predict", json={"instances": rows})
    previous = None
    for path in sorted(chain_of(tmp_path).glob("0*.json")):
        link = {**json.loads(path.read_bytes()), "previous": previous}
        for name in ("schema", "erasures"):
            link.pop(name, None)
        path.write_text(json.dumps(link))
        previous = sha256(path.read_bytes())
    assert not any("names and labels" in text for text in verify(tmp_path).unproved)
    assert erase(LocalFolder(tmp_path), "person 1").rows == 1
    verdict = verify(tmp_path)
    assert verdict.faults == []
    assert "names and labels in 1 parts with erased rows" in verdict.unproved[-1]


def test_what_is_no_chain_is_named_as_such(copied: Path, capsys):
    (copied / "README.txt").write_text("about these records")
    (copied / "notes").mkdir()
    (copied / "notes" / "one.txt").write_text("x")
    assert main(["records", "verify", str(copied)]) == 0
    text = capsys.readouterr().out
    assert "NOT A CHAIN: README.txt\nNOT A CHAIN: notes\n" in text
    assert "in order: 1 chains" in text
    next(copied.glob("2*")).rename(copied / "mine")
    assert verify(copied).faults == ["mine holds links and is not named as a chain: it was renamed, or added"]


def test_show_takes_the_rows_of_a_model(copied: Path, capsys):
    assert main(["records", "show", str(copied), "--model", "choice"]) == 0
    assert {json.loads(line)["model"] for line in capsys.readouterr().out.splitlines()} == {"choice"}
