"""Infer how a column of texts writes its dates: ISO 8601, or one of the formats that people and programs use."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.moments import digits_of_format, formatted_days, formatted_moment, iso_moment
from eigenserve.model.rows.readings import Reading
from eigenserve.training.data.spellings.number_texts import NEARLY
from eigenserve.training.data.texts import Texts

#: Formats of the day, as ``strptime`` has them; a time of day may follow. Each is tried as it stands, with the
#: separators /, - and . for the blanks of the first three groups.
_ORDERS = ("%d %m %Y", "%m %d %Y", "%Y %m %d", "%d %m %y", "%m %d %y")
_NAMED = ("%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%d %b %y", "%b %Y", "%B %Y", "%b %y", "%Y %b %d")
_COMMAS = (
    "%b %d, %Y",
    "%B %d, %Y",
    "%a, %d %b %Y",
    "%A, %B %d, %Y",
    "%a %b %d %Y",
    "%d. %B %Y",
    "%d%b%Y",
    "%d%b%y",
    "%A, %d-%b-%y",
)
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%Y%m%d", "%Y:%m:%d", "%Y年%m月%d日")
_QUARTERS = ("%YQ%q", "%Y-Q%q", "%Y Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y", "Q%q%Y", "%qQ%Y", "%qQ %Y")
_WHOLE = (
    *("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S UTC %Y", "%a %b %d %H:%M:%S GMT %Y", "%a %b %d %H:%M:%S %Y"),
    *("%d/%b/%Y:%H:%M:%S %z", "[%d/%b/%Y:%H:%M:%S %z]", "%Y-%m-%d-%H.%M.%S"),
)
_MARKS = "/-. "
FORMATS = (
    *(order.replace(" ", mark) for order in (*_ORDERS, *_NAMED) for mark in _MARKS),
    *(*_COMMAS, *_MONTHS, *_QUARTERS, *_WHOLE),
)
#: Tried where no other format fits: hardly anyone writes dates so.
RARE_FORMATS = tuple(order.replace(" ", mark) for order in ("%y %m %d", "%Y %d %m") for mark in _MARKS)
#: Texts by which formats are ruled out before all are read.
SAMPLE = 60
#: "2024" alone is ISO 8601, too, but more likely a category.
LEAST_LENGTH = len("2024-01-01")
#: Cells of eight digits that are all dates, from which that is no coincidence.
LEAST_DATES = 20
_LONGEST_YEAR = 366
#: Dates, months and moments that are written in digits alone, as whole numbers of so many.
DIGIT_FORMATS = {8: "%Y%m%d", 6: "%Y%m", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_CENTURIES = re.compile(r"(?:19|20|21)[0-9]+(?:\.0+)?")
#: Years of two digits in a row that no date has, from which they are those before and after all dates; fewer may be
#: missing by chance.
LEAST_BREAK = 20
#: Years from now until the last payment of a loan: dates to come.
YEARS_AHEAD = 30
#: Years for which a model may be served, whose dates are later than those of training.
YEARS_SERVED = 10
#: Letters that stand for a part of a date in a format, and what does in ``strptime``'s.
_LETTERS = {"YYYY": "%Y", "YY": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "DD": "%d", "HH": "%H", "SS": "%S"}
_LETTER = re.compile("|".join((*_LETTERS, "T")), re.IGNORECASE)
_JOINED_LETTERS = re.compile(f"(?:{_LETTER.pattern})+", re.IGNORECASE)
#: A date of zeros or nines alone, which is none.
_NO_DATE = re.compile(r"(?=.*[0-9])(?:[0:./ -]+|[9:./ -]+)")


@dataclass(frozen=True)
class Dates:
    """Hold texts as dates.

    Attributes:
        reading: how they are read.
        days: (len(texts),) since 1970; NaN for a text that is not a date.
    """

    reading: Reading
    days: FloatArray


def infer_dates(name: str, texts: Texts, given: str | None = None, share: float = NEARLY) -> Dates | None:
    """Read texts as dates; None if they are not nearly all dates.

    Args:
        name: the column's, for messages.
        texts: of the column, those that stand for a missing value left out.
        given: the format, if it is given.
        share: of the texts that must be dates.

    Raises:
        UserError: dates whose day and month may be either; or none that has the format given.
    """
    dated = ~(texts.is_marker() | are_no_dates(texts.texts))
    wanted = share * texts.count(dated)
    if not wanted:
        return None
    if given:
        dates = _read(texts, given)
        return dates if texts.count(~np.isnan(dates.days)) >= wanted else None
    sample = [text for text, is_one in zip(texts.texts[:SAMPLE], dated, strict=False) if is_one and _may_be_date(text)]
    if not sample or len(sample) < share * 0.5 * len(texts.texts[:SAMPLE]):
        return None
    iso = sum(_is_iso(text) for text in sample)
    if iso >= NEARLY * len(sample):
        dates = _read(texts, "")
        return dates if texts.count(~np.isnan(dates.days)) >= wanted else None
    fitting = [form for form in FORMATS if _fits(sample, form, share)] or [
        form for form in RARE_FORMATS if _fits(sample, form, share)
    ]
    # Where names may be abbreviated, they may be in full.
    fitting = [form for form in fitting if "%B" not in form or form.replace("%B", "%b") not in fitting]
    if iso and not fitting:
        fitting = [""]
    possible = [_read(texts, form) for form in fitting]
    read = [texts.count(~np.isnan(dates.days)) for dates in possible]
    if not read or max(read) < wanted:
        return None
    best = [dates for dates, count in zip(possible, read, strict=True) if count == max(read)]
    first = best[0]
    for other in best[1:]:
        differ = np.flatnonzero((first.days != other.days) & ~np.isnan(first.days) & ~np.isnan(other.days))
        if len(differ):
            at = differ[np.argmin(texts.rows[differ])]
            formats = " or ".join(f"{name}={dates.reading.date_format}" for dates in (first, other))
            raise UserError(
                f"column {name!r} may hold dates in several orders ({texts.texts[at]!r} in row {texts.rows[at] + 1}): "
                f"give --date-format {formats}"
            )
    return first


def infer_digits(name: str, texts: Texts, given: str = "") -> Dates | None:
    """Read texts such as 20240131 next to odd ones as dates; None if any of so many digits is not a date.

    Args:
        name, texts: of the column.
        given: the format of all dates of the table, in which digits are dates if all are; empty if there is none.
    """
    if digits_of_format(given) and (dates := infer_dates(name, texts, given, 1.0)):
        return dates
    digits = [text.partition(".")[0] if _CENTURIES.fullmatch(text) else "" for text in texts.texts]
    if not any(digits):
        return None
    none = texts.is_marker() | are_no_dates(texts.texts)
    for length, form in DIGIT_FORMATS.items():
        shaped = np.fromiter((len(text) == length for text in digits), bool, len(digits))
        if texts.count(shaped) < LEAST_DATES:
            continue
        # Dates of other centuries, such as 99991231, stand for no end.
        far = [
            not digits[i] and len(text) == length and formatted_moment(text, form) is not None
            for i, text in enumerate(texts.texts)
        ]
        if texts.count(shaped) < NEARLY * texts.count(~(none | far)):
            continue
        dates = infer_dates(name, texts, form)
        if dates is None or np.isnan(dates.days[shaped]).any():
            return None
        return dates if spans_years(dates) else None
    return None


def are_no_dates(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each text is of zeros or of nines alone, such as 0000-00-00 or 99999999."""
    return np.fromiter((_NO_DATE.fullmatch(text) is not None for text in texts), bool, len(texts))


def last_year(years: Collection[int], now: int) -> int:
    """Return the last of the hundred years in which dates with years of two digits are.

    A wide break among the years parts the last from the first, and none is later than now: 50 to 98 are 1950 to 1998,
    and 63 to 12 are 1963 to 2012. Only years that begin before now and end soon after, 24 to 45 in 2026, are to come.

    Args:
        years: the last two digits of each; one at least.
        now: this year.
    """
    ordered = sorted(set(years))
    breaks = [(after - before - 1) % 100 for before, after in zip([*ordered[-1:], *ordered], ordered, strict=False)]
    widest = int(np.argmax(breaks))
    if len(ordered) > 1 and breaks[widest] < LEAST_BREAK:
        return now
    span = (ordered[widest - 1] - ordered[widest]) % 100
    first = now - span - (now - span - ordered[widest]) % 100
    if first + 100 <= now and first + 100 + span <= now + YEARS_AHEAD:
        first += 100
    return min(first + 99, max(first + span, now) + YEARS_SERVED)


def spans_years(dates: Dates) -> bool:
    """Return whether dates are not months of one year in digits: 202401 to 202412 may be numbers that count."""
    return dates.reading.date_format != "%Y%m" or bool(np.ptp(dates.days[~np.isnan(dates.days)]) > _LONGEST_YEAR)


def readable_format(text: str) -> str:
    """Return a format as ``strptime`` has it, also from one in letters: DD/MM/YYYY, DDMMYYYY, DD.MM.YYYY HH:MM."""
    if "%" in text:
        return text

    def parted(match: re.Match[str]) -> str:
        if not _JOINED_LETTERS.fullmatch(match[0]):
            return match[0]
        out: list[str] = []
        for letters in _LETTER.findall(match[0]):
            # Behind an hour they are minutes.
            minutes = letters.upper() == "MM" and "HH" in text[: match.start()].upper() + "".join(out)
            out.append("%M" if minutes else letters)
        return "".join(_LETTERS.get(letters.upper(), letters) for letters in out)

    return re.sub("[A-Za-z]+", parted, text)


def _read(texts: Texts, form: str) -> Dates:
    reading = Reading(date_format=form)
    if "%y" in form:
        moments = [formatted_moment(text, form) for text in texts.texts]
        if years := {moment.year % 100 for moment in moments if moment is not None}:
            reading = Reading(date_format=form, last_year=last_year(years, datetime.now(UTC).year))
    days = formatted_days(texts.texts, form, reading.last_year) if form else [None] * len(texts.texts)
    # What has another form is in ISO 8601, or none.
    read = [_days(reading, text) if day is None else day for day, text in zip(days, texts.texts, strict=True)]
    return Dates(reading, np.array(read, np.float64))


def _may_be_date(text: str) -> bool:
    return len(text) >= 5 and any(letter.isdigit() for letter in text)


def _days(reading: Reading, text: str) -> float:
    try:
        return reading.days(text) if len(text) >= 5 else np.nan
    except ValueError:
        return np.nan


def _is_iso(text: str) -> bool:
    if len(text) < LEAST_LENGTH:
        return False
    try:
        iso_moment(text)
    except ValueError:
        return False
    return not text.isdigit()


def _fits(sample: Sequence[str], form: str, share: float) -> bool:
    """Return whether enough texts are dates in a format, or in ISO 8601 next to it."""
    formatted = [formatted_moment(text, form) is not None for text in sample]
    if not any(formatted):
        return False
    return sum(fits or _is_iso(text) for fits, text in zip(formatted, sample, strict=True)) >= share * len(sample)
