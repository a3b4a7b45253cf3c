"""Read a teacher's targets: predictions or probabilities of a stronger model, learnt from next to the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.training.data.table import read_table
from eigenserve.training.data.target import Target, label_codes
from eigenserve.training.data.texts import table_rows

#: How the columns of a teacher's file are named among those of the table.
PREFIX = "teacher: "
#: Probabilities may miss a sum of one by this: they are often rounded to four digits.
SUM_TOLERANCE = 1e-3


def attach_teacher(
    frame: pd.DataFrame, teacher: str | None, positions: NDArray[np.int64] | None = None, total: int | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Add the columns of a teacher's file to the table, unless the teacher is a column of it or they are there already.

    Args:
        frame: the N rows.
        teacher: a column, or a file with a row for each of the table's in their order; None for no teacher.
        positions: (N,), of the rows among the ``total`` of the table, where they are a sample.
        total: rows of the table; None for N.

    Returns:
        The table, and which of its columns are the teacher's.

    Raises:
        UserError: neither a column nor a file, or a file of other rows.
    """
    if teacher is None:
        return frame, []
    if teacher in frame:
        return frame, [teacher]
    attached = [str(name) for name in frame if str(name).startswith(PREFIX)]
    if attached:
        return frame, attached
    if not Path(teacher).exists():
        raise UserError(f"teacher must be a column of the table or a file; found neither under {teacher!r}")
    given = read_table(Path(teacher))
    total = len(frame) if total is None else total
    if len(given) != total:
        raise UserError(
            f"the teacher's file must have a row for each of the table's {total:,}, in their order; {teacher} has "
            f"{len(given):,}"
        )
    given = given if positions is None else given.iloc[positions]
    given = given.set_index(frame.index).add_prefix(PREFIX)
    return pd.concat([frame, given], axis=1), [str(name) for name in given]


def with_teacher(goal: Target, table: pd.DataFrame, columns: list[str]) -> Target:
    """Give a target the teacher's: (N,) numbers or probabilities of the second of two classes, (N, classes) of more.

    Raises:
        UserError: columns that are not such.
    """
    if not columns:
        return goal
    if len(goal.classes) > 2 or (goal.classes and len(columns) > 1):
        return replace(goal, teacher=_of_classes(goal, table, columns))
    if len(columns) > 1:
        raise UserError(f"the teacher of the task {goal.task} is one column; got {', '.join(columns)}")
    values = _numbers(table[columns[0]])
    if goal.classes and (values.min() < 0 or values.max() > 1):
        raise UserError(
            f"the teacher's column must hold probabilities of {goal.classes[1]!r}, from 0 to 1; {columns[0]!r} has "
            f"{values.min():g} to {values.max():g}"
        )
    if goal.task == "poisson" and values.min() < 0:
        raise UserError(f"the teacher's counts must be at least 0; {columns[0]!r} has {values.min():g}")
    return replace(goal, teacher=values)


def _of_classes(goal: Target, table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    texts = pd.Series([name.removeprefix(PREFIX) for name in columns])
    codes = label_codes(texts, goal.classes)
    by_class = {codes[text]: name for text, name in zip(texts, columns, strict=True) if text in codes}
    absent = [str(label) for code, label in enumerate(goal.classes) if code not in by_class]
    if absent:
        raise UserError(
            f"the teacher must have a column of probabilities for each class, named like it; there is none for "
            f"{', '.join(absent)}"
        )
    chances = np.stack([_numbers(table[by_class[code]]) for code in range(len(goal.classes))], axis=1)
    sums = chances.sum(axis=1)
    if chances.min() < 0 or np.abs(sums - 1.0).max() > SUM_TOLERANCE:
        worst = int(np.abs(sums - 1.0).argmax())
        raise UserError(
            f"the teacher's probabilities must add up to 1 in every row; row {table_rows(table)[worst] + 1} has "
            f"{sums[worst]:g}"
        )
    chances /= sums[:, None]
    return chances[:, 1] if len(goal.classes) == 2 else chances


def _numbers(column: pd.Series) -> np.ndarray:
    numeric = pd.api.types.is_numeric_dtype(column)
    values = column.to_numpy(np.float64, na_value=np.nan) if numeric else np.full(1, np.nan)
    if not np.isfinite(values).all():
        raise UserError(f"the teacher's column {column.name!r} must hold a number in every row")
    return np.asarray(values)
