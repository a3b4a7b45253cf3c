"""Columns are read by what they prove: marks, words before numbers, centuries, open ends, spellings of categories."""

import datetime as dt
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from eigenserve.errors import UserError
from eigenserve.model.rows.readings import reading_of
from eigenserve.training.data.columns import read_column, read_columns
from eigenserve.training.data.reading_options import ReadingOptions, reading_options
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.spellings.date_texts import last_year
from eigenserve.training.data.table import read_table
from eigenserve.training.settings import FitSettings
from eigenserve.training.training_table import training_table

EACH = range(40)
DAYS = [dt.date(2017, 1, 1) + dt.timedelta(days=i) for i in range(90)]


def read(cells, **types):
    """The read column, whose kept reading gives the raw cells, as texts too, the same values."""
    column = cells if isinstance(cells, pd.Series) else pd.Series(cells, dtype=object)
    frame = pd.DataFrame({"x": column})
    found = read_columns(frame, ReadingOptions(types=types))
    space = infer_features(found.frame, readings=found.readings)
    assert reading_of(asdict(space.features[0].reading)) == space.features[0].reading
    expected = space.encode(found.frame)[:, 0]
    np.testing.assert_array_equal(space.encode(frame)[:, 0], expected)
    rows = [[None if pd.isna(cell) else str(cell)] for cell in column]
    np.testing.assert_array_equal(space.encode(rows)[:, 0], expected)
    return read_column(frame["x"], ReadingOptions(types=types))


NUMBERS = {
    "no cents": ([f"{i},50" if i % 2 else f"{i},-" for i in EACH], [i + 0.5 * (i % 2) for i in EACH], "'2,-' is 2"),
    "swiss": (
        [f"CHF {i}.–" if i % 2 else f"CHF {i}.50" for i in EACH],
        [i + 0.5 * (i % 2 == 0) for i in EACH],
        "'CHF 1.–' is 1",
    ),
    "dutch": ([f"€ {i},--" for i in EACH], list(EACH), "'€ 1,--' is 1"),
    "crowns": ([f"-{i},- kr" for i in EACH], [-i for i in EACH], "'-1,- kr' is -1"),
    "SAP": (
        [f"{i}.50-" if i % 2 else f"{i}.00" for i in EACH],
        [-i - 0.5 if i % 2 else i for i in EACH],
        "'1.50-' is -1.5",
    ),
    "open classes": (["50-", "55-", "60-", "65-"] * 10, [50, 55, 60, 65] * 10, "'50-' is 50"),
    "open years": (["1935-", "1945-"] * 20, [1935, 1945] * 20, "'1935-' is 1935"),
    "accounting": (
        [f"$ ({i}.50)" if i % 2 else f"$ {i}.50" for i in EACH],
        [(-1) ** i * (i + 0.5) for i in EACH],
        "'$ (1.50)' is -1.5",
    ),
    "accounting with nothing": ([" $ (3,329.47) ", "$ -  "] * 20, [-3329.47, np.nan] * 20, "is -3329.47"),
    "euros in brackets": ([f"({i}.234,50) €" for i in range(1, 41)], [-1000 * i - 234.5 for i in range(1, 41)], "is -"),
    "thousand euros": (
        [f"{i} T€" if i % 2 else f"{i}000 €" for i in range(10, 50)],
        [1000 * i for i in range(10, 50)],
        "'11 T€' is 11000",
    ),
    "TEUR": ([f"{i} TEUR" if i % 2 else f"{i}000 EUR" for i in EACH], [1000 * i for i in EACH], "'1 TEUR' is 1000"),
    "trillions": ([f"${i}.5T" for i in EACH], [1e12 * (i + 0.5) for i in EACH], "'$0.5T' is 500000000000"),
    "rands": ([f"R {i},200.50" for i in range(1, 41)], [1000 * i + 200.5 for i in range(1, 41)], "is 1200.5"),
    "rands close": ([f"R{i},200" for i in range(1, 41)], [1000 * i + 200 for i in range(1, 41)], "'R1,200' is 1200"),
    "lira": ([f"TRY {i}.50" for i in EACH], [i + 0.5 for i in EACH], "'TRY 0.50' is 0.5"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_quantities_are_numbers_and_the_note_shows_what_surprises(name):
    cells, expected, says = NUMBERS[name]
    found = read(cells)
    np.testing.assert_array_equal(found.values, np.asarray(expected, float))
    assert says in found.notes[0]


SIGNS = (
    "AED|Rp|RM|S$|NT$|CA$|AU$|MX$|US $|USD $|R|SAR|THB|PHP|TRY|VND|PKR|NGN|KES|KSh|EGP|ARS|CLP|Lei|SFr.|Tk.|Dhs.|"
    "S/|S/.|₱|₡|₸|৳|XYZ|Bs.|J$"
)


@pytest.mark.parametrize("sign", SIGNS.split("|"))
def test_any_currency_stands_before_a_number(sign):
    found = read([f"{sign} {37 * i % 100}.50" for i in EACH])
    assert found.values.tolist() == [37 * i % 100 + 0.5 for i in EACH]
    assert f"'{sign} 0.50' is 0.5" in found.notes[0]


@pytest.mark.parametrize("form", ["Room {}", "TRY {}", "Nr. {}"])
def test_a_word_before_whole_numbers_is_named_with_what_reads_them(form):
    cells = [form.format(i % 20) for i in EACH]
    found = read_column(pd.Series(cells, dtype=object, name="x"))
    assert pd.api.types.is_string_dtype(found.values)
    assert "before its numbers, such as" in found.notes[0]
    assert "--types x=number" in found.notes[0]
    assert read(cells, x="number").values.tolist() == [i % 20 for i in EACH]


@pytest.mark.parametrize("form", ["V{}", "E{}.5", "v1.{}", "CUST{:04d}", "({}) yes", "A{}-B", "D-{}.50", "AB-{}"])
def test_codes_with_letters_in_front_stay_categories(form):
    found = read_column(pd.Series([form.format(i) for i in EACH], dtype=object, name="x"))
    assert pd.api.types.is_string_dtype(found.values)


def test_quantities_behind_several_words_are_named():
    cells = [f"XYZ {i}.50" if i % 2 else f"QRS {i}.50" for i in EACH]
    (note,) = read_column(pd.Series(cells, dtype=object, name="x")).notes
    assert "'x' looks like numbers, such as 'QRS 0.50'" in note


def survey():
    lines = ["answers,income,weight,y"]
    for i in range(60):
        income = f"${343 + i}" if i % 2 else f'"${38 + i},467"'
        lines.append(f'"{i % 5 + 1},{i % 4 + 1}",{income},{3 + i % 5}.960,{4 + i % 7}.30')
    return "\n".join([*lines, ""])


def test_codes_with_commas_do_not_turn_the_decimal_mark_of_the_table(tmp_path):
    (tmp_path / "data.csv").write_text(survey())
    table = training_table(read_table(tmp_path / "data.csv"), "y", FitSettings())
    assert table.features["income"].tolist()[:2] == [38467, 344]
    assert table.features["weight"].tolist()[:2] == [3.96, 4.96]
    assert table.features["answers"].tolist()[:2] == ["1,1", "2,2"]
    assert table.target.values.tolist()[:2] == [4.3, 5.3]
    (note,) = [note for note in table.notes if "'answers'" in note]
    assert "'1,1', while other columns have decimal points: read as categories (--types answers=number" in note
    (note,) = [note for note in table.notes if "'income'" in note]
    assert "'$38,467' is 38467 (--decimal ',' reads otherwise)" in note


def test_codes_with_commas_next_to_typed_numbers_leave_thousands():
    incomes = [f"${i}" if i % 2 else f"${i},467" for i in range(100, 140)]
    frame = pd.DataFrame({"answers": ["5,4", "3,2"] * 20, "income": incomes, "weight": np.arange(40) + 0.25})
    assert read_columns(frame).frame["income"].tolist()[:2] == [100467, 101]


def test_the_decimal_mark_of_most_columns_is_that_of_the_table(tmp_path):
    lines = ["a;b;place;size;y"]
    lines += [f"{i % 9},5;{i % 7},25;{40 + i % 9}.5;{i % 9 + 1}.234;{i},5" for i in range(60)]
    (tmp_path / "data.csv").write_text("\n".join([*lines, ""]))
    table = training_table(read_table(tmp_path / "data.csv"), "y", FitSettings())
    first = table.features.iloc[1]
    assert [first["a"], first["b"], first["place"], first["size"]] == [1.5, 1.25, 41.5, 2234.0]


@pytest.mark.parametrize(
    ("years", "first"),
    [
        ([63, 64], 1963),
        (range(50, 99), 1950),
        ([63, 80, 99, 5, 12], 1963),
        (range(24, 46), 2024),
        (range(24, 99, 2), 1924),
        ([98, 99, 0, 1, 28], 1998),
        ([85, 99, 10, 45], 1985),
        ([24], 2024),
        ([30], 1930),
    ],
)
def test_years_of_two_digits_are_in_the_century_that_leaves_them_together(years, first):
    years = list(years)
    last = last_year(years, 2026)
    read_years = [last - (last - year) % 100 for year in years]
    assert read_years[0] == min(read_years) == first
    assert last - 99 <= first <= max(read_years) <= last


def test_all_years_of_two_digits_are_the_last_hundred():
    assert last_year(range(100), 2026) == 2026


@pytest.mark.parametrize("form", ["%d-%b-%y", "%b-%y", "%m/%d/%y", "%d.%m.%y"])
@pytest.mark.parametrize("first", [1940, 1950, 1963])
def test_births_are_not_in_the_future(form, first):
    days = [dt.date(first, 1, 1) + dt.timedelta(days=170 * i) for i in range(100)]
    if "%d" not in form:
        days = [day.replace(day=1) for day in days]
    found = read([f"{day:{form}}" for day in reversed(days)])
    assert found.values.dt.date.tolist() == days[::-1]
    assert f"from '{days[0]:{form}}' is {days[0]} to '{days[-1]:{form}}' is {days[-1]}" in found.notes[0]


@pytest.mark.parametrize("end", [99991231, 29991231, 18991230, 20991231])
@pytest.mark.parametrize("kind", [int, float, str])
def test_dates_in_digits_are_dates_next_to_open_ends(end, kind):
    digits = [end if i % 3 else int(f"{day:%Y%m%d}") for i, day in enumerate(DAYS)]
    cells = pd.Series([*map(kind, digits)], dtype=object if kind is str else None)
    if kind is float:
        cells[5] = np.nan
    found = read(cells)
    assert pd.api.types.is_datetime64_any_dtype(found.values)
    assert found.values.iloc[1].year == end // 10_000


@pytest.mark.parametrize("end", [99991231, 29991231])
@pytest.mark.parametrize("types", [{}, {"types": (("ENDDA", "date"),)}])
def test_an_open_end_is_named_as_it_is_written(end, types):
    ends = [end if i % 3 else int(f"{day:%Y%m%d}") for i, day in enumerate(DAYS)]
    frame = pd.DataFrame({"ENDDA": ends, "y": np.arange(90) % 7 + 0.5})
    notes = training_table(frame, "y", FitSettings(**types)).notes
    assert any(f"'ENDDA' has {end} in 60 rows" in note and f"--missing ENDDA={end}" in note for note in notes)
    given = training_table(frame, "y", FitSettings(missing=(f"ENDDA={end}",), **types))
    assert given.features["ENDDA"].isna().sum() == 60
    assert not any("far from all other values" in note for note in given.notes)


@pytest.mark.parametrize(
    ("none", "form", "kind"),
    [
        ("0", "%Y%m%d", int),
        ("99999999", "%Y%m%d", int),
        ("00000000", "%Y%m%d", str),
        ("0000-00-00", "%Y-%m-%d", str),
        ("00.00.0000", "%d.%m.%Y", str),
        ("0000-00-00 00:00:00", "%Y-%m-%d 10:00:00", str),
    ],
)
def test_a_date_of_zeros_or_nines_counts_as_missing_by_name(none, form, kind):
    cells = [kind(none if i % 3 else f"{day:{form}}") for i, day in enumerate(DAYS)]
    found = read(pd.Series(cells, dtype=object if kind is str else None))
    assert found.values.isna().sum() == 60
    assert f"60 of 90 cells are not a date and count as missing: {none!r} in row 2" in found.notes[-1]


def test_whole_numbers_that_are_not_all_dates_stay_numbers():
    for odd in (5, 20171301, -1):
        digits = [int(f"{day:%Y%m%d}") for day in DAYS[1:]]
        assert pd.api.types.is_numeric_dtype(read_column(pd.Series([*digits, odd], name="x")).values)


def test_spellings_of_a_given_category_stay_apart():
    cells = ["MB", "Mb", "mb ", "Gb"] * 10
    found = read(cells, x="category")
    assert set(found.values) == {"MB", "Mb", "mb", "Gb"}
    (note,) = read_column(pd.Series(cells, dtype=object, name="x")).notes
    assert "'MB' and 'Mb' are one category (--types x=category keeps them apart)" in note


def test_classes_that_differ_by_capital_letters_can_be_kept_apart():
    frame = pd.DataFrame({"x": np.arange(90) % 7, "y": ["MB", "Mb", "mb"] * 30})
    with pytest.raises(UserError, match="--types y=category keeps them apart"):
        training_table(frame, "y", FitSettings())
    for task in (None, "multiclass"):
        table = training_table(frame, "y", FitSettings(types=(("y", "category"),), task=task))
        assert table.target.classes == ("MB", "Mb", "mb")
    assert not reading_options({"types": (("y", "category"),)}).labels
