"""Columns of every kind are read for what they are, the same raw and read, or refused in one line."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from eigenserve.errors import UserError
from eigenserve.training.data.columns import read_column, read_columns
from eigenserve.training.data.reading_options import ReadingOptions, reading_options
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.spellings.date_texts import readable_format

ROWS = 40
EACH = range(ROWS)
RNG = np.random.default_rng(0)
NUMBERS = RNG.uniform(1, 30_000, ROWS).round(2)


def grouped(number, thousands, decimal):
    return f"{number:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands)


#: name -> (cells, the numbers they stand for).
AS_NUMBERS = {
    "python": ([1.5, None, 2, Decimal("3.25")] * 10, [1.5, np.nan, 2, 3.25] * 10),
    "durations": ([dt.timedelta(hours=1, minutes=30), None] * 20, [1.5, np.nan] * 20),
    "times": ([dt.time(9, 30), dt.time(17, 15)] * 20, [9.5, 17.25] * 20),
    "pandas durations": (pd.to_timedelta([90, 30] * 20, unit="m"), [1.5, 0.5] * 20),
    "texts": (list(map(str, NUMBERS)), NUMBERS),
    "decimal commas": ([str(x).replace(".", ",") for x in NUMBERS], NUMBERS),
    "fractions with decimal commas": ([f"0,{i}" for i in range(100, 140)], np.arange(100, 140) / 1000),
    "german": ([grouped(x, ".", ",") for x in NUMBERS], NUMBERS),
    "english": ([grouped(x, ",", ".") for x in NUMBERS], NUMBERS),
    "swiss": ([grouped(x, "'", ".") for x in NUMBERS], NUMBERS),
    "german whole numbers": (
        [f"{i}" if i < 10 else f"{i}.{i:03d}" for i in EACH],
        [i if i < 10 else 1001 * i for i in EACH],
    ),
    "french": ([grouped(x, "\u202f", ",") for x in NUMBERS], NUMBERS),
    "dollars": (["$" + grouped(x, ",", ".") for x in NUMBERS], NUMBERS),
    "percents": ([f"{x}%" for x in NUMBERS], NUMBERS),
    "units": ([f"{x} kmpl" for x in NUMBERS], NUMBERS),
    "accountants": ([f"({x})" for x in NUMBERS], -NUMBERS),
    "minus signs": ([f"\u2212{x}" for x in NUMBERS], -NUMBERS),
    "scientific": ([f"{x:.17e}" for x in NUMBERS], NUMBERS),
    "decimal commas before exponents": (
        [f"{x / 1e4:.3e}".replace(".", ",") for x in NUMBERS],
        [float(f"{x / 1e4:.3e}") for x in NUMBERS],
    ),
    "magnitudes": (["€1.5M", "€750K"] * 20, [1.5e6, 7.5e5] * 20),
    "thousands and plain": ([f"{i}.5k" if i % 2 else f"{i}500" for i in range(1, 41)], np.arange(1500, 41_500, 1000)),
    "millions": (
        [f"${i / 10} million" if i % 3 else f"${i * 100_000:,}" for i in range(1, 41)],
        np.arange(1, 41) * 1e5,
    ),
    "Mio.": (
        [f"{i},5 Mio. €" if i % 2 else f"{i}500000 €" for i in range(1, 41)],
        [i * 1e6 + 5e5 for i in range(1, 41)],
    ),
    "crores": ([f"{i} Cr" if i % 2 else f"{i}00 lakh" for i in range(1, 41)], np.arange(1, 41) * 1e7),
    "cents": ([f"${i}.25" if i % 2 else f"{i}¢" for i in EACH], [i + 0.25 if i % 2 else i / 100 for i in EACH]),
    "pence": ([f"£{i}.25" if i % 2 else f"{i}p" for i in EACH], [i + 0.25 if i % 2 else i / 100 for i in EACH]),
    "flags": (
        ["0.5 p", *(f"{i}.5 b" if i % 3 else f"{i}.5" for i in range(1, 40))],
        [np.nan, *(i + 0.5 for i in range(1, 40))],
    ),
    "blocks": ([f"{i} B" if i % 3 else f"{i}" for i in range(1, 41)], np.arange(1, 41)),
    "metres": ([f"{i} M" if i % 3 else f"{i}" for i in range(1, 41)], np.arange(1, 41)),
    "spaced thousands": (
        [f"{i}.5 K" if i % 3 else f"{i + 100}" for i in EACH],
        [i * 1e3 + 500 if i % 3 else i + 100 for i in EACH],
    ),
    "kelvins": ([f"{i + 270.5} K" if i % 3 else f"{i + 270.5}" for i in EACH], np.arange(40) + 270.5),
    "views": ([f"{i}.5M" if i % 3 else f"{i}500000" for i in range(1, 41)], [i * 1e6 + 5e5 for i in range(1, 41)]),
    "celsius": ([f"{x} °C" for x in NUMBERS], NUMBERS),
    "few celsius": (["20 °C", "25 °C"] * 20, [20, 25] * 20),
    "rents": ([f"{x} €/m²" for x in NUMBERS], NUMBERS),
    "wages": ([f"${x}/hr" for x in NUMBERS], NUMBERS),
    "wages behind": ([f"{x} $/hr" for x in NUMBERS], NUMBERS),
    "alcohol": ([f"{x} % vol" for x in NUMBERS], NUMBERS),
    "filtration": ([f"{i} mL/min/1.73 m²" for i in EACH], np.arange(40)),
    "counts like months": (200001 + np.arange(40) % 12, 200001 + np.arange(40) % 12),
    "rupees": ([f"Rs. {i}/-" for i in EACH], np.arange(40)),
    "one currency by two names": ([f"${x}" if x > 9000 else f"{x} USD" for x in NUMBERS], NUMBERS),
    "about": ([f"~{x}" if x > 9000 else str(x) for x in NUMBERS], NUMBERS),
    "bounds": ([f"<{x}" if x < 9000 else str(x) for x in NUMBERS], NUMBERS),
    "circa": ([f"ca. {x}" for x in NUMBERS], NUMBERS),
    "ordinals": ([f"{i}{'st' if i % 10 == 1 else 'th'}" for i in range(20, 60)], np.arange(20, 60)),
    "hours alone": (["9 AM", "5pm"] * 20, [9, 17] * 20),
    "clock": (["09:30", "17:15"] * 20, [9.5, 17.25] * 20),
    "half days": (["9:30 AM", "5:15 pm"] * 20, [9.5, 17.25] * 20),
    "nullable": (pd.array([1, None] * 20, "Int64"), [1, np.nan] * 20),
    "an odd cell": (["1.5"] * 39 + ["much"], [1.5] * 39 + [np.nan]),
    "markers": (["1.5", "-", "n.a.", "unknown"] * 10, [1.5, np.nan, np.nan, np.nan] * 10),
}
JANUARY = [f"2024-01-{i % 28 + 1:02d}" for i in range(ROWS)]
#: name -> (cells, the dates they stand for).
AS_DATES = {
    "python": ([dt.date.fromisoformat(text) for text in JANUARY], JANUARY),
    "iso": (JANUARY, JANUARY),
    "iso and unknown": ([*JANUARY[:-1], "unknown"], [*JANUARY[:-1], None]),
    "day first": ([f"{text[8:]}/{text[5:7]}/{text[:4]}" for text in JANUARY], JANUARY),
    "month first": ([f"{text[5:7]}/{text[8:]}/{text[:4]}" for text in JANUARY], JANUARY),
    "dots": ([f"{text[8:]}.{text[5:7]}.{text[2:4]}" for text in JANUARY], JANUARY),
    "names": ([f"{text[8:]} Jan {text[:4]}" for text in JANUARY], JANUARY),
    "american": ([f"January {int(text[8:])}, {text[:4]}" for text in JANUARY], JANUARY),
    "months": (["Jan-2024", "Dec-2015"] * 20, ["2024-01-01", "2015-12-01"] * 20),
    "digits": ([int(text.replace("-", "")) for text in JANUARY], JANUARY),
    "digits with a gap": ([None, *(float(text.replace("-", "")) for text in JANUARY[1:])], [None, *JANUARY[1:]]),
    "nullable digits": (
        pd.array([None, *(int(text.replace("-", "")) for text in JANUARY[1:])], "Int64"),
        [None, *JANUARY[1:]],
    ),
    "digits as texts": ([text.replace("-", "") + ".0" for text in JANUARY], JANUARY),
    "digits and unknown": ([*(text.replace("-", "") for text in JANUARY[:-1]), "unknown"], [*JANUARY[:-1], None]),
    "months in digits": (
        [200000 + 100 * (i % 30) + i % 12 + 1 for i in EACH],
        [f"20{i % 30:02d}-{i % 12 + 1:02d}-01" for i in EACH],
    ),
    "months in digits and unknown": (
        ["unknown", *(f"20{i % 30:02d}{i % 12 + 1:02d}" for i in range(1, 40))],
        [None, *(f"20{i % 30:02d}-{i % 12 + 1:02d}-01" for i in range(1, 40))],
    ),
    "stamps in digits": (
        [int(text.replace("-", "") + "103000") for text in JANUARY],
        [f"{text} 10:30" for text in JANUARY],
    ),
    "minutes in digits": (
        [int(text.replace("-", "") + "1030") for text in JANUARY],
        [f"{text} 10:30" for text in JANUARY],
    ),
    "java": ([f"{text}T10:30+01:00[Europe/Berlin]" for text in JANUARY], [f"{text} 09:30" for text in JANUARY]),
    "camera days": ([text.replace("-", ":") for text in JANUARY], JANUARY),
    "date of a shell": ([f"{pd.Timestamp(text):%a %b %d} 00:00:00 UTC 2024" for text in JANUARY], JANUARY),
    "logs": ([f"[{text[8:]}/Jan/2024:00:00:00 +0000]" for text in JANUARY], JANUARY),
    "bigquery": ([f"{text} 00:00:00 UTC" for text in JANUARY], JANUARY),
    "mail": ([f"{pd.Timestamp(text):%a, %d %b %Y} 00:00:00 GMT" for text in JANUARY], JANUARY),
    "photos": ([f"{text.replace('-', ':')} 00:00:00" for text in JANUARY], JANUARY),
    "oracle": ([f"{text[8:]}-JAN-24 12.00.00.000000 AM" for text in JANUARY], JANUARY),
    "sas": ([f"{text[8:]}JAN2024:00:00:00" for text in JANUARY], JANUARY),
    "sas days": ([f"{text[8:]}JAN2024" for text in JANUARY], JANUARY),
    "javascript": ([f"{pd.Timestamp(text):%a %b %d %Y} 00:00:00 GMT+0000 (UTC)" for text in JANUARY], JANUARY),
    "toLocaleString": ([f"{text[8:]}/{text[5:7]}/{text[:4]}, 00:00:00" for text in JANUARY], JANUARY),
    "japanese": ([f"2024年1月{int(text[8:])}日" for text in JANUARY], JANUARY),
    "short": ([f"2024-1-{i % 28 + 1}" for i in range(ROWS)], JANUARY),
    "two marks": ([text if i % 2 else text.replace("-", "/") for i, text in enumerate(JANUARY)], JANUARY),
    "german": ([f"{int(text[8:])}. Januar {text[:4]}" for text in JANUARY], JANUARY),
    "spanish": ([f"{int(text[8:])} de enero de {text[:4]}" for text in JANUARY], JANUARY),
    "french": ([f"{int(text[8:])} janv. {text[:4]}" for text in JANUARY], JANUARY),
    "ordinals": ([f"Jan. {int(text[8:])}th, {text[:4]}" for text in JANUARY], JANUARY),
    "months and days": (["2024-01", "2015-12-24"] * 20, ["2024-01-01", "2015-12-24"] * 20),
    "quarters": (["2024Q1", "2015q4"] * 20, ["2024-01-01", "2015-10-01"] * 20),
    "named quarters": (["Q1 2024", "Q4 2015"] * 20, ["2024-01-01", "2015-10-01"] * 20),
    "periods": (pd.period_range("2020-01", periods=ROWS, freq="M"), pd.date_range("2020-01", periods=ROWS, freq="MS")),
    "zones": (pd.to_datetime(JANUARY).tz_localize("UTC").tz_convert("Asia/Tokyo"), JANUARY),
}
AS_CATEGORIES = {
    "zip codes": [f"{number:05d}" for number in RNG.integers(100, 99_999, ROWS)],
    "long codes": [int(number) for number in RNG.integers(2**60, 2**62, ROWS)],
    "diagnoses": [f"V{i:02d}" if i % 5 == 0 else f"{250 + i}.{i}" for i in range(ROWS)],
    "phones": [f"555-{number:04d}" for number in RNG.integers(0, 9999, ROWS)],
    "ranges": [f"{number}-{number + 9}" for number in 10 * RNG.integers(1, 9, ROWS)],
    "seasons": ["2018-2019", "2019-2020"] * 20,
    "drives": ["4WD", "2WD"] * 20,
    "versions": ["1.2.3", "1.10.0"] * 20,
    "addresses": ["10.0.0.1", "10.0.0.2"] * 20,
    "lengths": ["10+ years", "< 1 year", "2 years", "3 years"] * 10,
    "yes and no": ["Y", "N"] * 20,
    "declared": pd.Categorical([1, 2] * 20, categories=[1, 2, 3]),
    "letters": ["a", "A"] * 20,
}
#: name -> (cells, what the note on them says, and the option that reads them; "" where none does).
LOOK_ALIKES = {
    "currencies": (
        [f"${i}" if i % 2 else f"{i} EUR" for i in EACH],
        "numbers in several units, such as '$1' and '0 EUR'",
        "number",
    ),
    "units": ([f"{i} kg" if i % 2 else f"{i} g" for i in EACH], "several units, such as '0 g' and '1 kg'", "number"),
    "seven tenths": (
        [f"{i}.5" if i % 10 < 7 else "much" for i in EACH],
        "numbers such as '0.5' in 70% of its cells, and others such as 'much'",
        "number",
    ),
    "seven tenths of dates": (
        [JANUARY[i] if i % 10 < 7 else "soon" for i in EACH],
        "dates such as '2024-01-01' in 70% of its cells, and others such as 'soon'",
        "date",
    ),
    "some in either order": (
        [f"0{i % 9 + 1}/02/2024" if i % 5 < 3 else "soon" for i in EACH],
        "looks like dates, such as '01/02/2024'",
        "",
    ),
    "shares and percents": (
        [f"{i}.5%" if i % 2 else f"0.{i}5" for i in EACH],
        "numbers such as '1.5%' in 50%",
        "number",
    ),
    "ranges": ([f"{10 * (i % 8)}-{10 * (i % 8) + 9}" for i in EACH], "holds ranges such as '0-9'", "number"),
    "bins of pandas": ([str(pd.Interval(i % 8, i % 8 + 1)) for i in EACH], "ranges such as '(0, 1]'", "number"),
    "few": (["4WD", "2WD"] * 20, "few different texts such as '4WD'", "number"),
    "days without a year": (
        [f"{i % 28 + 1} de {'marzo' if i % 2 else 'abril'}" for i in EACH],
        "looks like dates, such as '1 de abril'",
        "",
    ),
    "weeks": ([f"2024-W{i + 10}" for i in EACH], "looks like dates, such as '2024-W10'", ""),
    "hours and minutes": ([f"{i % 9}h {i}m" for i in EACH], "looks like numbers, such as '0h 0m'", ""),
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_categories_that_look_like_numbers_or_dates_are_reported_with_what_reads_them(name):
    cells, says, kind = LOOK_ALIKES[name]
    read = read_column(column_of(cells))
    assert pd.api.types.is_string_dtype(read.values)
    (note,) = read.notes
    assert says in note
    assert "--types x=category" in note or f"--types x={kind}" in note
    assert not read_column(column_of(cells), ReadingOptions(types={"x": "category"})).notes
    if kind:
        assert f"--types x={kind}" in note
        feature, values, _ = kind_and_values(cells, ReadingOptions(types={"x": kind}))
        assert feature.kind == {"number": "numeric", "date": "datetime"}[kind]
        assert np.isfinite(values).mean() >= 0.5


def test_flags_of_two_spellings_are_flags():
    feature, values, _ = kind_and_values(["TRUE", "0", "false", "1"] * 10)
    assert feature.kind == "boolean"
    assert values[:4].tolist() == [1, 0, 0, 1]


def test_a_given_number_reads_the_middle_of_ranges():
    cells = ["18-25", "26 to 35", "<18", "65+"] * 10
    _, values, _ = kind_and_values(cells, ReadingOptions(types={"x": "number"}))
    assert values[:4].tolist() == [21.5, 30.5, 18, 65]


def test_a_cell_in_another_currency_is_missing_and_named():
    read = read_column(column_of([*(f"${i}" for i in range(100)), "5 EUR"]))
    assert np.isnan(read.values.iloc[-1])
    assert "1 cell that is not a number counts as missing: '5 EUR' in row 101 (another unit)" in read.notes[1]


def column_of(cells):
    return pd.Series(cells, dtype=object if isinstance(cells, list) else None, name="x")


def kind_and_values(cells, options=None):
    """The feature's kind and its encoded values, which are the same from raw cells and from read ones."""
    frame = pd.DataFrame({"x": column_of(cells)})
    read = read_columns(frame, options)
    space = infer_features(read.frame, readings=read.readings)
    values = space.encode(read.frame)[:, 0]
    np.testing.assert_array_equal(space.encode(frame)[:, 0], values)
    return space.features[0], values, read


@pytest.mark.parametrize("name", AS_NUMBERS)
def test_numbers_in_any_spelling_are_numbers(name):
    cells, expected = AS_NUMBERS[name]
    feature, values, _ = kind_and_values(cells)
    assert feature.kind == "numeric"
    np.testing.assert_array_equal(values, np.asarray(expected, float))


def test_fractions_stay_fractions_next_to_decimal_commas():
    fractions = [f"{sign}0.{i}" for i, sign in zip(range(100, 140), "+-" * 20, strict=True)]
    frame = pd.DataFrame({"share": fractions, "size": [f"{i},5" for i in range(40)]}, dtype=object)
    read = read_columns(frame)
    assert read.frame["share"].tolist() == [float(text) for text in fractions]


@pytest.mark.parametrize("name", AS_DATES)
def test_dates_in_any_spelling_are_dates(name):
    cells, expected = AS_DATES[name]
    feature, values, _ = kind_and_values(cells)
    assert feature.kind == "datetime"
    days = (pd.to_datetime(pd.Series(expected)) - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    np.testing.assert_array_equal(values, days.to_numpy(float))


@pytest.mark.parametrize("name", AS_CATEGORIES)
def test_codes_are_categories(name):
    feature, _, _ = kind_and_values(AS_CATEGORIES[name])
    assert feature.kind == "categorical"


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["03/04/2024", "05/06/2024"] * 20, "--date-format x=%d/%m/%Y or x=%m/%d/%Y"),
        (["01/02/03", "04/05/06"] * 20, "several orders"),
        ([str(i) if i % 5 else "bad" for i in range(ROWS)], "8 of 40 cells (20.0%) are not, such as 'bad' in row 1"),
        ([*JANUARY[:30], *["soon"] * 5], "is nearly all dates, but 5 of 35 cells"),
        ([[1, 2]] * ROWS, "must hold single values; row 1 has an array or an object"),
        ([{"a": 1}] * ROWS, "must hold single values"),
        (np.arange(ROWS) * 1j, "must hold real numbers"),
        (
            np.where(np.arange(ROWS) % 8, 1.5, np.inf),
            "is nearly all finite numbers, but 5 of 40 cells (12.5%) are not, such as inf in row 1",
        ),
    ],
)
def test_what_is_unclear_is_refused_with_the_remedy(cells, says):
    with pytest.raises(UserError) as caught:
        read_columns(pd.DataFrame({"x": column_of(cells)}))
    assert says in str(caught.value)


def test_what_is_given_is_not_inferred():
    given = {"types": (("x", "category"),)}
    assert kind_and_values(list(map(str, NUMBERS)), reading_options(given, ["x"]))[0].kind == "categorical"
    bad = [str(i) if i % 5 else "bad" for i in range(ROWS)]
    feature, values, read = kind_and_values(bad, reading_options({"types": (("x", "number"),)}, ["x"]))
    assert (feature.kind, int(np.isnan(values).sum())) == ("numeric", 8)
    assert read.notes == ("in 'x' 8 of 40 cells are not a number and count as missing: 'bad' in row 1, ...",)
    dates = ["03/04/2024", "05/06/2024"] * 20
    for given, first in (("%d/%m/%Y", "2024-04-03"), ("MM/DD/YYYY", "2024-03-04")):
        options = reading_options({"date_format": (("x", given),)}, ["x"])
        days = (pd.Timestamp(first) - pd.Timestamp("1970-01-01")).days
        assert kind_and_values(dates, options)[1][0] == days
    assert kind_and_values(["53,460"] * ROWS)[1][0] == 53_460
    assert kind_and_values(["53,460"] * ROWS, ReadingOptions(decimal=","))[1][0] == 53.46
    texts = ["1", "-999"] * 20
    assert np.isnan(kind_and_values(texts, reading_options({"missing": ("-999",)}, ["x"]))[1]).sum() == 20
    words = ["None", "some"] * 20
    assert np.isnan(kind_and_values(words)[1]).sum() == 20
    assert not np.isnan(kind_and_values(words, reading_options({"missing": ("x=",)}, ["x"]))[1]).any()


def test_one_column_with_decimal_commas_shows_how_others_are_meant():
    frame = pd.DataFrame({"a": ["1,5", "2,25"] * 20, "b": ["53,460", "53,461"] * 20, "c": ["1.234", "12.345"] * 20})
    read = read_columns(frame).frame
    assert read.iloc[0].tolist() == [1.5, 53.46, 1234.0]


def test_spellings_of_one_category_are_one_with_a_note():
    read = read_column(column_of(["Yes", "yes", "yes ", "No"] * 10))
    assert set(read.values) == {"yes", "No"}
    assert "'yes' and 'Yes' are one category" in read.notes[0]


def test_an_infinity_counts_as_missing_by_name():
    read = read_column(column_of(np.array([1.0, np.inf, 2.0])))
    assert np.isnan(read.values[1])
    assert "row 2" in read.notes[0]


def test_many_infinities_of_a_given_number_count_as_missing():
    cells = np.where(np.arange(ROWS) % 8, 1.5, np.inf)
    read = read_column(column_of(cells), reading_options({"types": (("x", "number"),)}, ["x"]))
    assert read.values.isna().sum() == 5
    assert "5 of 40 cells are not a finite number and count as missing: inf in row 1, inf in row 9" in read.notes[0]


def test_unknown_names_and_types_are_refused():
    frame = pd.DataFrame({"x": [1, 2]})
    with pytest.raises(UserError, match="no column 'y'"):
        read_columns(frame, reading_options({"types": (("y", "number"),)}, ["x"]))
    with pytest.raises(UserError, match="must be one of number, category"):
        reading_options({"types": (("x", "money"),)}, ["x"])


@pytest.mark.parametrize("kind", [int, str])
def test_long_numbers_are_times_unless_the_column_is_called_as_identifiers_are(kind):
    """As floats, ids of 19 digits would lose their last three, and their order would stay as a feature."""
    stamps = [kind(1_234_567_890_123_456_789 + 1_000_003 * i) for i in range(30)]
    sent = read_column(pd.Series(stamps, name="sent"))
    assert pd.api.types.is_numeric_dtype(sent.values)
    assert "as times in nanoseconds are (--types sent=category reads codes)" in sent.notes[0]
    codes = read_column(pd.Series(stamps, name="tweet_id")).values
    assert codes.astype(str).tolist() == [str(stamp) for stamp in stamps]


@pytest.mark.parametrize("kind", [int, str])
def test_long_numbers_that_repeat_are_codes_unless_they_are_whole_microseconds(kind):
    authors = pd.Series([kind(1_250_000_000_000_000_000 + 7 * (i % 6)) for i in range(60)], name="author")
    read = read_column(authors)
    assert read.values.astype(str).tolist() == authors.astype(str).tolist()
    assert "codes" in read.notes[0]
    hours = read_column(pd.Series([kind((1_250_000_000 + 3600 * (i % 6)) * 10**9) for i in range(60)], name="at"))
    assert pd.api.types.is_numeric_dtype(hours.values)
    assert not hours.notes


@pytest.mark.parametrize("codes", [("0101", "0402", "1105", "2301"), ("0131", "0229", "1201", "1130")])
def test_four_digits_that_are_no_times_are_codes(codes):
    read = read_column(pd.Series(codes * 20, name="goods"))
    assert set(read.values) == set(codes)
    assert "'goods' holds codes such as" in read.notes[0]


@pytest.mark.parametrize("times", [("0915", "1050", "2359"), ("0900", "1530", "0045"), ("0100", "1300", "2400")])
def test_hours_and_minutes_in_four_digits_are_numbers_with_a_note(times):
    read = read_column(pd.Series(times * 20, name="at"))
    assert read.values[:3].tolist() == list(map(float, times))
    assert "read as numbers, as hours and minutes are (--types at=category reads codes)" in read.notes[0]
    assert not read_column(pd.Series(times * 20, name="at"), ReadingOptions(types={"at": "number"})).notes


DAYS = pd.to_datetime(["2020-11-03", "2024-01-02", "2020-12-31", "2021-01-12", "2019-10-10"] * 8)


@pytest.mark.parametrize("form", ["%d%m%Y", "DDMMYYYY", "%m%d%Y", "MMDDYYYY", "%y%m%d", "YYMMDD", "%Y%m%d", "DDMMYY"])
@pytest.mark.parametrize("column", ["x", ""])
@pytest.mark.parametrize("kind", [str, int, float, lambda text: str(int(text))], ids=["text", "int", "float", "plain"])
def test_a_format_of_digits_reads_days_with_and_without_the_zero_in_front(form, column, kind):
    options = reading_options({"date_format": ((column, form),)}, ["x"])
    cells = pd.Series([kind(day.strftime(options.date_formats[column])) for day in DAYS], name="x")
    feature, values, read = kind_and_values(cells, options)
    assert feature.kind == "datetime"
    np.testing.assert_array_equal(values, (DAYS - pd.Timestamp(0)).days)
    assert f"'x' {'is read as' if kind is str or isinstance(cells[0], str) else 'holds'} dates" in read.notes[0]


@pytest.mark.parametrize("given", ["%Y%m%d", "%s", "DD/MM/YYYY"])
@pytest.mark.parametrize("kind", [str, int, float])
def test_a_format_that_does_not_fit_the_cells_is_refused(given, kind):
    options = reading_options({"date_format": (("x", given),)}, ["x"])
    with pytest.raises(UserError, match=r"column 'x' must hold dates as .*; .* has '?3112020"):
        read_column(pd.Series([kind(3_112_020 + i) for i in range(5)], name="x"), options)
    with pytest.raises(UserError, match="column 'x' must hold dates as"):
        read_column(pd.Series([kind(0.5)] * 5 if kind is not int else [10**18] * 5, name="x"), options)


def test_a_format_of_all_dates_leaves_numbers_that_do_not_have_it():
    options = reading_options({"date_format": (("", "DDMMYYYY"),)}, ["x"])
    for cells in ([31_129_999, 45_129_999] * 10, ["31129999", "45129999"] * 10, [1, 2] * 10, ["5.5", "1"] * 10):
        assert pd.api.types.is_numeric_dtype(read_column(pd.Series(cells, name="x"), options).values)


@pytest.mark.parametrize(
    ("letters", "form"),
    [
        ("DD/MM/YYYY", "%d/%m/%Y"),
        ("ddmmyyyy", "%d%m%Y"),
        ("YYYYMMDDHHMMSS", "%Y%m%d%H%M%S"),
        ("YYYY-MM-DD HH:MM:SS", "%Y-%m-%d %H:%M:%S"),
        ("YYYY-MM-DDTHH:MM", "%Y-%m-%dT%H:%M"),
        ("DDMMMYY", "%d%b%y"),
        ("DD. MMMM YYYY", "%d. %B %Y"),
        ("%d%m", "%d%m"),
        ("Day DD", "Day %d"),
    ],
)
def test_a_format_in_letters_is_one_of_codes(letters, form):
    assert readable_format(letters) == form


def test_fractions_of_one_sign_are_part_of_their_number():
    read = read_column(pd.Series([f"{i}½" if i % 2 else f"{i}" for i in range(60)], name="x"))
    assert read.values.tolist() == [i + 0.5 * (i % 2) for i in range(60)]
    assert read.notes == ("'x' is read as numbers: '1½' is 1.5",)


@pytest.mark.parametrize("slip", ["4500O", "45x", "7h", "30 cm", "5 kg", "12.5 e", "7K", "3 M", "45%", "l05", "A12"])
def test_one_number_with_letters_is_an_odd_cell(slip):
    read = read_column(column_of([*(f"{x}" for x in np.arange(600) / 7), slip]))
    assert read.values.isna().sum() == 1
    assert f"1 cell that is not a number counts as missing: {slip!r} in row 601" in read.notes[-1]
    # House numbers are names: too many have a letter.
    assert read_column(column_of([*map(str, range(1, 41)), "12A", "13A"])).values.dtype == "str"


def test_flags_behind_many_measurements_stop_with_the_remedy():
    with pytest.raises(UserError, match=r"3 of 103 cells \(2.9%\) are not.*--types x=number"):
        read_column(column_of([*(f"{x:.2f}" for x in np.arange(100) / 7), "12.5 e", "13.5 e", "14.5 e"]))


def test_points_that_may_part_thousands_are_reported():
    read = read_column(column_of([f"{i}.{i:03d}" for i in range(10, 50)]))
    assert read.values.iloc[0] == 10.01
    assert "'10.010' is 10.01 (--decimal ',' reads otherwise)" in read.notes[0]


def test_the_example_has_what_changes_the_number():
    dollars = [*(f"${i},000" for i in range(100, 140)), *(f"$1.{i} million" for i in range(40))]
    assert "'$1.0 million' is 1000000" in read_column(column_of(dollars)).notes[0]
    mixed = ["1200", *(f"{i / 10} kg" for i in range(10, 50)), "1300"]
    (note,) = read_column(column_of(mixed)).notes
    assert "'1.0 kg' is 1; those without a unit, such as '1200', count as in the same" in note


@pytest.mark.parametrize("marker", ["–", "\u2212", ":", "\\N", ".a", ".Z", "$ -"])
def test_signs_of_programs_for_nothing_count_as_missing(marker):
    for cells in (["1.5", "2", marker] * 20, ["$1.50", "$2", marker] * 20, ["2024-01-01", "2024-02-13", marker] * 20):
        read = read_column(column_of(cells))
        assert not pd.api.types.is_string_dtype(read.values)
        assert read.values.isna().sum() == 20
        assert repr(marker) in read.notes[-1]
    assert not read_column(column_of(["a", "b", marker] * 20)).values.isna().any()


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        (pd.date_range("2024-01-01", periods=3), ("number", "time", "boolean")),
        (pd.period_range("2024-01", periods=3, freq="M"), ("number", "time", "boolean")),
        (pd.to_timedelta([1, 2, 3], "h"), ("number", "date", "boolean")),
        (np.array([True, False, True]), ("number", "date", "time")),
    ],
    ids=["dates", "periods", "durations", "flags"],
)
def test_a_given_type_is_not_passed_over_where_values_have_another(values, wrong):
    frame = pd.DataFrame({"c": values})
    for kind in wrong:
        with pytest.raises(UserError, match=rf"^column 'c' must hold {kind}s; row 1 has "):
            read_columns(frame, ReadingOptions(types={"c": kind}))
    read = read_columns(frame, ReadingOptions(types={"c": "category"}))
    assert infer_features(read.frame, readings=read.readings).features[0].kind == "categorical"
