"""Tables come from files, folders, globs, standard input, workbooks and URLs; a target is read with its spellings."""

import bz2
import gzip
import io
import lzma
import re
import shlex
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigenserve.app.batch.places import Place
from eigenserve.app.batch.table import Table
from eigenserve.app.wire.tables import _read_csv
from eigenserve.cli import main
from eigenserve.errors import UserError
from eigenserve.model.rows.sources import sources_of, table_name
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.sampling import read_sample
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.table import FileOptions, read_table
from eigenserve.training.data.target import split_target
from eigenserve.training.settings import make_settings
from eigenserve.training.training_table import training_table

FRAME = pd.DataFrame({"x": [1.5, 2.5, 3.5, 4.5], "word": ["a", "b", "a", "ü"], "y": [1, 2, 3, 4]})


def write(frame, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    else:
        frame.to_csv(path, index=False, **options)
    return path


def assert_same(found, expected=FRAME):
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("way", ["folder", "glob", "recursive glob"])
def test_parts_are_one_table_in_the_order_of_their_names(tmp_path, suffix, way):
    for i, name in enumerate(("b", "a", "c")):
        write(FRAME.assign(part=i), tmp_path / "parts" / f"{name}{suffix}")
    (tmp_path / "parts" / "_SUCCESS").touch()
    (tmp_path / "parts" / ".hidden.csv").write_text("nothing")
    data = {"folder": "parts", "glob": f"parts/*{suffix}", "recursive glob": f"**/*{suffix}"}[way]
    found = read_table(tmp_path / data)
    assert found["part"].tolist() == [1] * 4 + [0] * 4 + [2] * 4
    assert_same(found.iloc[:4])
    sample = read_sample(tmp_path / data, 5, seed=0)
    assert (len(sample.frame), sample.total) == (5, 12)
    assert table_name(tmp_path / "parts" / f"*{suffix}") == "parts"


def test_folders_named_by_a_value_are_a_column(tmp_path):
    for year in (2023, 2024):
        write(FRAME, tmp_path / "parts" / f"year={year}" / "0.parquet")
    assert read_table(tmp_path / "parts")["year"].tolist() == ["2023"] * 4 + ["2024"] * 4


@pytest.mark.parametrize("rows", [1_000, 3])
def test_a_column_that_files_have_too_is_theirs_where_their_folder_agrees(tmp_path, rows):
    for shop in (1, 2):
        write(FRAME.assign(shop=shop), tmp_path / "parts" / f"shop={shop}" / "0.parquet")
    assert set(read_sample(tmp_path / "parts", rows, seed=0).frame["shop"]) <= {1, 2}
    assert read_table(tmp_path / "parts")["shop"].tolist() == [1] * 4 + [2] * 4
    write(FRAME.assign(shop=3), tmp_path / "parts" / "shop=2" / "0.parquet")
    with pytest.raises(UserError, match="in a folder shop=2, but its column 'shop' has 3: rename one"):
        read_table(tmp_path / "parts")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "has no file that ends in one of"),
        ({"a.csv": FRAME, "b.csv": FRAME.drop(columns="x")}, "parts must have the same columns"),
        ({"a.csv": FRAME, "b.parquet": FRAME}, "must hold parts of one format; it has csv and parquet"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, files, says):
    for name, frame in files.items():
        write(frame, tmp_path / name)
    with pytest.raises(UserError) as caught:
        read_table(tmp_path)
    assert says in str(caught.value)


@pytest.mark.parametrize(("end", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_text_may_be_compressed(tmp_path, end, pack):
    path = tmp_path / f"a.tsv{end}"
    path.write_bytes(pack(FRAME.to_csv(index=False, sep="\t").encode()))
    assert_same(read_table(path))


def test_standard_input_may_be_text_parquet_or_packed(tmp_path, monkeypatch):
    text = FRAME.to_csv(index=False).encode()
    parquet = write(FRAME, tmp_path / "a.parquet").read_bytes()
    for content in (text, gzip.compress(text), parquet):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert_same(read_table("-"))
    assert table_name("-") == ""


def test_a_workbook_is_read_by_its_types(tmp_path):
    pytest.importorskip("openpyxl")
    when = pd.date_range("2024-01-01", periods=4)
    with pd.ExcelWriter(tmp_path / "a.xlsx") as book:
        FRAME.assign(when=when, code=["NA", None, "x", "01"]).to_excel(book, sheet_name="data", index=False)
        FRAME.to_excel(book, sheet_name="more", index=False)
    found = read_sample(tmp_path / "a.xlsx", 10, seed=0)
    assert_same(found.frame)
    assert found.frame["when"].tolist() == when.tolist()
    assert found.frame["code"].tolist()[3] == "01"
    assert "the first of 2 sheets was read, 'data'" in found.notes


def workbook(path, **sheets):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


DATA = [["x", "word", "y"], *FRAME.to_numpy().tolist()]


@pytest.mark.parametrize(
    "first",
    [[["Survey 2024", "contact"], ["of June", "Ann"]], [["Survey 2024"]], [], [["x", "z"], [1, 2]]],
    ids=["another table", "one line", "empty", "some of its columns"],
)
def test_the_only_sheet_with_the_columns_that_are_wanted_is_read_by_every_command(tmp_path, first):
    path = workbook(tmp_path / "a.xlsx", notes=first, data=[["Title"], *DATA], legend=[["code"], [1]])
    for wanted in (("y",), ("y", "x", "word"), ("x", "word")):
        found = read_sample(path, 10, seed=0, options=FileOptions(wanted=wanted))
        assert_same(found.frame)
        assert found.notes[0] == "the sheet 'data' was read, which has the columns that the first, 'notes', has not"
    (part,) = Table([Place(str(path))], ["word"]).parts(100)
    assert part.rows.num_rows == 4


def test_a_workbook_whose_sheet_is_unclear_is_refused_with_its_sheets(tmp_path):
    wanted = FileOptions(wanted=("y",))
    path = workbook(tmp_path / "a.xlsx", notes=[["Survey", "of"], [1, 2]], May=DATA, June=DATA)
    with pytest.raises(UserError, match="has the columns in several sheets, 'May' and 'June': move the one to read"):
        read_table(path, wanted)
    path = workbook(tmp_path / "b.xlsx", notes=[["Survey", "of"], [1, 2]], more=[["x", "Y"], [1, 2]], none=[])
    with pytest.raises(
        UserError, match=r"no sheet of .*b\.xlsx has a column 'y'; they have 'notes': Survey, of; 'more': x"
    ):
        read_table(path, wanted)
    path = workbook(tmp_path / "c.xlsx", May=DATA, June=DATA)
    assert read_sample(path, 10, seed=0, options=wanted).notes == ("the first of 2 sheets was read, 'May'",)


@pytest.mark.parametrize("dimension", ["", '<dimension ref="A1"/>'])
def test_a_workbook_that_says_little_or_nothing_of_its_size_is_read_whole(tmp_path, dimension):
    pytest.importorskip("openpyxl")
    FRAME.assign(last=[1, None, 3, None]).to_excel(tmp_path / "a.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        parts = {name: book.read(name) for name in book.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    # Streaming writers leave out the size, and the cells that are empty.
    sheet = re.sub(
        "<dimension[^>]*>", dimension, re.sub(r"<c r=\"D[35]\"[^>]*?/>|<c r=\"D[35]\"[^>]*>.*?</c>", "", sheet)
    )
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as book:
        for name, content in parts.items():
            book.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else content)
    found = read_table(tmp_path / "b.xlsx")
    assert_same(found)
    assert found["last"].isna().tolist() == [False, True, False, True]


def test_formulas_without_values_are_refused_and_those_that_are_empty_texts_are_missing(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["x", "y"], [1, "=A2*2"], [2, "=A3*2"], [None, 4]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(UserError, match=r"formulas without values, such as B2 \(2 in all\).* open it in Excel"):
        read_table(tmp_path / "a.xlsx")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            sheet = re.sub(rb'<c r="(B[23])"><f>', rb'<c r="\1" t="str"><f>', old.read(name))
            new.writestr(name, sheet)
    assert read_table(tmp_path / "b.xlsx")["y"].isna().tolist() == [True, True, False]


@pytest.fixture
def web(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_fetched(web, tmp_path):
    write(FRAME, tmp_path / "a.parquet")
    assert_same(read_table(f"{web}/a.parquet"))
    with pytest.raises(UserError, match=r"b\.csv cannot be fetched"):
        read_table(f"{web}/b.csv")
    assert table_name(f"{web}/a.parquet?version=2") == "a"


def test_an_object_store_is_read_through_fsspec():
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://tables/part-0.csv", "wb") as file:
        file.write(FRAME.to_csv(index=False).encode())
    for url in ("memory://tables/part-0.csv", "memory://tables/*.csv", "memory://tables"):
        assert_same(read_table(url))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_points_next_to_hundreds_part_thousands_in_files_too(tmp_path, separator):
    sizes = [567, 3, *range(1_001, 300_000, 9_973)]
    lines = [separator.join(("n", "y")), *(separator.join((f"{n:,}".replace(",", "."), str(n))) for n in sizes)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    read = read_columns(read_table(tmp_path / "t.csv"))
    assert read.frame["n"].tolist() == sizes
    assert "(--decimal '.' reads otherwise)" in read.notes[0]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("odd", ["", "1.5"])
def test_a_decimal_comma_that_is_given_makes_points_part_thousands_in_every_csv_file(tmp_path, separator, odd):
    sizes = [*range(1_001, 300_000, 997)]
    lines = [f"{n:,}".replace(",", ".") + f"{separator}{n}{separator}0.25" for n in sizes]
    (tmp_path / "t.csv").write_text(
        "\n".join([separator.join("nyx"), *lines, *([separator.join((odd, "1", "0.5"))] * bool(odd))])
    )
    frame = read_table(tmp_path / "t.csv", FileOptions(decimal=","))
    read = read_columns(frame, ReadingOptions(decimal=","))
    assert read.frame["n"].dropna().tolist() == sizes
    assert read.frame["x"].max() == (0.5 if odd else 0.25)
    table = training_table(frame, "n", make_settings({"decimal": ","}))
    assert table.target.values.tolist() == sizes
    assert any("'1.001' is 1001" in note for note in table.notes)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("x;word;y\n1.5;a;1\n", {}),
        ("x^word^y\n1.5^a^1\n", {"separator": "^"}),
        ("x\tword\ty\n1.5\ta\t1\n", {"separator": "tab"}),
    ],
)
def test_separators_are_inferred_or_given(tmp_path, content, options):
    (tmp_path / "a.csv").write_text(content)
    assert read_table(tmp_path / "a.csv", FileOptions(**options)).iloc[0].tolist() == [1.5, "a", 1]


def test_runs_of_blanks_are_one_separator_to_fit_score_and_the_service(tmp_path):
    lines = [f'{x:8.2f} {x % 3:3d} \t "town {x % 3}" {2 * x:7d}  \n' for x in range(12)]
    (tmp_path / "a.txt").write_text("       x   n town       y\n" + "".join(lines))
    found = read_sample(tmp_path / "a.txt", 100, seed=0, options=FileOptions(wanted=("y",)))
    assert found.notes == ("cells are separated by runs of blanks",)
    expected = pd.DataFrame(
        {
            "x": np.arange(12.0),
            "n": np.arange(12) % 3,
            "town": [f"town {x % 3}" for x in range(12)],
            "y": 2 * np.arange(12),
        }
    )
    assert_same(found.frame, expected)
    assert_same(read_table(tmp_path / "a.txt", FileOptions(separator=" ")), expected)
    (part,) = Table([Place(str(tmp_path / "a.txt"))], ["town", "n"]).parts(100)
    assert part.rows.to_pydict()["town"] == expected["town"].tolist()
    features = infer_features(expected[["n", "town"]])
    served = SimpleNamespace(model=SimpleNamespace(features=features))
    body = _read_csv((tmp_path / "a.txt").read_bytes(), served, (), 100, lambda: None)
    assert features.encode(body).tolist() == features.encode(expected[["n", "town"]]).tolist()


def test_a_table_of_blanks_without_a_header_is_named_as_such(tmp_path):
    (tmp_path / "auto.txt").write_text('18.0   8   307.0\t"chevrolet chevelle malibu"\n15.0   8   350.0\t"buick"\n' * 3)
    rows = read_table(tmp_path / "auto.txt", FileOptions(wanted=("mpg",)))
    with pytest.raises(UserError, match="the first line seems to be data; put a line of names above it"):
        training_table(rows, "mpg", make_settings({}))


def test_an_encoding_that_is_not_utf8_is_reported(tmp_path):
    (tmp_path / "a.csv").write_bytes("town,y\nKöln,1\nBonn,2\n".encode("latin-1"))
    found = read_sample(tmp_path / "a.csv", 10, seed=0)
    assert found.frame["town"].tolist() == ["Köln", "Bonn"]
    assert "read as cp1252" in found.notes[0]
    (tmp_path / "b.csv").write_bytes("town,y\nКиев,1\n".encode("koi8-u"))
    assert read_table(tmp_path / "b.csv", FileOptions(encoding="koi8-u"))["town"].tolist() == ["Киев"]
    with pytest.raises(UserError, match="unknown encoding 'martian'"):
        read_table(tmp_path / "b.csv", FileOptions(encoding="martian"))


def test_a_column_that_pandas_keeps_as_an_index_is_a_column(tmp_path):
    path = tmp_path / "a.parquet"
    FRAME.set_index("x").to_parquet(path)
    assert set(read_table(path)) == {"x", "word", "y"}
    FRAME.set_axis([7, 3, 9, 1]).to_parquet(path)
    assert set(read_table(path)) == {"x", "word", "y"}
    assert sources_of(path)[0].format == "parquet"


def target_of(values, **options):
    frame = pd.DataFrame({"x": np.arange(len(values)), "y": pd.Series(values, dtype=options.pop("dtype", None))})
    return split_target(frame, "y", **options)


def test_whole_numbers_with_a_gap_stay_classes():
    table, target, notes = target_of([0, 1, 2, None] * 10)
    assert (target.task, target.classes, len(table)) == ("multiclass", (0, 1, 2), 30)
    assert any("10 rows without a 'y' were left out" in note for note in notes)


def test_a_class_that_is_a_word_for_missing_is_named_where_no_other_is_left():
    with pytest.raises(UserError, match=r"it is Apnea in every row; 10 rows without .*--missing 'y=' makes it a class"):
        target_of(["None", "Apnea"] * 10)


def test_cells_that_keep_a_target_from_being_numbers_are_named():
    values = [f"{i}.5" for i in range(100)]
    frame = pd.DataFrame({"x": range(100), "y": [*values[:4], "12O", *values[5:]]})
    with pytest.raises(UserError, match=r"100 classes .* but for 1: '12O' in row 5\. Mend .*--types y=number"):
        training_table(frame, "y", make_settings({"types": "y=category"}))


def test_spellings_of_a_label_are_one_class():
    _, target, notes = target_of(["yes", "yes ", "Yes", "no", "NO", "y"] * 5)
    assert target.classes == ("no", "y", "yes")
    assert any("are one category" in note for note in notes)
    _, target, _ = target_of(["y", "Y", "n", "n"] * 5)
    assert (target.task, len(target.classes)) == ("binary", 2)


def test_labels_of_another_table_are_found_by_any_spelling():
    _, target, _ = target_of(["YES ", "no", "No"], classes=("no", "yes"), task="binary")
    assert target.values.tolist() == [1.0, 0.0, 0.0]
    _, target, _ = target_of([1.0, 0.0, 2.0], classes=("0", "1", "2"), task="multiclass")
    assert target.values.tolist() == [1.0, 0.0, 2.0]
    with pytest.raises(UserError, match="class 'maybe' in 'y' is none of the model's"):
        target_of(["maybe"], classes=("no", "yes"), task="binary")


def test_the_positive_class_may_be_chosen():
    _, target, _ = target_of(["bad", "good"] * 10, positive="BAD")
    assert target.classes == ("good", "bad")
    with pytest.raises(UserError, match="--positive must be one of the two classes"):
        target_of(["bad", "good"] * 10, positive="ugly")
    with pytest.raises(UserError, match="--positive needs a target of two classes"):
        target_of(NUMBERS, positive="1")


NUMBERS = [1.5, 2.5, 3.5, 4.5] * 10


def test_numbers_of_a_target_may_be_written_as_texts():
    _, target, _ = target_of(["$1,200", "$950", "$3,400", "n.a."] * 10)
    assert (target.task, target.values[0], len(target.values)) == ("regression", 1200.0, 30)


def test_a_word_for_missing_among_labels_is_named():
    _, target, notes = target_of(["None", "apnea", "insomnia"] * 10)
    assert target.classes == ("apnea", "insomnia")
    assert any("'None', in 10 of them, counts as missing" in note for note in notes)


def test_repeated_rows_are_counted_and_judged_together():
    frame = pd.DataFrame({"x": np.linspace(0, 1, 100), "y": np.linspace(1, 2, 100)})
    table = training_table(pd.concat([frame, frame.head(10)]), "y", make_settings({}))
    assert table.notes[-1].startswith("10 rows (9.1%) repeat another one")
    np.testing.assert_array_equal(table.target.groups[100:], table.target.groups[:10])
    assert "repeat" not in " ".join(training_table(frame, "y", make_settings({})).notes)


def test_identifiers_are_left_out_unless_they_are_wanted():
    rows = 40
    frame = pd.DataFrame(
        {
            "PassengerId": np.random.default_rng(0).permutation(rows),
            "row": np.arange(1, rows + 1),
            "name": [f"n{i}" for i in range(rows)],
            "year": np.arange(1980, 1980 + rows),
            "x": np.linspace(0, 1, rows),
            "y": np.linspace(0, 1, rows),
        }
    )
    table = training_table(frame, "y", make_settings({}))
    assert list(table.features) == ["year", "x"]
    assert "'PassengerId', 'row', 'name' are different in every row, as identifiers are" in " ".join(table.notes)
    kept = training_table(frame, "y", make_settings({"types": "row=number"}))
    assert list(kept.features) == ["row", "year", "x"]
    assert list(training_table(frame, "y", make_settings({"features": ["name", "x"]})).features) == ["name", "x"]


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (pd.date_range("2020", periods=40, freq="7h"), "2020-01-01"),
        ([f"k{i}" for i in range(40)], "k0"),
        (np.linspace(0.5, 1, 40), "0.5"),
        (np.arange(40) * 10, "0"),
        (np.arange(40), ""),
        (np.arange(5, 45), ""),
    ],
)
@pytest.mark.parametrize("rows", [1000, 30])
def test_an_index_without_a_name_is_left_out_with_a_note(index, said, rows, tmp_path):
    frame = pd.DataFrame({"z": NUMBERS[:40], "y": NUMBERS[:40]}, index=index)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=True), tmp_path / "data.parquet")
    sample = read_sample(tmp_path / "data.parquet", rows, 0)
    assert list(sample.frame) == ["z", "y"]
    notes = [note for note in sample.notes if "index" in note]
    if rows == 1000:
        assert bool(notes) == bool(said)
    assert not said or (notes and "give it a name" in notes[0])
    assert rows < 40 or not said or f"'{said}" in notes[0]


def test_a_plan_says_what_is_known_of_the_table(tmp_path, capsys):
    frame = pd.DataFrame({"id": range(40), "size": [f"{i}.5 kg" for i in range(40)], "y": NUMBERS[:40]})
    frame.to_csv(tmp_path / "data.csv", index=False)
    assert main(["fit", str(tmp_path / "data.csv"), "--target", "y", "--plan", "--store", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "note: 'id' is different in every row" in printed
    assert "note: 'size' is read as numbers: '0.5 kg' is 0.5" in printed
    assert "note: task: regression" in printed


@pytest.mark.parametrize(
    ("name", "left_out"),
    {
        "customer_id": True,
        "accountnumber": True,
        "Invoice No": True,
        "serial number": True,
        "Number of households": False,
        "No. of inhabitants": False,
        "no_of_cars": False,
        "number": False,
        "order_value": False,
        "index_close": False,
        "price index": False,
        "NO2": False,
        "NO": False,
        "record_high": False,
        "key figure": False,
        "total ids": False,
    }.items(),
)
def test_a_name_alone_does_not_make_a_quantity_an_identifier(name, left_out):
    rng = np.random.default_rng(0)
    counts = rng.choice(20_000, 200, replace=False) + 1
    frame = pd.DataFrame({name: counts, "y": 2.0 * counts, "z": rng.normal(size=200)})
    table = training_table(frame, "y", make_settings({}))
    assert (name not in table.features) == left_out
    assert not left_out or shlex.quote(f"{name}=number") in " ".join(table.notes)
    # Rounded, they are a quantity whatever their name.
    rounded = frame.assign(**{name: 50 * counts})
    assert name in training_table(rounded, "y", make_settings({})).features
    # Permuted row numbers are none.
    if "of" not in name and name not in ("NO2", "total ids"):
        dense = frame.assign(**{name: rng.permutation(200) + 7})
        assert name not in training_table(dense, "y", make_settings({})).features


def test_names_with_commas_may_be_left_out():
    frame = pd.DataFrame({"last, first": ["a", "b"] * 15, "b": range(30), "x": NUMBERS[:30], "y": NUMBERS[:30]})
    table = training_table(frame, "y", make_settings({"exclude": ["last", " first", "b"]}))
    assert list(table.features) == ["x"]
    with pytest.raises(UserError, match="no column 'X'; there is a column 'x'"):
        training_table(frame, "y", make_settings({"exclude": ["X"]}))


def test_types_and_formats_may_name_columns_with_commas():
    settings = make_settings(
        {"types": "Prix, EUR=category, zip=number,a,b=date", "date_format": "%d.%m.%Y,when, at=%b %d, %Y"}
    )
    assert settings.types == (("Prix, EUR", "category"), ("zip", "number"), ("a,b", "date"))
    assert settings.date_format == (("", "%d.%m.%Y"), ("when, at", "%b %d, %Y"))


@pytest.mark.parametrize("role", ["weight", "exposure", "offset"])
def test_what_weighs_rows_is_read_as_numbers_in_what_is_said_and_in_what_is_done(role):
    counts = np.arange(60) % 5
    frame = pd.DataFrame({"w": [f"1,{i % 7 + 1}" for i in range(60)], "x": counts + 0.5, "y": counts})
    table = training_table(frame, "y", make_settings({role: "w", "task": "poisson"}))
    assert "'w' is read as numbers: '1,1' is 1.1" in table.notes
    assert not any("categories" in note for note in table.notes)
    if role == "weight":
        assert table.weight[:3].tolist() == [1.1, 1.2, 1.3]


def test_weights_that_are_not_positive_are_named():
    frame = pd.DataFrame({"x": range(30), "w": [1.0, 0.0] + [1.0] * 28, "text": ["a"] * 30, "y": [0.5, 1.5, 2.5] * 10})
    with pytest.raises(UserError, match=r"in 1 it does not, such as row 2 with 0: remove these rows"):
        training_table(frame, "y", make_settings({"weight": "w"}))
    with pytest.raises(UserError, match=r"row 1 has 'a': name another column"):
        training_table(frame, "y", make_settings({"weight": "text"}))


ROWS = "".join(f"{i};{i % 3},5;{'ab'[i % 2]}\n" for i in range(9))
TITLED = {
    "one line": "Report of sales 2024\n\nx;y;word\n" + ROWS,
    "padded": "Report of sales 2024;;\nall shops, all days;;\nx;y;word\n" + ROWS,
    "two lines of names": "'Report;;2024\nx;y;word\n" + ROWS,
    "merged cells": "Report;;\n;;\nx;y;word\n" + ROWS,
}


@pytest.mark.parametrize("content", TITLED.values(), ids=TITLED)
def test_lines_of_titles_above_a_header_are_passed_over_with_a_note(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    found = read_sample(tmp_path / "a.csv", 100, 0, FileOptions(wanted=("y",)))
    assert list(found.frame) == ["x", "y", "word"]
    assert len(found.frame) == 9
    assert any("above the header" in note and "Report" in note for note in found.notes)


def test_titles_of_a_workbook_are_passed_over_with_a_note(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Sales report 2024"], [], ["x", "y"], *([i, i / 2] for i in range(9))):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    found = read_sample(tmp_path / "a.xlsx", 100, 0)
    assert found.frame["y"].tolist() == [i / 2 for i in range(9)]
    assert "1 line above the header was passed over: 'Sales report 2024'" in found.notes


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("x\na,NA\na,5\nb,6\nb,7\n", None),
        ("x\nr1,NA\nr2,5\nr3,6\nr4,7\n", ["x"]),
        (",x\na,b\nc,1\nd,2\ne,3\n", ["x"]),
        ("x\n" + "".join(f"{i}\n" for i in range(9)), ["x"]),
        ("name,\nfoo,bar\nbaz,qux\na,b\nc,d\n", ["name"]),
        ("x,tags\n" + "1,a;b\n2,c;4\n3,d;5\n4,e;6\n", ["x", "tags"]),
    ],
)
def test_a_header_that_may_be_one_stays(tmp_path, content, names):
    (tmp_path / "a.csv").write_text(content)
    if names is None:
        with pytest.raises(UserError, match=r"rows must have 1 values.*remove the lines above the header"):
            read_table(tmp_path / "a.csv")
    else:
        assert list(read_table(tmp_path / "a.csv")) == names


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.zip", b"PK\x03\x04", "a.zip cannot be read; unpack it"),
        ("a.sav", b"$FL2", "save it as CSV or Parquet, as pandas.read_spss"),
        ("a.xls", b"\xd0\xcf\x11\xe0", "save it as .xlsx or CSV"),
        ("a.csv", b"PK\x03\x04" + b"0" * 30, "first bytes are those of a zip archive: unpack it"),
        ("a.csv", b"PK\x03\x04xl/workbook.xml", "an Excel workbook: let its name end in .xlsx"),
        ("a.csv", b"PAR1" + b"\x15\0" * 9, "a Parquet file: let its name end in .parquet"),
        ("a.csv", gzip.compress(b"x,y", mtime=0), "a file compressed by gzip: let its name end in .gz"),
        ("a.csv", b"<!DOCTYPE html><html>", "a web page"),
        ("a.csv", b'[{"x": 1}]', "those of JSON"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1", "not an Excel workbook; its first bytes are those of an old Excel"),
        ("a.xlsx", b"x,y\n1,2\n", "seems to be text: let its name end in .csv"),
        ("a.parquet", b"x,y\n1,2\n", "seems to be text: let its name end in .csv"),
        ("a.csv.gz", b"x,y\n1,2\n", "leave .gz out of its name"),
    ],
)
def test_what_is_not_what_its_name_says_is_named_by_its_first_bytes(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_sample(tmp_path / name, 10, 0)
    assert says in str(caught.value)


@pytest.mark.parametrize("rows", [1_000, 5])
def test_parts_may_store_texts_in_several_ways_and_have_no_rows(tmp_path, rows):
    write(FRAME, tmp_path / "a.parquet")
    write(FRAME.assign(word=FRAME["word"].astype("category")), tmp_path / "b.parquet")
    write(FRAME.assign(x=FRAME["word"]).iloc[:0], tmp_path / "c.parquet")
    assert read_table(tmp_path)["word"].tolist() == [*FRAME["word"]] * 2
    assert len(read_sample(tmp_path, rows, seed=0).frame) == min(8, rows)
    write(FRAME.assign(x=FRAME["word"]), tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"'x' is double in .*a\.parquet and large_string in .*c\.parquet: write it as"):
        read_sample(tmp_path, rows, seed=0)


def test_an_empty_part_is_passed_over_with_a_note(tmp_path):
    write(FRAME, tmp_path / "a.csv")
    (tmp_path / "b.csv").touch()
    found = read_sample(tmp_path, 10, seed=0)
    assert_same(found.frame)
    assert any("b.csv is empty" in note for note in found.notes)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("'a','b','y'\n'1','2','3'\n", "cells are in the quotes ', which CSV does not know: put \" in their place"),
        ('"a,b,y"\n"1,2,3"\n', "each line is in quotes as a whole: remove the quotes around lines"),
    ],
)
def test_quotes_that_csv_does_not_know_are_named(tmp_path, content, says):
    (tmp_path / "a.csv").write_text(content * 30)
    with pytest.raises(UserError) as caught:
        training_table(read_table(tmp_path / "a.csv", FileOptions(wanted=("y",))), "y", make_settings({}))
    assert says in str(caught.value)


def test_a_target_may_be_called_as_parameters_are():
    for name in ("self", "axis", "columns", "index"):
        frame = pd.DataFrame({"x": [i % 7 for i in range(60)], name: [i / 2 for i in range(60)]})
        assert training_table(frame, name, make_settings({})).target.values.tolist() == frame[name].tolist()
