"""Find identifiers: columns that name a row, so that nothing learnt from them carries over to others."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

#: Rows from which different values everywhere are no coincidence.
FEW_ROWS = 20
#: Words of a name that say so, as the first or the last of it.
_WORDS = frozenset(
    {"id", "uuid", "guid", "pid", "uid", "sid", "cid", "rid", "oid", "rownum", "rowid", "ssn", "rownames"}
)
#: Words that may, in "serial number", or may not, in "number of rooms" and "price index".
_DOUBTFUL = frozenset(
    {"ids", "idx", "index", "key", "nr", "no", "number", "row", "serial", "order", "record", "obs", "observation"}
)
#: Whole numbers of a range no wider than this, per row, number the rows, or those that they are a sample of.
_DENSE = 2
#: Share of multiples of ten (of identifiers a tenth) from which numbers are rounded, as quantities are.
_ROUND = 0.5
_OWNERS = (
    "customer|user|account|patient|passenger|employee|loan|order|product|item|transaction|student|member|policy|claim|"
    "record|row|case|sample|subject|encounter|house|property|listing|ride|trip|session|object|person|client|driver|"
    "vehicle|car|store|post|tweet|game|match|player|team|application|applicant|application|booking|invoice"
)
_RUN_TOGETHER = re.compile(rf"({_OWNERS})(id|no|nr|number|key)")


def identifiers(table: pd.DataFrame, kept: Collection[str] = ()) -> list[str]:
    """Return the columns of a read table that are identifiers; none if no other column were left.

    They are texts that are all different, row numbers from 0 or 1, and whole numbers that are all different in a column
    whose name says that it is one, unless they look like a quantity; where the name leaves it open they must fill their
    range.

    Args:
        table: the features.
        kept: columns that are wanted all the same.
    """
    found = [str(name) for name in table.columns if name not in kept and _is_identifier(str(name), table[name])]
    return found if len(found) < table.shape[1] else []


def keeping(column: pd.Series) -> str:
    """Return the option that keeps an identifier as a feature."""
    if _is_text(column):
        return f"--types {shlex.quote(f'{column.name}=category')}"
    return f"--types {shlex.quote(f'{column.name}=number')}, or category,"


def left_out_note(table: pd.DataFrame, ids: Sequence[str]) -> str:
    """Say which identifiers of a table were left out, and what keeps the first."""
    remedy = keeping(table[ids[0]])
    shown = ", ".join(map(repr, ids[:5])) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    differ = (
        "is different in every row, as an identifier is, and was"
        if len(ids) == 1
        else ("are different in every row, as identifiers are, and were")
    )
    return f"{shown} {differ} left out ({remedy} keeps it)"


def differs_everywhere(column: pd.Series) -> bool:
    """Return whether a column has texts, or whole numbers that count up or fill their range, all different."""
    if len(column) < FEW_ROWS or column.isna().any() or not column.is_unique:
        return False
    if pd.api.types.is_integer_dtype(column):
        dense = int(column.max()) - int(column.min()) < 1.01 * len(column)
        return bool(dense or column.is_monotonic_increasing)
    return _is_text(column)


def _is_identifier(name: str, column: pd.Series) -> bool:
    if len(column) < FEW_ROWS or column.isna().any() or not column.is_unique:
        return False
    if _is_text(column):
        return True
    if not pd.api.types.is_integer_dtype(column):
        return False
    first = int(column.iloc[0])
    counts_rows = first in (0, 1) and bool((np.diff(column.to_numpy(np.int64)) == 1).all())
    if counts_rows:
        return True
    words = _words(name)
    if _is_plain_name(words):
        return bool((column % 10 == 0).mean() < _ROUND)
    dense = int(column.max()) - int(column.min()) < _DENSE * len(column)
    return dense and not _DOUBTFUL.isdisjoint((words or [""])[:: max(1, len(words) - 1)])


def names_an_identifier(name: str) -> bool:
    """Return whether a column's name says that it is an identifier: PassengerId, customer_id, Order, userid."""
    words = _words(name)
    return _is_plain_name(words) or (bool(words) and words[-1] in _DOUBTFUL)


def _words(name: str) -> list[str]:
    """Return the words of a name, and its numbers: NO2 is no number."""
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)]


def _is_plain_name(words: Sequence[str]) -> bool:
    """Return whether the words of a name can mean only an identifier."""
    if not words:
        return False
    doubtful = len(words) > 1 and _DOUBTFUL.issuperset(words)
    return doubtful or words[0] in _WORDS or words[-1] in _WORDS or bool(_RUN_TOGETHER.fullmatch("".join(words)))


def _is_text(column: pd.Series) -> bool:
    dates = pd.api.types.is_datetime64_any_dtype(column)
    return not (dates or pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))
