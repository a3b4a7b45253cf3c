"""The benchmark of accuracy goes on where it was stopped, past tables that cannot be read, and names mistakes."""

import json

import pandas as pd
import pytest
from benchmarks import accuracy

RESULT = {"loss": 1.0, "fit_s": 1.0, "fit_cpu_s": 1.0, "predict_us": 1.0, "peak_bytes": 1}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three tables: of the first there is no file, the second lacks its target."""
    monkeypatch.setattr(accuracy, "_alone", lambda *_: dict(RESULT))
    names = ("gone", "other", "good")
    entries = [{"name": name, "file": f"{name}.csv", "target": "y"} for name in names]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    pd.DataFrame({"a": range(30)}).to_csv(tmp_path / "other.csv", index=False)
    pd.DataFrame({"a": range(30), "y": range(30)}).to_csv(tmp_path / "good.csv", index=False)
    return tmp_path


def run(folder, *more):
    out = folder / "out.json"
    accuracy.main(["--folder", str(folder), "--learners", "eigenserve", "--out", str(out), *more])


def test_tables_that_cannot_be_read_are_named_and_the_others_are_done(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        run(folder)
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "left out, cannot be read: gone: " in said.out
    assert "left out, cannot be read: other: no column 'y'; the only column is 'a'" in said.out
    assert said.err == "2 of 3 tables could not be read: gone, other\n"
    assert json.loads((folder / "out.json").read_text())["good"]["learners"]["eigenserve"]["2"] == RESULT
    assert [path.name for path in folder.glob("*.draft")] == []


def test_a_damaged_file_of_results_is_named_and_kept(folder, capsys):
    run(folder, "--tables", "good")
    whole = (folder / "out.json").read_text()
    (folder / "out.json").write_text(whole[:-20])
    with pytest.raises(SystemExit) as ended:
        run(folder, "--tables", "good")
    assert ended.value.code == 2
    assert "out.json is damaged" in capsys.readouterr().err.splitlines()[-1]
    assert (folder / "out.json").read_text() == whole[:-20]


def test_results_are_whole_however_their_writing_ends(folder, monkeypatch):
    run(folder, "--tables", "good", "--splits", "0")
    before = (folder / "out.json").read_text()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(folder, "--tables", "good", "--splits", "1")
    assert (folder / "out.json").read_text() == before


@pytest.mark.parametrize(
    ("manifest", "more", "words"),
    [
        (None, (), "must have a manifest.json, a list of its tables"),
        ("[", (), "manifest.json must be a list of"),
        ("{}", ("--tables", "x"), "must be of"),
        ('["good"]', (), "manifest.json must be a list of"),
        ('[{"file": "good.csv"}]', (), "KeyError: 'name'"),
        ("[]", ("--splits", "a"), "must be whole numbers from 0 such as 0,1,2; got 'a'"),
        ("[]", ("--splits", "1,"), "got '1,'"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, manifest, more, words):
    if manifest is None:
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text(manifest)
    with pytest.raises(SystemExit) as ended:
        run(folder, *more)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
