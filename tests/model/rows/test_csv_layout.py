"""The structure of a CSV text is inferred, the same by both parsers, and what has none is refused by its lines."""

import io

import pytest

from eigenserve.model.rows.csv_arrow import text_batches
from eigenserve.model.rows.errors import CsvError
from eigenserve.model.rows.layout.csv_layout import columns_of, infer_layout
from eigenserve.model.rows.text_encoding import encoding_of

TWO = {"a": ["1", "3"], "b": ["2", "4"]}
#: name -> (bytes, columns).
TEXTS = {
    "plain": (b"a,b\n1,2\n3,4\n", TWO),
    "no end": (b"a,b\n1,2\n3,4", TWO),
    "windows": (b"a,b\r\n1,2\r\n3,4\r\n", TWO),
    "old mac": (b"a,b\r1,2\r3,4\r", TWO),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n3,4\n", TWO),
    "utf-16": ("a,b\n1,2\n3,4\n".encode("utf-16"), TWO),
    "utf-16 big": (b"\xfe\xff" + "a,b\n1,2\n3,4\n".encode("utf-16-be"), TWO),
    "utf-32": ("a,b\n1,2\n3,4\n".encode("utf-32"), TWO),
    "utf-32 big": (b"\x00\x00\xfe\xff" + "a,b\n1,2\n3,4\n".encode("utf-32-be"), TWO),
    "empty rows above": (b',\n ,\n"",""\na,b\n1,2\n3,4\n', TWO),
    "empty rows below the hint": (b"sep=;\n;\n;\na;b\n1;2\n3;4\n", TWO),
    "semicolons": (b"a;b\n1;2\n3;4\n", TWO),
    "tabs": (b"a\tb\n1\t2\n3\t4\n", TWO),
    "pipes": (b"a|b\n1|2\n3|4\n", TWO),
    "excel's hint": (b"sep=;\r\na;b\r\n1;2\r\n3;4\r\n", TWO),
    "comments": (b"# made, by, hand\n# today\na,b\n1,2\n3,4\n", TWO),
    "header of a comment": (b"#a,b\n1,2\n3,4\n", {"#a": ["1", "3"], "b": ["2", "4"]}),
    "blank lines": (b"\n\na,b\n1,2\n\n   \n3,4\n\n\n", TWO),
    "blanks in the header": (b" a, b \n1,2\n3,4\n", TWO),
    "blanks before quotes": (b'a, "b"\n1, "2"\n3, "4"\n', TWO),
    "rows end in a comma": (b"a,b\n1,2,\n3,4,\n", TWO),
    "all end in a comma": (b"a,b,\n1,2,\n3,4,\n", TWO),
    "header ends in a comma": (b"a,b,\n1,2\n3,4\n", TWO),
    "row names": (b"a,b\n1,1,2\n2,3,4\n", TWO),
    "row names of words": (b"a,b\nx,1,2\ny,3,4\n", TWO),
    "row names of a part of the rows": (
        b"a,b\n" + b"".join(b"%d,%d,%d\n" % (3 * i, i, i % 3) for i in range(12)),
        {"a": [str(i) for i in range(12)], "b": [str(i % 3) for i in range(12)]},
    ),
    "row names with digits": (b"a,b\nMazda RX4,1,2\nDatsun 710,3,4\n", TWO),
    "index of pandas": (b",a,b\n0,1,2\n1,3,4\n", TWO),
    "quoted separators": (b'a,b\n"1,5","x\ny"\n"say ""hi""",z\n', {"a": ["1,5", 'say "hi"'], "b": ["x\ny", "z"]}),
    "a quote inside": (b'a,b\n5" pipe,2\n3" pipe,4\n', {"a": ['5" pipe', '3" pipe'], "b": ["2", "4"]}),
    "decimal commas": (b"a;b\n1,5;2\n3,5;4\n", {"a": ["1,5", "3,5"], "b": ["2", "4"]}),
    "one column": (b"a\n1\n3\n", {"a": ["1", "3"]}),
    "one row": (b"a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
    "no rows": (b"a,b\n", {"a": [], "b": []}),
    "aligned by blanks": (b"  a   b\n  1   2\n  3   4\n 10  20\n", {"a": ["1", "3", "10"], "b": ["2", "4", "20"]}),
    "blanks and tabs": (
        b'a    b name\n18.0 8\t"chevrolet chevelle"\n15.0 8\t"say ""hi"""  \n\n9. 4\t"vw"\n',
        {"a": ["18.0", "15.0", "9."], "b": ["8", "8", "4"], "name": ["chevrolet chevelle", 'say "hi"', "vw"]},
    ),
    "single blanks": (b"a b\n1 2\n3 4\n5 6\n", {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}),
    "decimal commas between blanks": (
        b"a   b\n1,5 2\n3,5 4\n1,2 3\n",
        {"a": ["1,5", "3,5", "1,2"], "b": ["2", "4", "3"]},
    ),
    "comments above blanks": (b"# by hand\na  b\n1  2\n3  4\n5  6\n", {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}),
    "row names of R": (
        b'"a" "b"\n"1" 1 "x y"\n"2" 3 "z"\n"3" 5 "x y"\n',
        {"a": ["1", "3", "5"], "b": ["x y", "z", "x y"]},
    ),
    "texts of a column": (
        b"first name\nAnn Lee\nBob Fox\nCat Dow\n",
        {"first name": ["Ann Lee", "Bob Fox", "Cat Dow"]},
    ),
    "blanks behind commas": (b"a, b\n1, 2\n3, 4\n5, 6\n", {"a": ["1", "3", "5"], "b": [" 2", " 4", " 6"]}),
    "latin": ("a,b\nü,2\né,4\n".encode("latin-1"), {"a": ["ü", "é"], "b": ["2", "4"]}),
}


def many(line, rows=12):
    return "".join(line.format(i, 7 * i % rows + 20) + "\n" for i in range(1, rows + 1)).encode()


def by_arrow(content, layout):
    positions = [i for i, name in enumerate(layout.names) if name]
    columns = {layout.names[i]: [] for i in positions}
    for batch in text_batches(lambda: io.BytesIO(content), layout, positions, block_bytes=2**16):
        for i in positions:
            columns[layout.names[i]] += batch.column(batch.schema.get_field_index(str(i))).to_pylist()
    return columns


@pytest.mark.parametrize("name", TEXTS)
def test_both_parsers_read_the_same_columns(name):
    content, expected = TEXTS[name]
    layout = infer_layout(content, complete=True, encoding=encoding_of(io.BytesIO(content)))
    assert columns_of(content[layout.start :].decode(layout.encoding), layout) == expected
    assert by_arrow(content, layout) == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must have a first line"),
        (b"\n \n", "must have a first line"),
        (b"a,b\n1,2\n3\n", "line 3 has 1"),
        (b"a,b\n1,2\n3,4,5\n6,7\n8\n", "line 3 has 3, line 5 has 1"),
        (b'a,b\n"x\ny",2\n1\n', "line 4 has 1"),
        (b"a,b\n5,1,2\n", "line 2 has 3"),
        (b"a,b\n5,1,2\n3,1,2\n", "line 2 has 3, line 3 has 3"),
        (b"title\na,b\n1,2\n", "line 2 has 2"),
        (b"a,b\n" + b"1\n" * 10, "and so on (10 lines)"),
        (
            b"x,g,y\n" + many("0.12{0:02d}7,c,{0}.5,1.{0}"),
            "line 2 has 4, line 3 has 4, line 4 has 4, and so on (12 lines)",
        ),
        (b"x,y\n" + many("{0}.25e-3,1,2"), "name every column in the header"),
        (b"when,x,y\n" + many("2020-01-01 00:{0:02d},0.5,1,2"), "name every column in the header"),
        (b"when,x,y\n" + many("2020-01-01T00:{0:02d}:00Z,0.5,1,2"), "also the first if it has row names"),
        (b"when,x,y\n" + many("{0} Jan 2024,0.5,1,2"), "name every column in the header"),
        (b"income,x,y\n" + many("{1},0.5,1,2"), "name every column in the header"),
        (b"id,x\n" + many("{0},0.5,1.25"), "name every column in the header"),
        (b"id,price\n" + many("{0},{1},{0:02d}"), "if these are decimal commas, quote such numbers or separate cells"),
        (b"id,x,price\n" + many("{0},a,{1},5{0:02d}"), "if these are decimal commas"),
        (b"price\n" + many("{1},{0:02d}"), "if these are decimal commas"),
        (b'a,b\n1,"x\n2,3\n', "line 2: a quoted cell is not closed"),
        (b"a,b\n" + b"1,2\n" * 20 + b'1,"x\n' + b"2,3\n" * 40, "line 22: a quoted cell is not closed"),
        (b'a,b\n1,"x\n2,3\n4,"y"\n', "line 2: a quoted cell ends in line 4, and text follows it"),
        (
            b'a,b\n1,"say \\"hi\\""\n',
            "line 2: a quoted cell ends, and text follows it: end it with a quote, and write one",
        ),
        (b"'a','b'\n'1','2,5'\n", "cells are in the quotes ', which CSV does not know"),
    ],
)
def test_a_ragged_text_is_refused_by_its_lines(content, says):
    for read in (by_arrow, lambda content, layout: columns_of(content[layout.start :].decode(), layout)):
        with pytest.raises(CsvError) as caught:
            read(content, infer_layout(content, complete=True))
        assert says in str(caught.value)


def test_names_that_are_wanted_decide_whether_blanks_part_cells():
    content = b"full name\nAnn Lee\n"
    assert infer_layout(content, complete=True).names == ("full name",)
    assert infer_layout(content, complete=True, wanted=["full name"]).names == ("full name",)
    assert infer_layout(content, complete=True, wanted=["name"]).names == ("full", "name")
    tabs = b"a b\tc d\n1 2\t3 4\n"
    assert infer_layout(tabs, complete=True).names == ("a b", "c d")
    assert infer_layout(tabs, complete=True, wanted=["c d"]).names == ("a b", "c d")
    assert infer_layout(tabs, complete=True, wanted=["c"]).names == ("a", "b", "c", "d")
    numbers = b"size of\n1 2\n3 4\n5 6\n"
    assert infer_layout(numbers, complete=True, wanted=["size of"]).names == ("size of",)


@pytest.mark.parametrize("content", [b"a   b\n1   2\n3   4\n5   6\n", b"a b\n1 2\n3 4\n5 6\n"])
def test_a_blank_may_be_given_as_the_separator(content):
    layout = infer_layout(content, complete=True, separator=" ")
    assert by_arrow(content, layout) == {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}
    empty = b"a b c\n1  3\n4 5 6\n"
    assert by_arrow(empty, infer_layout(empty, complete=True, separator=" "))["b"] == ["", "5"]


def test_a_line_that_is_not_aligned_is_refused_by_its_number():
    content = b"a   b\n" + b"1   2\n" * 300 + b"1  2  3\n"
    with pytest.raises(CsvError, match=r"rows must have 2 values, as the header has .*; line 302 has 3"):
        by_arrow(content, infer_layout(content, complete=True))


def test_wanted_names_decide_between_separators():
    content = b"a,b;c,d\n1,2;3,4\n"
    assert infer_layout(content, complete=True, wanted=["c,d"]).names == ("a,b", "c,d")
    assert infer_layout(content, complete=True, wanted=["d"]).names == ("a", "b;c", "d")


def test_a_layout_is_inferred_from_the_head_of_a_long_text():
    content = b"a;b\n" + b"1,5;2\n" * 1000
    layout = infer_layout(content[:100], complete=False)
    assert (layout.separator, layout.names, layout.start) == (";", ("a", "b"), 4)


@pytest.mark.parametrize("text", [b'"', b'\n"', b'\r"'])
def test_a_text_of_which_nothing_is_a_record_is_refused(text: bytes):
    with pytest.raises(CsvError, match="must"):
        infer_layout(text, complete=True, encoding="utf-8")


@pytest.mark.parametrize(
    ("word", "encoding"),
    [("Москва", "cp1251"), ("北京市", "gb18030"), ("東京都", "shift_jis"), ("서울특별시", "cp949")],
)
def test_an_encoding_of_elsewhere_is_asked_for(word: str, encoding: str):
    content = f"city,price\n{word},1\n{word},2\n".encode(encoding)
    with pytest.raises(CsvError, match="give --encoding") as caught:
        encoding_of(io.BytesIO(content))
    assert f"{encoding} ({word!r})" in str(caught.value)
    assert columns_of(
        content.decode(encoding)[len("city,price\n") :], infer_layout(content, complete=True, encoding=encoding)
    )


@pytest.mark.parametrize("text", ["Zürich,1\nGenève,2\n", "£££,1\n££,2\n", "“a”,1\nœuvre,2\n"])
def test_western_texts_are_cp1252(text: str):
    assert encoding_of(io.BytesIO(("a,b\n" + text).encode("cp1252"))) == "cp1252"


@pytest.mark.parametrize("rows", [50, 400_000])
def test_damage_in_utf8_is_named_by_its_line(rows: int):
    content = b"a,b\n" + "Zürich,1\n".encode() * rows + b"Gen\xe8ve,2\n"
    with pytest.raises(CsvError, match=f"^line {rows + 2} has bytes that are not UTF-8"):
        encoding_of(io.BytesIO(content))
