"""Read texts as dates and as times of day, in the words and marks of several languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

import numpy as np

SECONDS_PER_HOUR = 3600.0
#: Days, and times of day, that are kept once they are read, as a column of moments repeats them; longer texts are not.
CACHED, LONGEST_CACHED = 32_768, 40
#: Letters of a text that may be a number, a range, a date or a time: what is longer is not one, and is not matched. The
#: largest float has 309 digits.
LONGEST = 400
#: Dashes that stand for a minus, and blanks that a spreadsheet or a typesetter writes.
PLAINER = str.maketrans(
    {**dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014", "-"), **dict.fromkeys("\u00a0\u202f\u2009\u2007", " ")}
)
#: Signs that are not seen, and all blanks as one: what a text keeps of the page or program that it was copied from.
_UNSEEN = {
    **dict.fromkeys((*range(0x200B, 0x2010), 0x2060, 0xFEFF)),
    **dict.fromkeys((0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
}
_START, _MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
#: Microseconds from 1970 within which no time of day leads out of the calendar: 1,000 years.
_FAR = 1000 * 365 * 86_400 * 10**6
#: The last year that two digits stand for, where training has not found another: that of POSIX.
LAST_YEAR = 2068
#: Names of the months in English, German, French, Spanish, Portuguese, Italian, Dutch and the languages of Scandinavia.
_MONTHS = (
    "january januar janvier enero janeiro gennaio januari",
    "february februar février febrero fevereiro febbraio februari",
    "march märz mars marzo março maart marts mrt",
    "april avril abril aprile",
    "may mai mayo maio maggio mei maj",
    "june juni juin junio junho giugno",
    "july juli juillet julio julho luglio",
    "august août agosto augustus augusti",
    "september septembre septiembre setembro settembre",
    "october oktober octobre octubre outubro ottobre",
    "november novembre noviembre novembro",
    "december dezember décembre diciembre dezembro dicembre desember",
)
_ENGLISH = tuple(names[:3].title() for names in _MONTHS)


def _month_words() -> dict[str, int]:
    """Map the names of months, with and without accents, and their beginnings that belong to one month alone."""
    months: dict[str, int] = {}
    for number, names in enumerate(_MONTHS, 1):
        for name in names.split():
            plain = "".join(letter for letter in unicodedata.normalize("NFD", name) if letter.isascii())
            for word in {form[:end] for form in (name, plain) for end in range(3, len(form) + 1)}:
                months[word] = number if months.get(word, number) == number else 0
    return {word: number for word, number in months.items() if number}


#: Word in small letters -> number of the month.
MONTH_WORDS = _month_words()
#: Words that stand between day, month and year.
FILLERS = ("de", "del", "do", "di", "of", "den", "the", "le")
_ORDINAL = re.compile(r"(?<=[0-9])(?:(?:st|nd|rd|th|er)\b|[ºª]|\.(?=\s))", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:\.(?=[\s,]|$))?")
_CLOCK = re.compile(
    r"(?P<sign>[+-])?(?:(?P<days>[0-9]{1,9}) days?,? ?(?:\+ ?)?)?(?P<hours>[0-9]{1,4})"
    r"(?::(?P<minutes>[0-5][0-9]))?(?::(?P<seconds>[0-5][0-9](?:\.[0-9]+)?))?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
#: Of two parts with a fraction the second is seconds: 08:26.5, as stopwatches and Excel write it.
_STOPWATCH = re.compile(r"(?P<sign>[+-])?(?P<minutes>[0-9]{1,6}):(?P<seconds>[0-5][0-9]\.[0-9]+)")
#: Names of zones -> hours from UTC: those of RFC 2822, Europe, Japan, Korea and Australia that have one meaning.
ZONE_HOURS = {
    **{
        "Z": 0,
        "UTC": 0,
        "GMT": 0,
        "EST": -5,
        "EDT": -4,
        "CST": -6,
        "CDT": -5,
        "MST": -7,
        "MDT": -6,
        "PST": -8,
        "PDT": -7,
    },
    **{"WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11},
}
#: A zone by its difference to UTC, which JavaScript follows by its name, or by a name of these.
_ZONE = re.compile(
    r" ?(?:(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})|(?P<name>Z|[A-Z]{3,4}))"
    r"(?: \([^()]*\))?$"
)
#: The place of a zone, as Java writes it behind the difference to UTC: 2024-01-31T10:11:12+01:00[Europe/Berlin].
_PLACE = re.compile(r"(?<=[0-9Z])\[[A-Za-z_]+(?:/[A-Za-z_+-]+)*\]$")
#: What parts a date from its time: T in ISO 8601, a dash in 2019/12/30-10:11:12, a colon in SAS' 30DEC2019:10:11:12.
_PARTING = re.compile(r"(?<=[0-9 ])T(?=[0-9])|(?<=[0-9])-(?=[0-9]{2}:[0-9]{2}:)|(?<=[A-Za-z][0-9]{4}):(?=[0-9]{2}:)")
#: Formats of dates in digits alone, such as %d%m%Y.
_DIGITS_ALONE = re.compile("(?:%[YymdjHMS])+")
#: A time of day as Oracle writes it: 10.11.12.000000 AM.
_POINTS = re.compile(r"^([0-9]{1,2})\.([0-9]{2})(?:\.([0-9]{2}(?:\.[0-9]+)?))?(?= ?[AaPp][Mm]|$)")


def plain_text(text: str) -> str:
    """Return a text as it looks: without blanks around it and signs of no width, accents joined with their letters."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFC", text.translate(_UNSEEN)).strip()


def hours_of(text: str) -> float | None:
    """Return the hours of a time of day or a duration: 9:30, 9:30 pm, 2 days 03:00:00; None for other texts."""
    if len(text) > LONGEST:
        return None
    plain = text.translate(PLAINER)
    if match := _STOPWATCH.fullmatch(plain):
        seconds = 60 * int(match["minutes"]) + float(match["seconds"])
        return (-seconds if match["sign"] == "-" else seconds) / SECONDS_PER_HOUR
    match = _CLOCK.fullmatch(plain)
    if match is None or not (match["minutes"] or match["half"]):
        return None
    hours = int(match["hours"])
    if match["half"]:
        if not 1 <= hours <= 12 or match["days"]:
            return None
        hours = hours % 12 + (12 if match["half"] in "Pp" else 0)
    seconds = (
        3600 * (24 * int(match["days"] or 0) + hours) + 60 * int(match["minutes"] or 0) + float(match["seconds"] or 0)
    )
    return (-seconds if match["sign"] == "-" else seconds) / SECONDS_PER_HOUR


def english_date(text: str) -> str:
    """Return a date with its month in English, abbreviated, and without ordinals and words such as "de"."""

    def plain(match: re.Match[str]) -> str:
        word = match[0].rstrip(".").casefold()
        if number := MONTH_WORDS.get(word):
            return _ENGLISH[number - 1]
        return "" if word in FILLERS else match[0]

    return " ".join(_WORD.sub(plain, _ORDINAL.sub("", text)).split())


def formatted_moment(text: str, date_format: str, last_year: int = 0) -> datetime | None:
    """Read a date in a format of ``strptime``, with or without a time of day behind it; None for other texts.

    Months may have their names in other languages than English, and %q is a quarter, which counts as its first day.
    Years of two digits are those up to ``last_year``, of which 0 is ``LAST_YEAR``.
    """
    if len(text) > LONGEST:
        return None
    try:
        moment = _moment(text, date_format)
        if moment is None and ("%b" in date_format or "%B" in date_format):
            moment = _moment(english_date(text), date_format.replace("%B", "%b").replace(". ", " "))
        if moment is None or not last_year or "%y" not in date_format:
            return moment
        return moment.replace(year=last_year - (last_year - moment.year) % 100)
    except (OverflowError, ValueError):  # beyond the years 1 to 9999, or February 29th of another century
        return None


@lru_cache(64)
def digits_of_format(date_format: str) -> int:
    """Return how many digits dates in a format have; 0 for a format of more than digits."""
    if not _DIGITS_ALONE.fullmatch(date_format):
        return 0
    return sum({"Y": 4, "j": 3}.get(code, 2) for code in date_format[1::2])


def _day(text: str, date_format: str) -> datetime | None:
    return (_cached_day if len(text) <= LONGEST_CACHED else _read_day)(text, date_format)


def formatted_days(texts: Sequence[str], date_format: str, last_year: int = 0) -> list[float | None]:
    """Return the days since 1970 of ``formatted_moment`` of texts, several times as fast where parts of them repeat."""
    # Years of two digits are placed by the whole moment.
    by_parts = not _has_clock(date_format) and not last_year
    days: dict[str, int | None] = {}
    clocks: dict[str, int | None] = {}
    found: list[float | None] = []
    for text in texts:
        micros = None
        if by_parts and text.isascii() and len(text) <= LONGEST and (parts := _parted(text, date_format)):
            first, rest = parts
            if first not in days:
                day = _read_day(first, date_format)
                days[first] = None if day is None else (day - _START) // _MICROSECOND
            if rest not in clocks:
                clock = _clock(rest)
                clocks[rest] = None if clock is None else clock[0] // _MICROSECOND
            on, after = days[first], clocks[rest]
            # Beyond the ends of the calendar there is no moment.
            if on is not None and after is not None and abs(on) < _FAR:
                micros = on + after
        if micros is None:
            moment = formatted_moment(text, date_format, last_year)
            found.append(None if moment is None else days_of(moment))
        else:
            found.append(micros / 10**6 / 86_400.0)
    return found


def _read_day(text: str, date_format: str) -> datetime | None:
    if "%q" in date_format:
        shape = re.escape(date_format).replace("%Y", "(?P<year>[0-9]{4})").replace("%q", "(?P<quarter>[1-4])")
        match = re.fullmatch(shape, text, re.IGNORECASE)
        return datetime(int(match["year"]), 3 * int(match["quarter"]) - 2, 1) if match else None
    if text.isdigit() and (width := digits_of_format(date_format)):
        # Whole numbers lose the zero in front of a day, or those of the year 00 and of a month.
        lost = 0 if date_format.startswith("%Y") else 3 if date_format.startswith("%y") else 1
        if not width - lost <= len(text) <= width:
            return None
        text = text.zfill(width)
    try:
        return datetime.strptime(text, date_format)
    except ValueError:
        return None


_cached_day = lru_cache(CACHED)(_read_day)


def _moment(text: str, date_format: str) -> datetime | None:
    whole = _has_clock(date_format) or text.count(" ") <= date_format.count(" ")
    if whole and (moment := _day(text, date_format)) is not None:
        return moment
    moment = None if _has_clock(date_format) else _day_and_clock(text, date_format)
    # The day of a month below ten may have a blank in front: 1/ 5/2024.
    return _day(text, date_format) if moment is None and not whole else moment


def _has_clock(date_format: str) -> bool:
    return "%H" in date_format or "%I" in date_format


def _parted(text: str, date_format: str) -> tuple[str, str] | None:
    """Part a day, in as many words as its format has, from the time behind it; None where nothing is behind it."""
    words = _PARTING.sub(" ", text if text.isascii() else text.translate(PLAINER)).split()
    count = date_format.count(" ") + 1
    if len(words) <= count:
        return None
    # JavaScript's toLocaleString writes a comma between them.
    return " ".join(words[:count]).removesuffix(","), " ".join(words[count:])


def _day_and_clock(text: str, date_format: str) -> datetime | None:
    parts = _parted(text, date_format)
    if parts is None or (day := _day(parts[0], date_format)) is None:
        return None
    clock = (_cached_clock if len(parts[1]) <= LONGEST_CACHED else _clock)(parts[1])
    if clock is None:
        return None
    after, with_zone = clock
    return (day + after).replace(tzinfo=UTC) if with_zone else day + after


def _clock(text: str) -> tuple[timedelta, bool] | None:
    """Read a time of day, with or without a zone, as what it adds to its day, in UTC where it has a zone."""
    rest = text.removeprefix("at ").removesuffix(" Uhr")
    zone = _ZONE.search(rest)
    clock = rest[: zone.start()] if zone else rest
    hours = hours_of(_POINTS.sub(lambda points: ":".join(filter(None, points.groups())), clock))
    if hours is None or not 0 <= hours < 24:
        return None
    after = timedelta(seconds=round(hours * SECONDS_PER_HOUR, 6))
    if zone is None:
        return after, False
    if zone["name"]:
        return (after - timedelta(hours=ZONE_HOURS[zone["name"]]), True) if zone["name"] in ZONE_HOURS else None
    shift = timedelta(hours=int(zone["hours"]), minutes=int(zone["minutes"]))
    return (after + shift if zone["sign"] == "-" else after - shift), True


_cached_clock = lru_cache(CACHED)(_clock)


def iso_moment(text: str) -> datetime:
    """Read a date or time in ISO 8601, which the place of its zone may follow.

    Raises:
        ValueError: it is none.
    """
    return datetime.fromisoformat(_PLACE.sub("", text) if len(text) <= LONGEST else text)


def days_of(moment: datetime) -> float:
    """Return days since 1970-01-01T00:00Z; a time without a zone counts as UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86_400.0


def hours_of_value(value: object) -> float | None:
    """Return the hours of a time of day or a duration as Python, NumPy or pandas have them; None for other values."""
    if isinstance(value, time):
        seconds = 3600 * value.hour + 60 * value.minute + (value.second + value.microsecond / 1e6)
        return seconds / SECONDS_PER_HOUR
    if isinstance(value, np.timedelta64):
        return float(value / np.timedelta64(1, "us")) / 1e6 / SECONDS_PER_HOUR
    return value.total_seconds() / SECONDS_PER_HOUR if isinstance(value, timedelta) else None
