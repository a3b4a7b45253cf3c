"""Texts of any length and shape are read, or refused, in time that their length bounds."""

import time

import pytest

from eigenserve.model.rows.moments import LONGEST
from eigenserve.model.rows.readings import Reading
from eigenserve.model.rows.spellings.number_parts import _split_number, range_ends, split_number

READINGS = {
    "plain": Reading(),
    "comma": Reading(decimal=",", thousands="."),
    "thousands": Reading(thousands=","),
    "blanks": Reading(thousands=" "),
    "units": Reading(ranges=True, magnitudes=True, affixes=("$", "k")),
    "clock": Reading(clock=True),
    "date": Reading(date_format="%d %b %Y"),
    "quarter": Reading(date_format="%Y-Q%q"),
}
PIECES = [
    " ",
    "9",
    "- ",
    "(",
    "1,",
    "1.",
    "1,111",
    "to ",
    "1 to ",
    "€",
    "ab€",
    "ca ",
    "< ",
    "+ -",
    "1 days ",
    "1:",
    "[",
    "jan ",
    "°",
    "/ ",
    "% a",
    "million ",
]


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize("length", [LONGEST, 1_000_000])
def test_no_text_takes_longer_than_its_length_allows(reading, length):
    # Of the processor: more than ten times what the slowest takes, while 250 blanks once took half a minute.
    for piece in PIECES:
        for first in ("", "("):
            text = (first + piece * (length // len(piece) + 1))[: length - 1] + "x"
            begun = time.process_time()
            assert reading.number(text) is None
            with pytest.raises(ValueError):
                reading.days(text)
            assert time.process_time() - begun < 0.3, (piece, first)


def test_a_float_in_full_is_a_number():
    assert Reading().number(f"{1.7e308:f}") == 1.7e308
    assert Reading().number("9" * (LONGEST + 1)) is None


def test_no_cache_keeps_long_texts():
    before = _split_number.cache_info().currsize
    for i in range(3):
        assert split_number(f"{i}{'a' * 10_000}") is None
        assert range_ends(f"{i} to {'1' * 10_000}") is None
    assert _split_number.cache_info().currsize == before


def test_blanks_within_a_number_count_as_one():
    assert split_number("$   5") == split_number("$ 5")
    assert Reading(ranges=True).number("10   -   20") == 15.0


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        (Reading(date_format="%d/%m/%Y"), "01/01/0001 00:00+14:00"),
        (Reading(date_format="%d/%m/%Y"), "31/12/9999 23:00-14:00"),
        (Reading(date_format="%d %b %Y"), "31 Dez. 9999 23:00-14:00"),
        (Reading(date_format="%Y-%m-%d"), "0001-01-01T00:00+23:59x"),
    ],
)
def test_moments_outside_of_the_calendar_are_not_dates(reading, text):
    with pytest.raises(ValueError):
        reading.days(text)


def test_days_without_end_are_not_a_duration():
    assert Reading(clock=True).number("9" * 300 + " days, 1:00") is None
    assert Reading(clock=True).number("2 days 03:00") == 51.0


@pytest.mark.parametrize("text", ["$1e" + "9" * 300, "9" * 300 + "%", "$" + "9" * 390, "1e-" + "9" * 300])
def test_numbers_of_any_size_are_read_or_refused(text):
    assert isinstance(Reading(affixes=("$", "%")).number(text), float | None)
