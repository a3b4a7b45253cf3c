"""`eigenserve score`: the right answers, in order, the same bytes whatever happened on the way."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.support.made_models import FEATURES, make_model, make_rows

from eigenserve.model import ModelStore, load_model
from eigenserve.model.rows.cells import category_key

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

from eigenserve.app.batch import run as run_module  # noqa: E402
from eigenserve.app.batch.errors import ScoreError  # noqa: E402
from eigenserve.app.batch.folders import folder_beside  # noqa: E402
from eigenserve.app.batch.local import score_here  # noqa: E402
from eigenserve.app.batch.places import Place  # noqa: E402
from eigenserve.app.batch.progress import ScoreProgress  # noqa: E402
from eigenserve.app.batch.run import score_file  # noqa: E402
from eigenserve.app.batch.scorer import Options, Scorer, serve  # noqa: E402
from eigenserve.app.observability.machine import arithmetic  # noqa: E402

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[3]
NAMES = [feature.name for feature in FEATURES]
ROWS = [{name: row.get(name) for name in NAMES} for row in make_rows(700, seed=8)]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "eigenserve", "score", *map(str, arguments)]


def score(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)


def write(rows: list[dict], path: Path) -> Path:
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    table = table.add_column(0, "note", pa.array(['a, "b"\nc'] * len(rows)))
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=97)
    elif path.suffix in (".arrow", ".feather"):
        feather.write_feather(table, path, chunksize=89)
    else:
        sink = io.StringIO()
        writer = csv.writer(sink)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        content = sink.getvalue().encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix in (".arrow", ".feather"):
        return feather.read_table(path)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header, *rows = csv.reader(io.StringIO(content.decode()))
    return pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)))


def write_texts(rows: list[dict], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, NAMES)
        writer.writeheader()
        writer.writerows(rows)


def stop_after(count: int):
    """The local engine, interrupted when it has given so many parts."""

    def engine(scorer, table, first):
        for number, part in enumerate(score_here(scorer, table, first)):
            if number == count:
                raise KeyboardInterrupt
            yield part

    return engine


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 64 rows, so that small tables have many."""
    monkeypatch.setattr("eigenserve.app.batch.scorer.PART_ROWS", 64)
    monkeypatch.setattr("eigenserve.app.batch.scorer.SLOW_PART_ROWS", 64)


@pytest.mark.parametrize("given", ["rows.csv", "rows.csv.gz", "rows.parquet", "rows.arrow"])
@pytest.mark.parametrize("wanted", ["out.csv", "out.csv.gz", "out.parquet", "out.feather"])
def test_every_format_gives_the_models_own_predictions_in_order(given, wanted, store, tmp_path, small_parts):
    model = store.load("price")
    data, out = write(ROWS, tmp_path / given), tmp_path / wanted
    summary = score_file(model, Place(str(data)), Place(str(out)))
    found = read(out)
    assert found.column_names == ["prediction", "warnings"]
    assert found["warnings"].to_pylist() == model.warnings(ROWS).texts()
    assert summary.warned == model.warnings(ROWS).rows_by_kind()
    assert list(map(float, found["prediction"].to_pylist())) == model.predict(ROWS).tolist()
    assert (summary.rows, summary.nulls, summary.resumed_rows) == (700, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([given, wanted])


def in_pieces(folder: Path, suffix: str) -> Path:
    """The rows in three parts, with a file that tools leave next to them."""
    folder.mkdir()
    for i, start in enumerate(range(0, 700, 234)):
        write(ROWS[start : start + 234], folder / f"part-{i}{suffix}")
    (folder / "_SUCCESS").touch()
    return folder


def in_xlsx(path: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append([*NAMES, None])
    for row in ROWS:
        sheet.append([*row.values(), "more"])
    book.save(path)
    return path


@pytest.mark.parametrize("way", ["folder.parquet", "glob.csv", "folder.arrow", "packed", "workbook", "pipe", "url"])
def test_every_source_gives_the_models_own_predictions_in_order(way, store, tmp_path, small_parts):
    model, data, content = store.load("price"), "", b""
    kind, _, end = way.partition(".")
    if kind in ("folder", "glob"):
        folder = in_pieces(tmp_path / "parts", f".{end}")
        data = folder / f"*.{end}" if kind == "glob" else folder
    elif way == "packed":
        data = tmp_path / "rows.tsv.xz"
        data.write_bytes(lzma.compress(write(ROWS, tmp_path / "rows.csv").read_bytes()))
    elif way == "workbook":
        data = in_xlsx(tmp_path / "rows.xlsx")
    elif way == "pipe":
        data = tmp_path / "pipe"
        os.mkfifo(data)
        content = write(ROWS, tmp_path / "rows.parquet").read_bytes()
    else:
        memory = pytest.importorskip("fsspec").filesystem("memory")
        for part in in_pieces(tmp_path / "parts", ".csv").iterdir():
            memory.pipe_file(f"/parts/{part.name}", part.read_bytes())
        data = "memory://parts"
    out = Place(str(tmp_path / "out.parquet"))
    for engine in (stop_after(5), score_here):
        if content:
            threading.Thread(target=data.write_bytes, args=[content], daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            summary = score_file(model, Place(str(data)), out, engine=engine)
    assert (summary.rows, summary.resumed_rows) == (700, 320)
    found = read(tmp_path / "out.parquet")["prediction"].to_numpy()
    # A workbook keeps 16 digits of a number.
    np.testing.assert_allclose(found, model.predict(ROWS), rtol=1e-12 if way == "workbook" else 0)


def test_folders_named_by_a_value_are_a_column(store, tmp_path):
    for label in ("a", "b"):
        folder = tmp_path / "data" / f"label={label}"
        folder.mkdir(parents=True)
        write(ROWS[:3], folder / "rows.parquet")
    out = Place(str(tmp_path / "out.parquet"))
    score_file(store.load("price"), Place(str(tmp_path / "data")), out, keep=["label", "note"])
    found = read(tmp_path / "out.parquet")
    assert found["label"].to_pylist() == ["a"] * 3 + ["b"] * 3
    assert found.column_names[:3] == ["label", "note", "prediction"]
    with pytest.raises(ScoreError, match="must not be in the folder DATA"):
        score_file(store.load("price"), Place(str(tmp_path / "data")), Place(str(tmp_path / "data" / "out.csv")))


def test_standard_input_is_scored(store, tmp_path):
    data, out = write(ROWS[:20], tmp_path / "rows.csv"), tmp_path / "out.csv"
    asked = command(store.root / "price", "-", "--out", out, "--keep", "note, age")
    done = subprocess.run(asked, cwd=ROOT, input=data.read_bytes(), timeout=180, check=False)
    assert done.returncode == 0
    expected = store.load("price").predict(ROWS[:20]).tolist()
    assert list(map(float, read(out).select(["note", "age", "prediction"])[2].to_pylist())) == expected


@pytest.mark.parametrize("name", ["choice", "level", "count"])
@pytest.mark.parametrize("method", ["eigenvector", "path"])
def test_explanations_have_the_columns_of_the_service_and_add_up(name, method, store, tmp_path, small_parts):
    model, rows = store.load(name), ROWS[:150]
    out = tmp_path / "out.parquet"
    score_file(model, Place(str(write(rows, tmp_path / "rows.parquet"))), Place(str(out)), method=method)
    found = read(out).to_pydict()
    expected = model.explain(rows, method)
    parts = [key for key in found if key.startswith("contributions.")]
    assert parts == [f"contributions.{term}" for term in expected.terms]
    assert found["score"] == expected.score.tolist()
    total = np.array(found["baseline"]) + sum(np.array(found[part]) for part in parts)
    # The promise of every explanation.
    assert np.all(np.abs(total - found["score"]) <= 1e-9 * np.maximum(1, np.abs(found["score"])))
    assert found["label" if model.classes else "prediction"] == [
        category_key(label) if model.classes else label for label in model.predict(rows).tolist()
    ]


def test_a_bad_row_stops_the_run_in_one_line_that_names_it(store, tmp_path):
    rows = [dict(row) for row in ROWS[:300]]
    rows[123]["rate"] = "west"
    data = tmp_path / "rows.csv"
    write_texts(rows, data)
    done = score(store.root / "price", data, "--out", tmp_path / "out.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for text in ("row 124", "'rate'", "'west'", "--on-error null"):
        assert text in done.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("wanted", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("name", ["price", "level"])
def test_bad_rows_may_go_without_an_answer_and_are_counted(wanted, name, store, tmp_path, small_parts):
    rows = [dict(row) for row in ROWS[:300]]
    rows[3]["rate"], rows[200]["age"], rows[201]["member"] = "west", "inf", "perhaps"
    write_texts(rows, tmp_path / "rows.csv")
    model, out = store.load(name), tmp_path / wanted
    summary = score_file(model, Place(str(tmp_path / "rows.csv")), Place(str(out)), on_error="null")
    good = [i for i in range(300) if i not in (3, 200, 201)]
    expected = model.predict([ROWS[i] for i in good]).tolist()
    column = read(out)["label" if model.classes else "prediction"].to_pylist()
    assert summary.nulls == 3
    assert [column[i] for i in (3, 200, 201)] == [None if wanted == "out.parquet" else ""] * 3
    kind = str if model.classes else float
    assert [kind(column[i]) for i in good] == list(map(kind, expected))


def test_what_stands_for_a_missing_value_in_requests_does_so_here(store, tmp_path):
    (tmp_path / "rows.csv").write_text(",".join(NAMES) + '\n?,NA,n/a,NULL,1\n,,,"",1\n')
    model, out = store.load("price"), tmp_path / "out.csv"
    assert score_file(model, Place(str(tmp_path / "rows.csv")), Place(str(out))).nulls == 0
    expected = model.predict([{"rate": 1.0}]).tolist()
    assert list(map(float, read(out)["prediction"].to_pylist())) == expected * 2


def test_a_row_beyond_float64_is_bad_not_infinite(store, tmp_path):
    rows = [dict(row) for row in ROWS[:5]]
    # The curve of rate goes on linearly: in one of the two directions the score is so large that exp overflows.
    rows[2]["rate"], rows[3]["rate"] = 1e12, -1e12
    data, out = Place(str(write(rows, tmp_path / "rows.parquet"))), tmp_path / "out.parquet"
    with pytest.raises(ScoreError, match=r"row [34] .* not a finite number"):
        score_file(store.load("count"), data, Place(str(out)))
    assert score_file(store.load("count"), data, Place(str(out)), on_error="null").nulls == 1
    found = read(out)["prediction"].to_pylist()
    assert sorted(map(str, found[2:4])) == ["0.0", "None"]
    assert None not in found[:2] + found[4:]


@pytest.mark.parametrize("wanted", ["out.csv", "out.parquet", "out.arrow"])
def test_a_table_without_rows_gives_one_without_rows(wanted, store, tmp_path):
    for given in ("rows.csv", "rows.parquet"):
        table = pa.table({name: pa.array([], pa.string()) for name in NAMES})
        if given == "rows.csv":
            (tmp_path / given).write_text(",".join(NAMES) + "\n")
        else:
            pq.write_table(table, tmp_path / given)
        for method in (None, "eigenvector"):
            out = tmp_path / wanted
            summary = score_file(store.load("level"), Place(str(tmp_path / given)), Place(str(out)), method=method)
            assert summary.rows == 0
            if wanted != "out.csv":
                assert read(out).num_rows == 0
            assert "label" in out.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.write_text("age,income\n1,2\n"), "no column 'member'"),
        (lambda p: p.write_text(",".join([*NAMES, "age"]) + "\n"), "more than one column 'age'"),
        (lambda p: p.write_text(",".join(NAMES) + "\n1,2\n"), "line 2 has 2"),
        (lambda p: p.write_text(""), "first line"),
        (lambda p: None, "No such file"),
    ],
    ids=["lacks", "doubled", "short", "empty", "gone"],
)
def test_a_file_that_is_not_a_table_of_the_model_is_reported_in_one_line(change, says, store, tmp_path):
    data = tmp_path / "rows.csv"
    change(data)
    done = score(store.root / "price", data, "--out", tmp_path / "out.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "x.txt"], "must end in"),
        (["--out", "x.csv", "--method", "path"], "--explain"),
        (["--out", "x.csv", "--threads", "0"], "--threads"),
        (["--out", "none/x.csv"], "none"),
        (["--out", "rows.csv"], "--out must not be DATA"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(arguments, says, store, tmp_path):
    data = write(ROWS[:5], tmp_path / "rows.csv")
    done = subprocess.run(
        command(store.root / "price", data.name, *arguments),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_json_is_the_last_line(store, tmp_path):
    data = write(ROWS, tmp_path / "rows.parquet")
    done = score(store.root / "price" / "1", data, "--out", tmp_path / "out.arrow", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["model"], summary["version"], summary["rows"]) == ("price", 1, 700)


def test_scoring_works_where_torch_and_pandas_are_not_installed(store, tmp_path):
    data = write(ROWS, tmp_path / "rows.parquet")
    code = (
        # pyarrow looks for pandas, and takes a None in sys.modules for it.
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'pandas', 'rich', 'fsspec'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from eigenserve.cli import main\n"
        f"sys.exit(main(['score', {str(store.root / 'price')!r}, {str(data)!r}, '--out', {str(tmp_path / 'o.csv')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_pyarrow_the_command_says_what_to_install(store, tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from eigenserve.cli import main\n"
        "sys.exit(main(['score', 'models/x', 'rows.csv', '--out', 'o.csv']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "eigenserve[score]" in done.stderr


def test_the_size_of_the_machine_does_not_show_in_the_bytes(store, tmp_path):
    data = write(ROWS, tmp_path / "rows.parquet")
    found = []
    for threads in (1, 3):
        out = tmp_path / f"{threads}.parquet"
        assert score(store.root / "level", data, "--out", out, "--explain", "--threads", threads).returncode == 0
        found.append(out.read_bytes())
    assert found[0] == found[1]


def test_slow_methods_have_smaller_parts(store):
    wide = Scorer(serve(store.load("level")), Options("eigenvector")).part_rows
    assert wide & (wide - 1) == 0
    assert Scorer(serve(store.load("level")), Options("shapley")).part_rows < wide


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow"])
@pytest.mark.parametrize("source", [".parquet", ".csv", ".arrow"])
def test_a_run_stopped_after_any_part_goes_on_to_the_same_bytes(suffix, source, store, tmp_path, small_parts):
    model, data = store.load("price"), Place(str(write(ROWS, tmp_path / f"rows{source}")))
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    score_file(model, data, Place(str(whole)), method="eigenvector")
    for stop in (1, 4, 0, 5):
        with pytest.raises(KeyboardInterrupt):
            score_file(model, data, Place(str(out)), method="eigenvector", engine=stop_after(stop))
        assert not out.exists()
    # A part of which only a piece reached the disk is not a part.
    pieces = sorted((tmp_path / f".out{suffix}.parts").glob("*.part"))
    assert len(pieces) == 10
    pieces[5].write_bytes(pieces[5].read_bytes()[:-1])
    summary = score_file(model, data, Place(str(out)), method="eigenvector")
    assert summary.resumed_rows == 5 * 64
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / f".out{suffix}.parts").exists()


def damage(path: Path) -> None:
    """Change one byte in the middle of a file, neither its size nor its time of modification."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".arrow"])
def test_a_part_that_was_damaged_is_made_again(suffix, store, tmp_path, small_parts, capsys):
    model, data = store.load("price"), Place(str(write(ROWS, tmp_path / "rows.parquet")))
    whole, out = Place(str(tmp_path / f"whole{suffix}")), Place(str(tmp_path / f"out{suffix}"))
    score_file(model, data, whole)
    with pytest.raises(KeyboardInterrupt):
        score_file(model, data, out, engine=stop_after(6))
    damage(sorted((tmp_path / f".out{suffix}.parts").glob("*.part"))[3])
    summary = score_file(model, data, out, progress=ScoreProgress())
    assert summary.resumed_rows == 3 * 64
    assert "discarded a finished part that was damaged" in capsys.readouterr().err
    assert Path(out.text).read_bytes() == Path(whole.text).read_bytes()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_part_that_is_damaged_during_the_run_is_in_no_output(suffix, store, tmp_path, small_parts):
    model, data = store.load("price"), Place(str(write(ROWS, tmp_path / "rows.parquet")))
    out = Place(str(tmp_path / f"out{suffix}"))

    def damaging(scorer, table, first):
        for scored in score_here(scorer, table, first):
            if scored.number == 5:
                damage(sorted((tmp_path / f".out{suffix}.parts").glob("*.part"))[2])
            yield scored

    with pytest.raises(ScoreError, match=r"000002-.*was changed: the same command makes it again"):
        score_file(model, data, out, engine=damaging)
    assert not Path(out.text).exists()
    assert score_file(model, data, out).resumed_rows == 2 * 64


def test_a_change_in_the_middle_of_the_input_is_noticed(store, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr("eigenserve.app.batch.places.SAMPLE_BYTES", 100)
    model, path = store.load("price"), tmp_path / "rows.csv"
    write(ROWS, path)
    out = Place(str(tmp_path / "out.csv"))
    with pytest.raises(KeyboardInterrupt):
        score_file(model, Place(str(path)), out, engine=stop_after(4))
    status = path.stat()
    write([*ROWS[:300], ROWS[301], ROWS[300], *ROWS[302:]], path)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert score_file(model, Place(str(path)), out).resumed_rows == 0
    whole = Place(str(tmp_path / "whole.csv"))
    score_file(model, Place(str(path)), whole)
    assert Path(out.text).read_bytes() == Path(whole.text).read_bytes()


def test_an_input_that_changes_while_it_is_read_gives_no_output(store, tmp_path, small_parts):
    model, path, out = store.load("price"), tmp_path / "rows.csv", Place(str(tmp_path / "out.csv"))
    write(ROWS, path)

    def changing(scorer, table, first):
        for scored in score_here(scorer, table, first):
            if scored.number == 2:
                damage(path)
            yield scored

    with pytest.raises(ScoreError, match="was changed while it was read"):
        score_file(model, Place(str(path)), out, engine=changing)
    assert not Path(out.text).exists()
    assert not (tmp_path / ".out.csv.parts").exists()


def test_parts_of_another_cpu_are_not_mixed_in(store, tmp_path, small_parts, monkeypatch):
    model, data = store.load("price"), Place(str(write(ROWS, tmp_path / "rows.parquet")))
    out = Place(str(tmp_path / "out.parquet"))
    with pytest.raises(KeyboardInterrupt):
        score_file(model, data, out, engine=stop_after(4))
    monkeypatch.setattr(run_module, "arithmetic", lambda: {**arithmetic(), "cpu": "another"})
    assert score_file(model, data, out).resumed_rows == 0


def test_what_another_run_left_is_not_mixed_in(store, tmp_path, small_parts):
    data, out = write(ROWS, tmp_path / "rows.parquet"), Place(str(tmp_path / "out.parquet"))
    with pytest.raises(KeyboardInterrupt):
        score_file(store.load("price", 1), Place(str(data)), out, engine=stop_after(1))
    other = store.load("price", 2)
    assert score_file(other, Place(str(data)), out).resumed_rows == 0
    assert read(tmp_path / "out.parquet")["prediction"].to_pylist() == other.predict(ROWS).tolist()


def test_a_run_that_a_bad_row_stopped_goes_on_without_it(store, tmp_path, small_parts):
    rows = [dict(row) for row in ROWS]
    rows[300]["income"] = "much"
    write_texts(rows, tmp_path / "rows.csv")
    model, data, out = store.load("price"), Place(str(tmp_path / "rows.csv")), Place(str(tmp_path / "out.csv"))
    with pytest.raises(ScoreError, match="row 301"):
        score_file(model, data, out)
    summary = score_file(model, data, out, on_error="null")
    assert (summary.resumed_rows, summary.nulls) == (256, 1)


def test_a_run_that_is_to_stop_at_bad_rows_does_not_take_up_parts_with_some(store, tmp_path, small_parts):
    rows = [dict(row) for row in ROWS]
    rows[100]["income"] = "much"
    write_texts(rows, tmp_path / "rows.csv")
    model, data, out = store.load("price"), Place(str(tmp_path / "rows.csv")), Place(str(tmp_path / "out.csv"))
    with pytest.raises(KeyboardInterrupt):
        score_file(model, data, out, on_error="null", engine=stop_after(4))
    with pytest.raises(ScoreError, match="row 101"):
        score_file(model, data, out)


def test_two_runs_do_not_write_the_same_output(store, tmp_path):
    data, out = write(ROWS, tmp_path / "rows.parquet"), Place(str(tmp_path / "out.parquet"))
    with folder_beside(out).lock():
        done = score(store.root / "price", data, "--out", out.text)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "another process" in done.stderr


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path):
    store = ModelStore(tmp_path / "models")
    store.save("slow", make_model(seed=9, members=24, dim=9))
    rows = ROWS * 600
    data = write(rows, tmp_path / "rows.parquet")
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    started = time.monotonic()
    assert score(store.root / "slow", data, "--out", whole).returncode == 0
    whole_s = time.monotonic() - started
    generator = np.random.default_rng()
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(
            command(store.root / "slow", data, "--out", out),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            process.wait(generator.uniform(0.2, 0.9) * whole_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if out.exists():
            break
    assert kills
    done = score(store.root / "slow", data, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert read(out).num_rows == len(rows)


def test_urls_are_read_and_written_through_fsspec(store, tmp_path, small_parts, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    memory = fsspec.filesystem("memory")
    for path in (store.root / "price").rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/models/{path.relative_to(store.root)}", path.read_bytes())
    for suffix in (".csv", ".parquet", ".arrow"):
        memory.pipe_file(f"/data/rows{suffix}", write(ROWS, tmp_path / f"rows{suffix}").read_bytes())
        model = load_model("memory://models/price")
        assert model.card["version"] == 2
        summary = score_file(model, Place(f"memory://data/rows{suffix}"), Place(f"memory://out/o{suffix}"))
        (tmp_path / f"out{suffix}").write_bytes(memory.cat_file(f"/out/o{suffix}"))
        expected = load_model(store.root / "price").predict(ROWS).tolist()
        assert list(map(float, read(tmp_path / f"out{suffix}")["prediction"].to_pylist())) == expected
        assert summary.rows == 700
        assert memory.ls("/out", detail=False) == [f"/out/o{suffix}"]
        memory.rm("/out", recursive=True)
    assert load_model("memory://models/price/1").card["version"] == 1
