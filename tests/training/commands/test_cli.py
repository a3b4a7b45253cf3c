"""The command line as a process: what it writes, says and returns, and every mistake in one line."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eigenserve.cli import main
from eigenserve.model import load_model
from eigenserve.model.checkpoints.files import DOCUMENT, WEIGHTS

ROOT = Path(__file__).parents[3]
DATA = ROOT / "examples" / "data"
QUICK = ("--members", "2", "--dim", "5", "--budget", "0.3", "--reproducible")
#: How far it is, how it stands, and the time left.
PROGRESS = re.compile(r" *\d+%  .+?(  \d+ s left)?")
#: A length that is given, so that a busy machine does not shorten the search.
FIXED = ("--epochs", "3")
PENGUINS = ("fit", str(DATA / "penguins.csv"), "--target", "species", *QUICK)


def run(*arguments, cwd=ROOT, **environment):
    """``eigenserve`` with these arguments, in a minute at most."""
    return subprocess.run(
        [sys.executable, "-m", "eigenserve", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store that has a penguins model, and tables and settings with something wrong."""
    folder = tmp_path_factory.mktemp("command-line")
    result = run(*PENGUINS, "--store", folder / "store")
    assert (result.returncode, "error" in result.stderr) == (0, False), result.stderr
    x = np.random.default_rng(0).standard_normal(50)
    good = pd.DataFrame({"x": x, "y": 2 * x, "word": ["a", "b", "c", "d", "e"] * 10, "same": 1})
    good.to_csv(folder / "good.csv", index=False)
    good.to_csv(folder / "good.dbf", index=False)
    good.head(5).to_csv(folder / "short.csv", index=False)
    good.head(0).to_csv(folder / "header.csv", index=False)
    good.drop(columns="x").to_csv(folder / "narrow.csv", index=False)
    (folder / "empty.csv").write_bytes(b"")
    (folder / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 10)
    (folder / "doubled.csv").write_text("x,x\n1,2\n3,4\n")
    (folder / "no.csv.gz").write_text("x,y\n1,2\n")
    (folder / "cut.csv.gz").write_bytes(gzip.compress((folder / "good.csv").read_bytes())[:200])
    (folder / "no.parquet").write_text("x,y\n1,2\n")
    (folder / "no.arrow").write_text("x,y\n1,2\n")
    (folder / "a_folder.csv").mkdir()
    (folder / "bad.toml").write_text("dim = = 3\n")
    (folder / "unknown.toml").write_text("colour = 3\n")
    (folder / "wrong.toml").write_text('batch = "three"\n')
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "broken" / "model" / "1").mkdir(parents=True)
    (folder / "broken" / "model" / "1" / DOCUMENT).write_text("{}")
    return folder


def fit(data="good.csv", target="y"):
    return ["fit", data, "--target", target, *QUICK, "--name", "made"]


MISTAKES = {
    "no command": ([], "required"),
    "unknown command": (["learn"], "learn"),
    "no target": (["fit", "good.csv"], "--target"),
    "unknown option": ([*fit(), "--colour", "red"], "--colour red (see eigenserve fit --help)"),
    "no name in the data": (["fit", ".", "--target", "y"], "cannot be inferred from '.'"),
    "unknown level": (["kernels", "made", "x86-64-v9"], "LEVEL must be one of x86-64-v2"),
    "folder without levels": (["kernels", "made"], "at least one LEVEL"),
    "unknown scope": (["new-key", "us", "--scopes", "predict,fly"], "--scopes must be of"),
    "no date": (["new-key", "us", "--expires", "tomorrow"], "--expires must be a date such as 2027-01-31"),
    "number for a date": (["new-key", "us", "--expires", "12"], "--expires must be a date such as 2027-01-31"),
    "text for a number": ([*fit(), "--dim", "big"], "--dim"),
    "dim out of range": ([*fit(), "--dim", "0"], "dim must be at least 1; got 0"),
    "members out of range": ([*fit(), "--members", "-1"], "members must be at least 1; got -1"),
    "negative seed": ([*fit(), "--seed", "-1"], "seed must be a whole number from 0; got -1"),
    "unknown task": ([*fit(), "--task", "ranking"], "ranking"),
    "unknown device": ([*fit(), "--device", "tpu"], "tpu"),
    "unknown curves": ([*fit(), "--curves", "round"], "curves must be one of"),
    "missing file": (fit("nowhere.csv"), "nowhere.csv"),
    "folder for a file": (fit("a_folder.csv"), "a_folder.csv"),
    "wrong extension": (fit("good.dbf"), "good.dbf must end in one of"),
    "empty file": (fit("empty.csv"), "empty.csv"),
    "only a header": (fit("header.csv"), "header.csv must have at least one row"),
    "too few rows": (fit("short.csv"), "rows are needed; got 5"),
    "ragged rows": (fit("ragged.csv"), "ragged.csv"),
    "bytes for text": (fit("binary.csv"), "binary.csv"),
    "doubled column": (fit("doubled.csv"), "more than one column named 'x'"),
    "no gzip": (fit("no.csv.gz"), "no.csv.gz"),
    "truncated gzip": (fit("cut.csv.gz"), "cut.csv.gz"),
    "no parquet": (fit("no.parquet"), "no.parquet"),
    "no arrow": (fit("no.arrow"), "no.arrow"),
    "unknown target": (fit(target="z"), "no column 'z'; the columns are x, y, word, same"),
    "constant target": (fit(target="same"), "target 'same' must vary; it is 1 in every row"),
    "text target": ([*fit(target="word"), "--task", "regression"], "a regression target must be a number"),
    "many classes": ([*fit(), "--task", "binary"], "a binary target must have 2 classes"),
    "negative counts": ([*fit(), "--task", "poisson"], "a poisson target must be at least 0"),
    "unknown feature": ([*fit(), "--features", "x,z"], "no column 'z'"),
    "unknown excluded": ([*fit(), "--exclude", "z"], "no column 'z'"),
    "nothing left": ([*fit(), "--exclude", "x,word"], "at least one feature must vary"),
    "half a pair": ([*fit(), "--pairs", "x"], "a pair must be two different features"),
    "a pair of one": ([*fit(), "--pairs", "x:x"], "a pair must be two different features"),
    "unknown in a pair": ([*fit(), "--pairs", "x:z"], "no feature 'z'"),
    "target in a pair": ([*fit(), "--pairs", "x:y"], "no feature 'y'"),
    "bad TOML": ([*fit(), "--config", "bad.toml"], "bad.toml is not valid TOML"),
    "unknown setting": ([*fit(), "--config", "unknown.toml"], "unknown setting 'colour'"),
    "wrong setting": ([*fit(), "--config", "wrong.toml"], "batch must be"),
    "bytes for TOML": ([*fit(), "--config", "binary.toml"], "binary.toml"),
    "missing TOML": ([*fit(), "--config", "nowhere.toml"], "nowhere.toml"),
    "folder for TOML": ([*fit(), "--config", "a_folder.csv"], "a_folder.csv"),
    "missing test file": ([*fit(), "--test", "nowhere.csv"], "nowhere.csv"),
    "test without target": ([*fit("good.csv", "x"), "--test", "narrow.csv"], "must have the column 'x'"),
    "test without feature": ([*fit(), "--test", "narrow.csv"], "column 'x'"),
    "name outside the store": ([*fit(), "--name", "../made"], "a model's name must be"),
    "file for a store": ([*fit(), "--store", "good.csv"], "good.csv"),
    "unknown kind of store": ([*fit(), "--store", "nope://x"], "nope://x cannot be opened"),
    "no such model": (["evaluate", "store/boats", "good.csv"], "no model at store/boats"),
    "no such version": (["evaluate", "store/penguins/9", "good.csv"], "9"),
    "dot for a model": (["evaluate", ".", "good.csv"], "no model"),
    "damaged model": (["evaluate", "broken/model", "good.csv"], "broken/model/1/model.safetensors"),
    "other rows": (["evaluate", "store/penguins", "good.csv"], "no column 'species'"),
}


def assert_one_line(mistake, code, out, err):
    lines = [line for line in err.splitlines() if not PROGRESS.fullmatch(line)]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert MISTAKES[mistake][1] in lines[0]
    assert len(lines[0]) < 500
    assert (code, out) == (2, "")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_on_standard_error_and_exit_code_2(mistake, folder, capfd, monkeypatch):
    # Within this process: a new one for each would take minutes.
    monkeypatch.chdir(folder)
    code = main(MISTAKES[mistake][0])
    assert_one_line(mistake, code, *capfd.readouterr())
    assert not (folder / "models").exists()


@pytest.mark.parametrize(
    "mistake",
    ["missing file", "unknown target", "constant target", "text target", "unknown option", "damaged model"],
)
def test_a_process_says_the_same(mistake, folder):
    result = run(*MISTAKES[mistake][0], cwd=folder)
    assert_one_line(mistake, result.returncode, result.stdout, result.stderr)


@pytest.mark.parametrize("mistake", ["test without target", "test without feature", "file for a store"])
def test_a_mistake_is_reported_before_the_training_begins(mistake, folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    main(MISTAKES[mistake][0])
    assert "left" not in capfd.readouterr().err


def test_the_last_line_with_json_is_the_result(tmp_path):
    data = DATA / "penguins.csv"
    result = run(*PENGUINS, "--store", tmp_path, "--test", data, "--seed", 3, "--json")
    assert result.returncode == 0
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["model"], found["version"], found["task"]) == ("penguins", 1, "multiclass")
    assert found["path"] == str(tmp_path / "penguins" / "1")
    assert found["metrics"]["test"]["rows"] == 344
    model = load_model(tmp_path / "penguins")
    assert model.card["metrics"] == found["metrics"]
    assert model.card["training"]["settings"]["seed"] == 3
    judged = run("evaluate", tmp_path / "penguins", data, "--json")
    again = json.loads(judged.stdout.splitlines()[-1])
    assert again["metrics"]["penguins.csv"] == found["metrics"]["test"]
    assert (again["model"], again["version"]) == ("penguins", 1)


def test_progress_is_plain_lines_where_there_is_no_terminal(tmp_path):
    result = run(*PENGUINS, "--store", tmp_path)
    lines = result.stderr.splitlines()
    assert lines
    assert all(PROGRESS.fullmatch(line) for line in lines)
    assert lines[-1] == "100%  done"
    assert "\x1b" not in result.stderr + result.stdout
    assert "\r" not in result.stderr + result.stdout
    assert f"wrote {tmp_path / 'penguins' / '1'} in " in result.stdout
    header, *rows = result.stdout.splitlines()[-6:-1]
    assert header.split() == ["out", "of", "fold", "(344", "rows)"]
    assert [row.split()[0] for row in rows] == ["log_loss", "accuracy", "auc", "ece"]
    # The metric, and its confidence interval, which the calibration error has none of.
    assert all(re.fullmatch(r"\w+ +[\d.]+ \[[\d.]+, [\d.]+\]", row) for row in rows[:-1])
    assert re.fullmatch(r"ece +[\d.]+ *", rows[-1])


def test_two_processes_write_the_same_bytes(tmp_path):
    for number, hash_seed in ((1, "0"), (2, "1")):
        result = run(
            *PENGUINS,
            *FIXED,
            "--store",
            tmp_path / str(number),
            PYTHONHASHSEED=hash_seed,
            NUMBA_NUM_THREADS=str(number),
        )
        assert result.returncode == 0
    for name in (DOCUMENT, WEIGHTS):
        one, other = ((tmp_path / n / "penguins" / "1" / name).read_bytes() for n in "12")
        assert one == other


def test_every_kind_of_table_gives_the_same_model(tmp_path):
    frame = pd.read_csv(DATA / "penguins.csv")
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.to_csv(tmp_path / "data.csv.gz", index=False)
    frame.to_parquet(tmp_path / "data.parquet")
    frame.to_feather(tmp_path / "data.arrow")
    weights = set()
    for name in ("data.csv", "data.csv.gz", "data.parquet", "data.arrow"):
        result = run("fit", name, "--target", "species", *QUICK, *FIXED, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found = sorted((tmp_path / "models" / "data").iterdir(), key=lambda p: int(p.name))[-1]
        weights.add((found / WEIGHTS).read_bytes())
    assert len(weights) == 1


def test_settings_come_from_a_file_and_options_go_first(tmp_path):
    (tmp_path / "fit.toml").write_text(
        'dim = 7\nmembers = 2\nbudget = 0.3\npairs = [["sex", "island"]]\nexclude = ["body_mass_g"]\n'
    )
    result = run(
        *("fit", DATA / "penguins.csv", "--target", "species", "--config", "fit.toml", "--dim", "3"),
        cwd=tmp_path,
        EIGENSERVE_STORE=str(tmp_path / "elsewhere"),
    )
    assert result.returncode == 0, result.stderr
    model = load_model(tmp_path / "elsewhere" / "penguins")
    assert model.ensemble.pencil.dim == 3
    assert model.ensemble.pencil.num_heads == 2 * 3
    names = [term.name for term in model.ensemble.pencil.terms]
    assert "sex & island" in names
    assert "body_mass_g" not in names


@pytest.mark.parametrize("command", [[], ["fit"], ["evaluate"]], ids=["training", "fit", "evaluate"])
def test_help_is_given(command):
    result = run(*command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "usage: eigenserve" in result.stdout


def test_an_unreachable_store_is_reported_as_it_is(monkeypatch, capsys):
    def unreachable(path):
        raise OSError("the store s3://bucket cannot be read: no such bucket")

    monkeypatch.setattr("eigenserve.model.checkpoints.locations.load_model", unreachable)
    assert main(["evaluate", "s3://bucket/model", "rows.csv"]) == 2
    assert capsys.readouterr().err == "error: the store s3://bucket cannot be read: no such bucket\n"


def test_a_value_that_looks_like_an_option_is_shown_how_to_give(capsys):
    assert main(["fit", "a.csv", "--target", "y", "--missing", "-999,NA"]) == 2
    assert "one that begins with - follows an equals sign: --missing=VALUE" in capsys.readouterr().err
