"""Infer how a column of texts writes its dates: ISO 8601, or one of the formats that people and programs use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.moments import formatted_moment, iso_moment
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
    wanted = share * texts.count(~texts.is_marker())
    if given:
        dates = _read(texts, given)
        return dates if texts.count(~np.isnan(dates.days)) >= wanted else None
    sample = [text for text in texts.texts[:SAMPLE] if len(text) >= 5 and any(letter.isdigit() for letter in text)]
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


def infer_digits(name: str, texts: Texts) -> Dates | None:
    """Read texts such as 20240131 next to odd ones as dates; None if any of so many digits is not a date."""
    digits = [text.partition(".")[0] if _CENTURIES.fullmatch(text) else "" for text in texts.texts]
    for length, form in DIGIT_FORMATS.items():
        shaped = np.fromiter((len(text) == length for text in digits), bool, len(digits))
        if texts.count(shaped) < max(LEAST_DATES, NEARLY * texts.count(~texts.is_marker())):
            continue
        dates = infer_dates(name, texts, form)
        if dates is None or np.isnan(dates.days[shaped]).any():
            return None
        return dates if spans_years(dates) else None
    return None


def spans_years(dates: Dates) -> bool:
    """Return whether dates are not months of one year in digits: 202401 to 202412 may be numbers that count."""
    return dates.reading.date_format != "%Y%m" or bool(np.ptp(dates.days[~np.isnan(dates.days)]) > _LONGEST_YEAR)


def readable_format(text: str) -> str:
    """Return a format as ``strptime`` has it, also from one in letters: DD/MM/YYYY."""
    if "%" in text:
        return text
    out = text
    for letters, code in (("YYYY", "%Y"), ("YY", "%y"), ("MMMM", "%B"), ("MMM", "%b"), ("MM", "%m"), ("DD", "%d")):
        out = re.sub(rf"(?<![%A-Za-z]){letters}(?![A-Za-z])", code, out, flags=re.IGNORECASE)
    out = re.sub(r"(?<![%A-Za-z])HH:%m", "%H:%M", out, flags=re.IGNORECASE)
    return re.sub(r"(?<![%A-Za-z])SS(?![A-Za-z])", "%S", out, flags=re.IGNORECASE)


def _read(texts: Texts, form: str) -> Dates:
    reading = Reading(date_format=form)
    return Dates(reading, np.array([_days(reading, text) for text in texts.texts]))


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
