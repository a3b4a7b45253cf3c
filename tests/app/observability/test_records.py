"""Decision records: none lost, each change found, a person's rows erased, and every bit computed again."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.app_client import app_client
from tests.support.made_models import ROW, make_model, make_rows
from tests.support.server_process import running_server

pytest.importorskip("pyarrow", reason="needs pyarrow")

import pyarrow.ipc
import pyarrow.parquet
from tests.support.recorded import PEOPLE, chain_of, verify

from eigenserve.app.observability.records import decisions, holding
from eigenserve.app.observability.records.answered import Answered
from eigenserve.app.observability.records.chain import private_key, public_key, sha256
from eigenserve.app.observability.records.erase import erase
from eigenserve.app.observability.records.events import _answers
from eigenserve.app.observability.records.folder import LocalFolder, open_folder
from eigenserve.app.observability.records.verify import Verifier
from eigenserve.cli import main
from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone

#: A process that says which it is and which folder it holds, and waits.
PRINT_HOLDERS = """
import sys
from pathlib import Path
from eigenserve.app.observability.records.holding import hold_folder, this_process
print(this_process(), hold_folder(Path(sys.argv[1])), sep="\\n", flush=True)
sys.stdin.read()
"""
ROW_ALONE = {"instances": [ROW]}


def test_every_row_is_recorded_and_what_nobody_touched_is_in_order(recorded: tuple[Path, int]):
    folder, rows = recorded
    verdict = verify(folder / "records", public_key(folder / "public.pem"))
    assert (verdict.faults, verdict.lost) == ([], [])
    assert verdict.rows == rows
    assert verdict.parts >= 5
    # A column is of one type in all parts, with warnings or without: they can be read as one table.
    fields: dict[str, Any] = {}
    for path in (folder / "records").rglob("*.parquet"):
        for field in pyarrow.parquet.read_schema(path):
            kind = path.name.split(".")[1] + field.name
            if not field.name.startswith("inputs."):  # of three models
                assert fields.setdefault(kind, field).equals(field), path


def flip(chain: Path, kind: str) -> None:
    path = sorted(chain.glob(f"*.{kind}"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(chain: Path, kind: str) -> None:
    first, second = sorted(chain.glob(f"*.{kind}"))[1:3]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def remove_part(chain: Path, number: int) -> None:
    for path in chain.glob(f"{number:08d}.*"):
        path.unlink()


def move_all_down(chain: Path) -> None:
    """Close the gap of a removed part by renaming those behind it."""
    remove_part(chain, 2)
    for path in sorted(chain.glob("0*")):
        number = int(path.name[:8])
        if number > 2:
            path.rename(path.with_name(f"{number - 1:08d}{path.name[8:]}"))


def cut_off(chain: Path) -> None:
    """Remove the last part and the end."""
    last = max(int(path.name[:8]) for path in chain.glob("0*"))
    remove_part(chain, last)
    remove_part(chain, last - 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda chain: flip(chain, "decisions.parquet"),
        lambda chain: flip(chain, "details.parquet"),
        lambda chain: flip(chain, "json"),
        lambda chain: swap(chain, "decisions.parquet"),
        lambda chain: swap(chain, "details.parquet"),
        lambda chain: swap(chain, "json"),
        lambda chain: remove_part(chain, 2),
        lambda chain: remove_part(chain, 0),
        move_all_down,
        cut_off,
        lambda chain: (chain / "00000002.details.parquet").unlink(),
        lambda chain: (chain / "00000002.json").unlink(),
        lambda chain: (chain / "00000077.decisions.parquet").write_bytes(b"more"),
    ],
)
def test_each_change_is_found(copied: Path, change: Callable[[Path], None]):
    assert verify(copied).faults == []
    change(chain_of(copied))
    assert verify(copied).faults != []


def test_a_chain_rewritten_without_the_key_is_found(copied: Path, recorded: tuple[Path, int]):
    """Who can write can make a chain of hashes again, but not its signatures."""
    chain, previous = chain_of(copied), None
    for path in sorted(chain.glob("0*.json")):
        link = json.loads(path.read_bytes())
        link["previous"] = previous
        link["rewritten"] = True
        content = json.dumps(link).encode()
        path.write_bytes(content)
        previous = sha256(content)
    assert verify(copied).faults == []
    assert "not signed by this key" in verify(copied, public_key(recorded[0] / "public.pem")).faults[0]


def test_a_chain_that_is_gone_as_a_whole_is_missed_by_the_next_one(store: ModelStore, tmp_path: Path):
    for _ in range(2):
        with app_client(store, records=str(tmp_path)) as client:
            client.post("/predict", json={"instances": [ROW]})
    assert verify(tmp_path).faults == []
    first = min(tmp_path.iterdir())
    for path in first.iterdir():
        path.unlink()
    first.rmdir()
    assert "is gone" in verify(tmp_path).faults[0]


def test_a_person_is_erased_and_the_rest_stays_proved(copied: Path, recorded: tuple[Path, int]):
    keys = recorded[0]
    before = b"".join(path.read_bytes() for path in sorted(chain_of(copied).glob("*.decisions.parquet")))
    count = erase(LocalFolder(copied), "person 1", private_key(keys / "private.pem")).rows
    assert count == 10 + 1 + 2 + 1 + 1 + 1
    verdict = verify(copied, public_key(keys / "public.pem"))
    assert (verdict.faults, verdict.erased) == ([], count)
    assert before == b"".join(path.read_bytes() for path in sorted(chain_of(copied).glob("*.decisions.parquet")))
    assert erase(LocalFolder(copied), "person 1", private_key(keys / "private.pem")).rows == 0
    assert erase(LocalFolder(copied), "person 2", private_key(keys / "private.pem")).rows > 0
    assert verify(copied, public_key(keys / "public.pem")).faults == []
    # Nothing of it is left in any file: not in plain, and not compressed.
    from eigenserve.app.observability.records.decisions import from_parquet

    for path in chain_of(copied).glob("*.details.parquet"):
        table = from_parquet(path.read_bytes())
        assert "id" not in table.column_names or not {"person 1", "person 2"} & {*table.column("id").to_pylist()}


def test_an_erasure_hides_no_other_change(copied: Path, recorded: tuple[Path, int]):
    """A row of details that is changed under the cover of an erasure does not fit its commitment."""
    from eigenserve.app.observability.records.decisions import from_parquet, to_parquet

    erase(LocalFolder(copied), "person 1", private_key(recorded[0] / "private.pem"))
    path = sorted(chain_of(copied).glob("*.details.parquet"))[0]
    table = from_parquet(path.read_bytes())
    at = table.column_names.index("inputs.age")
    changed = table.set_column(at, "inputs.age", [np.nan_to_num(table.column("inputs.age").to_numpy()) + 1.0])
    path.write_bytes(to_parquet(changed.replace_schema_metadata(table.schema.metadata)))
    note = next(p for p in sorted((copied / "erasures").glob("*.json")) if json.loads(p.read_bytes())["part"] == 1)
    entry = json.loads(note.read_bytes())
    assert (entry["part"], sorted((copied / "erasures").glob("*.json"))[0]) == (1, note)
    for later in sorted((copied / "erasures").glob("*.json"))[1:]:
        later.unlink()
    note.write_text(json.dumps({**entry, "after": sha256(path.read_bytes())}))
    assert any("rows of its details were changed" in fault for fault in verify(copied).faults)


def test_replay_computes_every_bit_again(recorded: tuple[Path, int], store: ModelStore, capsys):
    folder, rows = recorded
    assert main(["records", "replay", str(folder / "records"), "--store", str(store.root), "--json"]) == 0
    *text, document = capsys.readouterr().out.splitlines()
    result = json.loads(document)
    assert (result["rows"], result["different"], result["erased"], result["skipped"]) == (rows, 0, 0, {})
    assert result["explained"] == 50 + 9 + 3 + 3
    assert result["reasoned"] == 4
    assert "for which identical bits are promised" in text[-1]


def test_replay_finds_another_model_under_the_same_name(recorded: tuple[Path, int], tmp_path: Path, capsys):
    other = ModelStore(tmp_path)
    for _ in range(2):
        other.save("price", make_model(seed=9))
    assert main(["records", "replay", str(recorded[0] / "records"), "--store", str(tmp_path)]) == 3
    text = capsys.readouterr().out
    assert "version 2 of price" in text
    assert "is another one than recorded" in text
    assert "version 1 of level cannot be loaded from" in text


def test_show_prints_what_was_decided(recorded: tuple[Path, int], capsys):
    assert main(["records", "show", str(recorded[0] / "records"), "--id", "person 7"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["route"] for row in rows} == {"/predict", "/explain"}
    first = rows[0]
    assert first["id"] == "person 7"
    assert first["inputs.city"] in ("Paris", "Rome", "3", "(unseen)", None)
    assert (first["model"], first["version"], first["row"]) == ("price", 2, 7)


@pytest.mark.parametrize("name", ["00000001.details.parquet", "00000001.json"])
def test_damaged_files_are_named_in_one_line(
    copied: Path, recorded: tuple[Path, int], store: ModelStore, capsys, name: str
):
    path, signing = sorted(copied.rglob(name))[0], ["--key", str(recorded[0] / "private.pem")]
    path.write_bytes(path.read_bytes()[:50])
    for command in (["show"], ["replay", "--store", str(store.root)], ["erase", "--id", "nobody", *signing]):
        assert main(["records", command[0], str(copied), *command[1:]]) == 2
        error = capsys.readouterr().err
        assert f"{name} cannot be read: it was changed" in error
        assert error.count("\n") == 1


def test_a_process_that_is_ended_loses_none_and_one_that_is_killed_at_most_the_open_part(
    store: ModelStore, tmp_path: Path
):
    rows = make_rows(300)
    for number, name in ((signal.SIGTERM, "ended"), (signal.SIGKILL, "killed")):
        folder = tmp_path / name
        with running_server(
            store.root,
            tmp_path / f"{name}.log",
            EIGENSERVE_DEFAULT_MODEL="price",
            EIGENSERVE_RECORDS=str(folder),
            EIGENSERVE_RECORDS_PART_S="5",
            EIGENSERVE_RECORDS_PART_ROWS="250",
            EIGENSERVE_WORKERS="2" if number == signal.SIGTERM else "1",
        ) as server:
            server.client.post("/predict", json={"instances": rows})
            ends = time.monotonic() + 20
            while not list(folder.rglob("00000001.json")):  # the first part is full at once
                assert time.monotonic() < ends
                time.sleep(0.05)
            server.client.post("/predict", json={"instances": rows[:100]})
            if number == signal.SIGKILL:
                while json.loads(next(folder.rglob("open.json")).read_text())["rows"] != 100:
                    assert time.monotonic() < ends
                    time.sleep(0.05)
            server.stop(number)
        verdict = verify(folder)
        assert verdict.faults == []
        if number == signal.SIGTERM:
            assert (verdict.rows, verdict.lost) == (400, [])
            continue
        assert verdict.rows == 300
        assert verdict.lost[0].endswith("its process was killed: at least 100 rows of part 2 were lost")
        # A copy, as another machine would see it: only the marker's age says whether somebody will go on.
        copy = shutil.copytree(folder, tmp_path / "copy")
        assert verify(copy).lost == []
        assert "part 2 is open with 100 rows" in verify(copy).open[0]
        marker = next(copy.rglob("open.json"))
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "at": time.time() - 3600}))
        assert "at least 100 rows of part 2 were lost" in verify(copy).lost[0]


def test_a_process_is_known_by_more_than_its_number(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", PRINT_HOLDERS, str(tmp_path)], stdout=-1, stdin=-1, text=True
    ) as child:
        assert child.stdout is not None
        process, folder = (child.stdout.readline().strip() for _ in range(2))
        assert holding.is_process_running(process) is True
        assert holding.is_folder_held(tmp_path, folder) is True
        child.kill()
        assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet reaped
        assert holding.is_process_running(process) is False
        assert holding.is_folder_held(tmp_path, folder) is False
    assert holding.is_process_running(process) is False
    boot, namespace, pid, started = holding.this_process().split(" ")
    assert holding.is_process_running(f"{boot} {namespace} {pid} {int(started) - 1}") is False
    for elsewhere in ("", "text", f"another {namespace} {pid} {started}", f"{boot} pid:[1] {pid} {started}"):
        assert holding.is_process_running(elsewhere) is None
        assert holding.is_folder_held(tmp_path, elsewhere) is None


def test_a_server_that_nobody_asks_is_not_taken_for_dead(store: ModelStore, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("eigenserve.app.observability.records.recorder.IDLE_S", 0.05)
    monkeypatch.setattr("eigenserve.app.observability.records.parts.MARKED_S", 0.01)
    monkeypatch.setattr("eigenserve.app.observability.records.documents.STALE_S", 1.0)
    with app_client(store, records=str(tmp_path)):
        ends = time.monotonic() + 10
        while not list(tmp_path.rglob("open.json")):
            assert time.monotonic() < ends
            time.sleep(0.05)
        time.sleep(1.5)
        assert verify(tmp_path).lost == []
        assert "is open with 0 rows, last written 0 s ago" in verify(tmp_path).open[0]
    assert verify(tmp_path).open == []


def test_what_has_no_room_is_dropped_and_counted_or_refused(store: ModelStore, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("eigenserve.app.observability.records.parts.PartsSink.take", lambda self, *_: stuck())

    def stuck() -> None:
        raise OSError("the disk is full")

    small = {"records": str(tmp_path), "records_buffer_rows": 5, "records_part_rows": 1, "drain_timeout_s": 0.1}
    with app_client(store, **small) as client:
        statuses = [client.post("/predict", json={"instances": [ROW] * 3}).status_code for _ in range(4)]
        assert statuses == [200] * 4
        assert "eigenserve_records_dropped_total 9.0" in client.get("/metrics").text
    with app_client(store, **small, records_when_full="refuse") as client:
        answers = [client.post("/predict", json={"instances": [ROW] * 3}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 503, 503, 503]
        ends = time.monotonic() + 10
        while (last := client.post("/predict", json={"instances": [ROW] * 3})).headers["Retry-After"] != "15":
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert "decisions cannot be recorded, since what records them fails" in last.json()["detail"]


def test_a_part_that_failed_is_written_once(store: ModelStore, tmp_path: Path, monkeypatch):
    write, failures = LocalFolder.write, iter([True, False, True])

    def failing(self: LocalFolder, path: str, content: bytes) -> None:
        if path.endswith("1.json") and next(failures, False):
            raise OSError("not now")
        write(self, path, content)

    monkeypatch.setattr(LocalFolder, "write", failing)
    with app_client(store, records=str(tmp_path), records_part_s=0.1) as client:
        for name in ("price", "choice"):
            client.post("/predict", json={"instances": make_rows(20), "model": name})
    verdict = verify(tmp_path)
    assert (verdict.faults, verdict.lost, verdict.rows) == ([], [], 40)


def test_a_share_of_a_route_is_recorded(store: ModelStore, tmp_path: Path):
    with app_client(store, records=str(tmp_path), records_sample="/predict=0,/explain=1") as client:
        client.post("/predict", json={"instances": [ROW]})
        client.post("/explain", json={"instances": [ROW]})
    assert verify(tmp_path).rows == 1


def test_records_go_wherever_fsspec_reaches(store: ModelStore):
    pytest.importorskip("fsspec")
    with app_client(store, records="memory://audit/records") as client:
        client.post("/predict", json={"instances": PEOPLE[:20]})
    folder = open_folder("memory://audit/records")
    verdict = Verifier(folder).verify()
    assert (verdict.faults, verdict.lost, verdict.rows) == ([], [], 20)
    assert erase(folder, "person 3").rows == 1
    assert Verifier(folder).verify().faults == []


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict, dict]]]]:
    """A receiver of events that fails at first, and what it got."""
    got: list[tuple[dict, dict]] = []
    failures = iter([True])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            failed = next(failures, False)
            if self.headers["Ce-Id"] == "refused":
                self.send_error(413)
                return
            if not failed:
                got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(500 if failed else 202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_events_are_those_of_kserves_logger(store: ModelStore, receiver: tuple[str, list], tmp_path: Path):
    url, got = receiver
    with app_client(store, records=f"{url},{tmp_path}") as client:
        body = {"instances": [{"id": 5, **ROW}]}
        client.post("/explain", json=body, headers={"X-Request-ID": "mine"})
    (asked, instances), (answered, predictions) = got
    assert [h["ce-type"] for h in (asked, answered)] == [
        "org.kubeflow.serving.inference.request",
        "org.kubeflow.serving.inference.response",
    ]
    assert asked["ce-id"] == answered["ce-id"] == "mine"
    assert (asked["ce-specversion"], asked["ce-inferenceservicename"]) == ("1.0", "price")
    assert instances == body
    assert len(predictions["predictions"]) == 1
    assert verify(tmp_path).rows == 1


def test_events_have_the_ids_of_an_arrow_table(store: ModelStore, receiver: tuple[str, list]):
    url, got = receiver
    sink = io.BytesIO()
    table = pyarrow.Table.from_pylist([{"id": i, **ROW} for i in (7, 8)])
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with app_client(store, records=url) as client:
        headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
        client.post("/predict?model=price", content=sink.getvalue(), headers=headers)
        client.post("/predict", json={"instances": [{"id": "after"}]})
    instances = [document["instances"] for _, document in got if "instances" in document]
    assert [[row["id"] for row in rows] for rows in instances] == [[7, 8], ["after"]]


@pytest.mark.parametrize("when_full", ["drop", "refuse"])
def test_what_can_never_be_written_keeps_nothing_waiting(
    store: ModelStore, receiver: tuple[str, list], tmp_path: Path, monkeypatch, caplog, when_full: str
):
    url, got = receiver

    def spoiled(batch: Answered) -> dict:
        return {"x": object()} if batch.request_id == "spoiled" else _answers(batch)

    monkeypatch.setattr("eigenserve.app.observability.records.events._answers", spoiled)
    real = decisions.tables

    def tables(kind: Any, batches: list[Answered]) -> Any:
        assert "spoiled" not in [batch.request_id for batch in batches]
        return real(kind, batches)

    monkeypatch.setattr("eigenserve.app.observability.records.parts.tables", tables)
    small = {"records_buffer_rows": 5, "records_when_full": when_full}
    with app_client(store, records=f"{url},{tmp_path}", **small) as client:
        for name in ("first", "spoiled", "refused", "last"):
            assert client.post("/predict", json=ROW_ALONE, headers={"X-Request-ID": name}).status_code == 200
    assert [headers["ce-id"] for headers, _ in got] == ["first", "first", "last", "last"]
    verdict = verify(tmp_path)
    assert (verdict.rows, verdict.faults) == (3, [])
    assert "1 rows were dropped" in verdict.lost[0]
    assert caplog.text.count("records are lost") == 3


def test_bytes_that_wait_are_bounded_too(store: ModelStore, tmp_path: Path, monkeypatch):
    def stuck() -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("eigenserve.app.observability.records.parts.PartsSink.take", lambda self, *_: stuck())
    small = {"records": str(tmp_path), "records_buffer_mb": 1, "drain_timeout_s": 0.1}
    with app_client(store, **small) as client:
        for _ in range(4):
            client.post("/predict", json={"instances": [{"id": "x" * 500}] * 1000})
        assert "eigenserve_records_dropped_total 3000.0" in client.get("/metrics").text


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, copied: Path, capsys):
    assert main(["records", "verify", str(tmp_path / "none")]) == 2
    assert main(["records", "verify", str(copied)]) == 0
    assert "in order: 1 chains" in capsys.readouterr().out
    flip(chain_of(copied), "decisions.parquet")
    assert main(["records", "verify", str(copied), "--json"]) == 1
    text = capsys.readouterr().out
    assert "was changed" in text.splitlines()[0]
    assert json.loads(text.splitlines()[-1])["heads"]
