"""Recognise a last row that sums up the others, as spreadsheets have it: it is not an example of anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from eigenserve.model.arrays import FloatArray

#: Labels of such a row, in small letters.
_LABEL = re.compile(
    r"(?:(?:grand|overall|column|sub|report)[\s-]*)?(?:totals?|sums?|all rows|averages?|avg\.?|means?)\s*:?"
    r"|(?:gesamt|end)?summen?\s*:?|(?:ins)?gesamt\s*:?|(?:total|suma|soma|somme|totale|totaal|totalt|suma total)"
    r"(?: g[eé]n[eé]ral| geral| generale)?\s*:?|totaux\s*:?|moyenne\s*:?|promedio\s*:?|media\s*:?|durchschnitt\s*:?"
    r"|mittelwert\s*:?|итого\s*:?|всего\s*:?|合计|合計|总计|總計"
)
#: Rows below which sums may agree by chance.
_FEW_ROWS = 5
#: How far a total may be from the sum: rounded, in a row with a label; written in full without one.
_ROUNDED, _EXACT = 1e-4, 1e-9


def without_totals(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out a last row that is the sum or the mean of the others.

    It is one if a label of its says so, which no other row has, and a number confirms it; or if each of two or more
    numbers is the sum of its column. A label alone is noted.

    Args:
        frame: raw values.

    Returns:
        The other rows, and what the user should know.
    """
    if len(frame) <= _FEW_ROWS:
        return frame, ()
    label = _label(frame)
    if label is None:
        sums = _agreements(frame, mean=False, tolerance=_EXACT)
        count = 0
        for agrees in sums:
            if not agrees:
                return frame, ()
            count += 1
        if count < 2:
            return frame, ()
        return frame.iloc[:-1], ("the last row is the sum of the others, and was left out: remove it from the table",)
    column, text = label
    if any(_agreements(frame, mean=True, tolerance=_ROUNDED)):
        note = f"the last row, {text!r} in {column!r}, sums up the others, and was left out: remove it from the table"
        return frame.iloc[:-1], (note,)
    return frame, (f"the last row says {text!r} in {column!r}: if it sums up the others, remove it from the table",)


def _label(frame: pd.DataFrame) -> tuple[str, str] | None:
    """Return the column and the text of a label that only the last row has."""
    for name in frame.columns:
        text = frame[name].iloc[-1]
        if not isinstance(text, str) or not _LABEL.fullmatch(text.strip().casefold()):
            continue
        if not (frame[name].iloc[:-1] == text).any():
            return str(name), text.strip()
    return None


def _agreements(frame: pd.DataFrame, *, mean: bool, tolerance: float) -> Iterator[bool]:
    """Yield for each column with a number in its last row whether that is the sum, or the mean, of the others."""
    for name in frame.columns:
        if pd.api.types.is_bool_dtype(frame[name].dtype) or (numbers := _numbers(frame[name])) is None:
            continue
        last, others = numbers[-1], numbers[:-1][~np.isnan(numbers[:-1])]
        # A sum of a single number, or of none, says nothing.
        if np.isnan(last) or np.count_nonzero(others) < _FEW_ROWS - 1:
            continue
        values = (others.sum(), others.mean()) if mean else (others.sum(),)
        yield any(abs(last - value) <= tolerance * abs(value) for value in values)


def _numbers(column: pd.Series) -> FloatArray | None:
    """Return a column's numbers, (N,), NaN for other cells; None where the last is none."""
    if not pd.api.types.is_numeric_dtype(column.dtype):
        if isinstance(column.iloc[-1], str) or not isinstance(column.iloc[-1], int | float | np.number):
            return None
        column = pd.to_numeric(column, errors="coerce")
    if pd.api.types.is_complex_dtype(column.dtype):
        return None
    return column.to_numpy(np.float64, na_value=np.nan)
