"""What goes wrong around a run of `score`: nothing of the user's is lost, and one line says what to do."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from tests.support.made_models import FEATURES, make_rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from eigenserve.app.batch.errors import ScoreError  # noqa: E402
from eigenserve.app.batch.folders import LocalFolder, folder_beside  # noqa: E402
from eigenserve.app.batch.local import score_here  # noqa: E402
from eigenserve.app.batch.places import Place  # noqa: E402
from eigenserve.app.batch.run import score_file  # noqa: E402
from eigenserve.app.batch.scorer import Options, Scorer, serve  # noqa: E402
from eigenserve.app.batch.table import Table  # noqa: E402
from eigenserve.cli import main  # noqa: E402
from eigenserve.model import ModelStore  # noqa: E402

NAMES = [feature.name for feature in FEATURES]
ROWS = [{name: row.get(name) for name in NAMES} for row in make_rows(300, seed=3)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("eigenserve.app.batch.scorer.PART_ROWS", 64)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({name: [row[name] for row in ROWS] for name in NAMES}), path)
    return path


@pytest.mark.parametrize(
    "spelling", ["./rows.parquet", "{}", "file://{}", "local://{}", "soft.parquet", "hard.parquet"]
)
def test_the_input_is_not_overwritten_however_it_is_written(spelling: str, data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(data.parent)
    Path("soft.parquet").symlink_to(data)
    os.link(data, "hard.parquet")
    before = data.read_bytes()
    given = Place(spelling.format(data))
    for pair in ((Place("rows.parquet"), given), (given, Place("rows.parquet"))):
        assert pair[0].is_same(pair[1])
    assert not given.is_same(Place("other.parquet"))
    assert not Place("other.parquet").is_same(given)
    assert main(["score", "none", "rows.parquet", "--out", given.text]) == 2
    assert data.read_bytes() == before


def test_urls_are_compared_by_what_they_name():
    pytest.importorskip("fsspec")
    url = Place("memory://rows/a.csv")
    assert url.is_same(Place("memory:///rows/a.csv"))
    assert url.is_same(Place("simplecache::memory://rows/a.csv"))
    assert not url.is_same(Place("memory://rows/b.csv"))
    assert not url.is_same(Place("rows/a.csv"))


def test_file_urls_are_local_files(store: ModelStore, data: Path):
    out = data.with_name("out.csv")
    score_file(store.load("price"), Place(f"file://{data}"), Place(f"file://{out}"))
    assert len(out.read_text().splitlines()) == 301
    assert isinstance(folder_beside(Place(f"file://{out}")), LocalFolder)


def test_a_folder_that_holds_something_else_is_left_alone(store: ModelStore, data: Path):
    out = data.with_name("out.csv")
    folder = data.with_name(".out.csv.parts")
    folder.mkdir()
    for name in ("letter.txt", "key"):
        (folder / name).write_text("dear")
        with pytest.raises(ScoreError, match="holds other files"):
            score_file(store.load("price"), Place(str(data)), Place(str(out)))
        assert (folder / name).read_text() == "dear"


def test_who_waits_for_a_lock_does_not_get_one_on_a_removed_folder(tmp_path: Path):
    folder = LocalFolder(tmp_path / "parts")
    inside, most, failed = 0, 0, []

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            try:
                with folder.lock():
                    inside += 1
                    most = max(most, inside)
                    folder.write("key", b"")
                    inside -= 1
                    folder.clear()
            except ScoreError:
                pass
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, failed) == (1, [])


def test_a_full_disk_is_reported_by_the_name_of_the_output_and_the_run_goes_on(
    store: ModelStore, data: Path, monkeypatch: pytest.MonkeyPatch
):
    out = Place(str(data.with_name("out.csv")))
    written = LocalFolder.write

    def write(self: LocalFolder, name: str, content: bytes) -> None:
        if name.startswith("000002"):
            raise OSError(errno.ENOSPC, "No space left on device")
        written(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "write", write)
        with pytest.raises(ScoreError, match=r"out\.csv cannot be written: No space left on device; .* resumes"):
            score_file(store.load("price"), Place(str(data)), out)
    assert score_file(store.load("price"), Place(str(data)), out).resumed_rows == 128


def test_no_draft_is_left_of_what_could_not_be_written(tmp_path: Path):
    folder = LocalFolder(tmp_path / "parts")
    folder.write("key", b"")

    def write_half() -> None:
        with folder.publish(Place(str(tmp_path / "out.csv"))) as file:
            file.write(b"half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert folder.names() == ["key"]


def test_a_run_that_starts_over_says_so(store: ModelStore, data: Path, capsys: pytest.CaptureFixture[str]):
    def engine(scorer, table, first):
        for part in score_here(scorer, table, first):
            yield part
            raise KeyboardInterrupt

    out = data.with_name("out.csv")
    with pytest.raises(KeyboardInterrupt):
        score_file(store.load("price", 1), Place(str(data)), Place(str(out)), engine=engine)
    assert main(["score", str(store.root / "price/2"), str(data), "--out", str(out)]) == 0
    assert "discarded 1 finished parts of another model, file, method, release or CPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["age,income\n1,2\n", "", ",".join(NAMES) + "\n1\n"], ids=["lacks", "empty", "short"]
)
def test_a_run_that_fails_at_once_leaves_nothing(content: str, store: ModelStore, tmp_path: Path):
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(ScoreError):
        score_file(store.load("price"), Place(str(tmp_path / "rows.csv")), Place(str(tmp_path / "out.csv")))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_a_ray_address_needs_the_engine_ray(capsys: pytest.CaptureFixture[str]):
    assert main(["score", "m", "d.csv", "--out", "o.csv", "--ray-address", "auto"]) == 2
    assert "--ray-address requires --engine ray" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".stream.arrow"])
def test_the_share_that_is_reported_is_that_of_the_rows(suffix: str, store: ModelStore, data: Path):
    table, path = pq.read_table(data), data.with_name(f"rows{suffix}")
    if suffix == ".csv":
        lines = [f"1,1.0,,,{cell:.3f}" for cell in table["rate"].fill_null(0.5).to_pylist()]
        path.write_text("\n".join([",".join(NAMES), *lines]))
    elif suffix != ".parquet":
        new = pa.ipc.new_stream if "stream" in suffix else pa.ipc.new_file
        with new(str(path), table.schema) as writer:
            writer.write_table(table)
    scorer, file, rows = Scorer(serve(store.load("price")), Options()), Table([Place(str(path))], NAMES), 0
    for part in score_here(scorer, file, 0):
        rows += part.rows
        # Lines of CSV differ in length, and a stream ends with some bytes of its own.
        assert file.done == pytest.approx(rows / len(ROWS), abs=0.05)
    assert file.done == 1


def test_a_column_that_is_ignored_may_be_written_in_another_encoding(store: ModelStore, tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_bytes((",".join([*NAMES, "town"]) + "\n,,,,1,K\xf6ln\n").encode("latin-1"))
    out = tmp_path / "out.csv"
    assert score_file(store.load("price"), Place(str(path)), Place(str(out))).rows == 1
