"""Turn cells that are understood into the values of a column: categories, hours and moments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any, Literal

import numpy as np
import pandas as pd

from eigenserve.model.rows.cells import category_key
from eigenserve.model.rows.moments import hours_of_value
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.spellings.marks import NO_MARKS, Marks
from eigenserve.training.data.texts import Texts

#: Genotypes such as AA, Aa and A/a: as in single letters, the case means something in them.
_GENES = re.compile(r"(?:([a-z])\1)+|[a-z](?:[/|:][a-z])+", re.IGNORECASE)
#: Whole numbers beyond are not all floats.
MOST_WHOLE = 2**53


@dataclass(frozen=True)
class Column:
    """Hold a column whose values are what they mean.

    Attributes:
        values: numbers, dates, booleans or categories' texts; None or NaN where missing.
        reading: how texts of it are read.
        notes: what the user should know.
        marks: of numbers that are written as texts.
    """

    values: pd.Series
    reading: Reading = PLAIN
    notes: tuple[str, ...] = ()
    marks: Marks = NO_MARKS


def categories_column(column: pd.Series, texts: Texts, plain: Reading, letters: bool, apart: bool = False) -> Column:
    """Read categories without blanks around them; spellings that differ by capital letters alone are one.

    Args:
        column, texts: the column and its texts.
        plain: its reading.
        letters: whether even single letters are one in either case, as a target's labels are.
        apart: whether no spellings of words are one, nor, but for labels, those of numbers such as 1.1 and 1.10.
    """
    name, keys = str(column.name), [category_key(text) for text in texts.texts]
    merged, parted = [], []
    for places in _alike(keys):
        spellings = list(dict.fromkeys(keys[i] for i in places))
        if len(spellings) > 1 and not apart and not differs_by_case(spellings[0], letters):
            most = max(places, key=lambda i: (texts.counts[i], -i))
            merged.append(f"{keys[most]!r} and {next(s for s in spellings if s != keys[most])!r}")
            for i in places:
                keys[i] = keys[most]
    for places in _alike(keys) if apart and not letters else ():
        # Numbers to programs, such as the versions 1.1 and 1.10; 3 and 3.0 are one in every format.
        written = [i for i in places if np.isnan(texts.numbers[i]) and "." in keys[i]]
        if len({texts.texts[i] for i in written}) > 1:
            parted.append(" and ".join(repr(texts.texts[i]) for i in written[:2]))
            for i in written:
                keys[i] = texts.texts[i]
    notes = []
    if merged:
        notes.append(f"in {name!r} {_such(merged)} are one category (--types {name}=category keeps them apart)")
    if parted:
        notes.append(f"in {name!r} {_such(parted)} are two categories, as they are spelt")
    if texts.trimmed:
        notes.append(f"in {name!r} blanks around texts such as {texts.trimmed!r} are passed over")
    if texts.unseen:
        notes.append(
            f"in {name!r} texts that look alike are one category, such as {texts.unseen!r}: they differ by the code of "
            "an accent, by the kind of a blank or by a sign without width"
        )
    return Column(spread_texts(np.array(keys, object), texts, column), plain, tuple(notes))


def differs_by_case(key: str, letters: bool = False) -> bool:
    """Return whether a text in capital letters may be another category; of single letters, unless ``letters``."""
    # Single letters are codes, in which the case may mean something.
    return (len(key) == 1 and not letters) or _GENES.fullmatch(key) is not None


def _alike(keys: Sequence[str]) -> list[list[int]]:
    """Return the places of keys that differ by capital letters at most."""
    folded: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        folded.setdefault(key.casefold(), []).append(i)
    return [places for places in folded.values() if len(places) > 1]


def _such(pairs: Sequence[str]) -> str:
    more = f", {pairs[1]}" + (" and so on" if len(pairs) > 2 else "") if len(pairs) > 1 else ""
    return pairs[0] + more


def category_column(column: pd.Series, plain: Reading) -> Column:
    """Read typed values as categories."""
    # Of 32 bits as they are: Python's floats would have digits that these do not say.
    cells = column.to_numpy() if column.dtype == np.float32 or column.dtype == np.float16 else column
    values = [None if missing else category_key(value) for value, missing in zip(cells, column.isna(), strict=True)]
    absent = {category_key(text) for text in plain.missing}
    values = [None if value in absent else value for value in values] if absent else values
    return Column(pd.Series(values, column.index, "str", name=column.name), plain)


def meaning_of(dtype: Any) -> Literal["date", "time", "boolean"] | None:
    """Return what a column of a type holds, where that is one thing alone; None for others."""
    if isinstance(dtype, pd.PeriodDtype) or pd.api.types.is_datetime64_any_dtype(dtype):
        return "date"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return "time"
    return "boolean" if pd.api.types.is_bool_dtype(dtype) else None


def text_of(value: Any) -> str:
    """Return the text of a value of any type."""
    if isinstance(value, date | time):
        return value.isoformat()
    return category_key(value)


def hours_column(column: pd.Series) -> Column:
    """Read times of day and durations as hours."""
    hours = [np.nan if pd.isna(value) else hours_of_value(value) for value in column.astype(object)]
    note = f"{str(column.name)!r} holds durations or times of day: read as hours"
    return Column(pd.Series(hours, column.index, np.float64, name=column.name), Reading(clock=True), (note,))


def moments(days: Any, column: pd.Series) -> pd.Series:
    """Return days since 1970 as times in UTC, to the microsecond."""
    micros = np.asarray(days, np.float64) * 86_400e6
    missing = np.isnan(micros)
    moments = np.rint(np.where(missing, 0.0, micros)).astype("datetime64[us]")
    moments[missing] = np.datetime64("NaT")
    return pd.Series(moments, column.index, name=column.name)


def spread_texts(values: Any, texts: Texts, column: pd.Series) -> pd.Series:
    """Spread a value for each text over the rows, None where it is missing."""
    words = len(values) and not isinstance(values[0], bool)
    spread = np.append(values, np.array([None], object))[texts.codes]
    return pd.Series(spread, column.index, "str" if words else object, name=column.name)
