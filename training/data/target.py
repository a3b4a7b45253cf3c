"""Separate the target from the features, and infer its task and its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.predictor import ClassLabel, Task
from eigenserve.model.rows.cells import NO_CODES, category_key, encode_cell
from eigenserve.model.rows.layout.titles import header_remedy
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.column_values import Column
from eigenserve.training.data.columns import read_column
from eigenserve.training.data.oddities.odd_cells import NAMED
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.texts import table_rows

#: Whole numbers 0, 1, ... are classes if they are so few.
MOST_CODES = 10


@dataclass(frozen=True)
class Target:
    """Hold what is to be predicted, for N rows.

    Attributes:
        name: the column.
        task: the task.
        values: (N,) float64: the number itself, or the class as its position in ``classes``.
        classes: labels in the order of the outputs; none for numbers.
        teacher: (N,) numbers or probabilities of the second of two classes, (N, classes) of more: a stronger model's.
        groups: (N,) numbers from 0 on; rows of one are judged together. Rows that repeat another are of one group.
        moments: (N,) times by which rows are judged forward, if they are.
    """

    name: str
    task: Task
    values: FloatArray
    classes: tuple[ClassLabel, ...] = ()
    teacher: FloatArray | None = None
    groups: NDArray[np.int64] | None = None
    moments: FloatArray | None = None

    def rows(self, part: NDArray[np.int64]) -> Target:
        """Return the targets of some rows."""
        teacher, moments = (None if more is None else more[part] for more in (self.teacher, self.moments))
        groups = None if self.groups is None else np.unique(self.groups[part], return_inverse=True)[1]
        return replace(self, values=self.values[part], teacher=teacher, groups=groups, moments=moments)


def split_target(
    frame: pd.DataFrame,
    name: str,
    task: Task | None = None,
    classes: Sequence[ClassLabel] = (),
    vary: bool = True,
    positive: str | None = None,
    options: ReadingOptions | None = None,
    hint: str = "",
    reading: Reading | None = None,
) -> tuple[pd.DataFrame, Target, list[str]]:
    """Separate the target's column from the others.

    Args:
        frame: the table.
        name: the target's column.
        task: the task; None to infer it.
        classes: the classes that a classifier already has; none to take those of the table.
        vary: refuse a target that does not vary: nothing could be learnt from it.
        positive: the class, of two, whose probability a binary model predicts; None for the last in order.
        options: what is given about the column.
        hint, reading: as for ``read_target``.

    Returns:
        The rows that have a target, without its column; the target; and what the user should know.

    Raises:
        UserError: no such column, or a column that cannot be such a target.
    """
    raw = required_column(frame, name)
    column = read_target(raw, task, options, hint, reading)
    features, target, more = split_read_target(
        frame.drop(columns=name), raw, column.values, task, classes, vary=vary, positive=positive
    )
    return features, target, [*column.notes, *more]


def split_read_target(
    frame: pd.DataFrame,
    raw: pd.Series,
    column: pd.Series,
    task: Task | None = None,
    classes: Sequence[ClassLabel] = (),
    *,
    vary: bool = True,
    positive: str | None = None,
) -> tuple[pd.DataFrame, Target, list[str]]:
    """Separate a target as ``split_target`` does, for a column that is read already.

    Args:
        frame: the features.
        raw: the target's values as the table has them.
        column: as ``read_target`` gives them.
        task, classes, vary, positive: as for ``split_target``.

    Raises:
        UserError: a column that cannot be such a target.
    """
    name = str(raw.name)
    notes = []
    if column.isna().any():
        notes.append(_left_out(raw, column))
        frame, column = frame[column.notna()], column[column.notna()]
    if not len(column):
        raise UserError(f"target {name!r} must vary; it is missing in every row")
    if vary and not classes and column.nunique() < 2:
        # Where a word such as None was taken for a missing value, that is why.
        reasons = "; ".join([f"target {name!r} must vary; it is {column.iloc[0]} in every row", *notes])
        raise UserError(reasons)
    if task is None:
        task = infer_task(column)
        notes.append(f"task: {task} (inferred from {name!r}; override with --task)")
    features = frame.reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(column):
        raise UserError(
            f"target {name!r} must be a number or a class; it holds dates such as {column.iloc[0].date()}: make a "
            f"number of them, such as days, or give --types {name}=category"
        )
    if task in ("binary", "multiclass"):
        codes, labels = _encode_classes(_whole(column), task, classes, positive)
        return features, Target(name, task, codes, labels), notes
    if positive is not None:
        raise UserError(f"--positive needs a target of two classes; the task is {task}")
    return features, Target(name, task, _numbers(column, task)), notes


def required_column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of a table.

    Raises:
        UserError: there is none of this name.
    """
    if name in frame:
        return frame[name]
    names = [str(column) for column in frame.columns]
    near = next((other for other in names if other.casefold().strip() == name.casefold().strip()), None)
    if near is not None:
        raise UserError(f"no column {name!r}; there is a column {near!r}")
    if remedy := header_remedy(names):
        raise UserError(f"no column {name!r}; the columns are {', '.join(names)}: {remedy}")
    if len(names) == 1:
        raise UserError(
            f"no column {name!r}; the only column is {names[0]!r}: if another character separates its cells, give "
            "--csv-separator"
        )
    numbers = sum(other.replace(".", "", 1).lstrip("-").isdigit() for other in names)
    hint = ": the first line seems to be data; put a line of names above it" if 2 * numbers > len(names) else ""
    raise UserError(f"no column {name!r}; the columns are {', '.join(names)}{hint}")


def positive_column(table: pd.DataFrame, name: str) -> FloatArray:
    """Read a column of weights or exposures, (N,).

    Raises:
        UserError: no such column, or one that is not positive in every row.
    """
    column = read_column(required_column(table, name)).values
    rows = table_rows(column)
    if not pd.api.types.is_numeric_dtype(column):
        raise UserError(
            f"column {name!r} must hold a positive number in every row; row {rows[0] + 1} has {column.iloc[0]!r}: name "
            "another column, or make numbers of it"
        )
    values = column.to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise UserError(
            f"column {name!r} must hold a positive number in every row; in {bad.size:,} it does not, such "
            f"as row {rows[bad[0]] + 1} with {values[bad[0]]:g}: remove these rows, or give them a number"
        )
    return np.asarray(values)


def infer_task(column: pd.Series) -> Task:
    """Infer the task from the values of a target.

    Text and booleans are classes, so are exactly two different values, and so are the codes 0, 1, ... up to
    at most 9 without a gap; other numbers are numbers.
    """
    present = column.dropna()
    distinct = present.nunique()
    if distinct == 2:
        return "binary"
    if not pd.api.types.is_numeric_dtype(column):
        return "multiclass"
    codes = distinct <= MOST_CODES and set(present.unique()) == set(range(distinct))
    return "multiclass" if codes else "regression"


def read_target(
    raw: pd.Series,
    task: Task | None = None,
    options: ReadingOptions | None = None,
    hint: str = "",
    reading: Reading | None = None,
) -> Column:
    """Read the target's values: numbers, booleans, or labels of which all spellings are one; and notes for the user.

    Args:
        raw: the column.
        task: the task; None to infer it.
        options: what is given about the column.
        hint: the decimal mark of the features, where the target leaves it open (``decimal_hint``).
        reading: how the texts of a model's numbers are read; None to infer it.

    Raises:
        UserError: values that are nearly numbers, but not quite.
    """
    options = options or ReadingOptions()
    classes = task in ("binary", "multiclass") and str(raw.name) not in options.types
    if classes and any(isinstance(value, str) for value in raw.dropna()):
        options = replace(options, labels=frozenset({str(raw.name)}))
    if pd.api.types.is_float_dtype(raw.dtype):
        infinite = np.flatnonzero(np.isinf(raw.to_numpy(np.float64, na_value=np.nan)))
        if infinite.size:
            row = table_rows(raw)[infinite[0]]
            raise UserError(
                f"target {raw.name!r} must be finite; row {row + 1} has {raw.iloc[infinite[0]]}. "
                f"Correct or remove such rows ({infinite.size} in all)."
            )
    if reading is not None:
        return Column(_known_numbers(raw, reading), reading)
    return read_column(raw, options, hint, letters=True)


def _known_numbers(raw: pd.Series, reading: Reading) -> pd.Series:
    """Read numbers as a model's training did."""
    values = []
    for row, value in zip(table_rows(raw), raw, strict=True):
        number, fault = encode_cell("numeric", NO_CODES, reading, value)
        if fault:
            raise UserError(f"target {raw.name!r} {fault} in row {row + 1}")
        values.append(number)
    return pd.Series(values, raw.index, np.float64, name=raw.name)


def _left_out(raw: pd.Series, column: pd.Series) -> str:
    """Say how many rows have no target, and which text says so where it might be a class."""
    absent = column.isna()
    rows = "1 row" if absent.sum() == 1 else f"{int(absent.sum()):,} rows"
    note = f"{rows} without a {str(raw.name)!r} {'was' if rows == '1 row' else 'were'} left out"
    words = Counter(str(value).strip() for value in raw[absent].dropna())
    words.pop("", None)
    if words and not pd.api.types.is_numeric_dtype(column):
        word, count = words.most_common(1)[0]
        note += f"; {word!r}, in {count:,} of them, counts as missing (--missing '{raw.name}=' makes it a class)"
    return note


def _whole(column: pd.Series) -> pd.Series:
    """Return whole numbers as integers, whatever their type: those of a column with gaps are floats."""
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(np.float64)
        if np.isfinite(values).all() and (values == np.rint(values)).all() and np.abs(values).max(initial=0) < 2**53:
            return pd.Series(values.astype(np.int64), column.index, name=column.name)
    return column


def _encode_classes(
    column: pd.Series, task: Task, classes: Sequence[ClassLabel], positive: str | None
) -> tuple[FloatArray, tuple[ClassLabel, ...]]:
    if not classes:
        classes = _classes(column, task)
        if positive is not None:
            classes = _with_positive(column, classes, positive)
    codes = column.map(label_codes(column, classes))
    if codes.isna().any():
        stranger = column[codes.isna()].iloc[0]
        raise UserError(f"class {stranger!r} in {column.name!r} is none of the model's: {list(classes)}")
    return np.asarray(codes, np.float64), tuple(classes)


def _classes(column: pd.Series, task: Task) -> list[ClassLabel]:
    values: list[Any] = column.unique().tolist()
    strange = [label for label in values if not isinstance(label, str | int | float)]
    if strange:
        raise UserError(
            f"classes must be texts, numbers or booleans; target {column.name!r} has {str(strange[0])!r}: give --types "
            f"{column.name}=category for classes, or make numbers of them, such as days"
        )
    classes = sorted(values)
    if task == "binary" and len(classes) != 2:
        raise UserError(f"a binary target must have 2 classes; {column.name!r} has {len(classes)}")
    if len(classes) > max(50, len(column) // 10):
        raise UserError(
            f"target {column.name!r} has {len(classes)} classes in {len(column)} rows: too many to learn"
            f"{_odd_numbers(column)}"
        )
    return classes


def _odd_numbers(column: pd.Series) -> str:
    """Name the cells of a column of texts that keep it from being numbers; "" where they are most of it."""
    odd = [(row, text) for row, text in column.items() if PLAIN.number(category_key(text)) is None]
    if not odd:
        return f" (give --types {column.name}=number to predict numbers)"
    if len(odd) > len(column) // 2:
        return ""
    named = [f"{text!r} in row {row + 1}" if isinstance(row, int) else repr(text) for row, text in odd[:NAMED]]
    shown = ", ".join(named) + (", ..." if len(odd) > NAMED else "")
    return (
        f"; its cells are numbers but for {len(odd):,}: {shown}. Mend them, or give --types {column.name}=number, "
        "so that they count as missing"
    )


def _with_positive(column: pd.Series, classes: list[ClassLabel], positive: str) -> list[ClassLabel]:
    """Order two classes, the positive one last."""
    wanted = category_key(positive)
    chosen = [label for label in classes if category_key(label) == wanted]
    chosen = chosen or [label for label in classes if category_key(label).casefold() == wanted.casefold()]
    if len(classes) != 2 or not chosen:
        shown = ", ".join(map(repr, classes[:10]))
        raise UserError(
            f"--positive must be one of the two classes of {column.name!r}, which has {shown}; got {positive!r}"
        )
    return [*(label for label in classes if label != chosen[0]), chosen[0]]


def label_codes(column: pd.Series, classes: Sequence[ClassLabel]) -> dict[Any, int]:
    """Map labels to classes, for the labels of a column as it spells and types them."""
    exact = {category_key(label): code for code, label in enumerate(classes)}
    folded: dict[str, int] = {}
    for key, code in exact.items():
        folded[key.casefold()] = code if key.casefold() not in folded else -1
    codes = {}
    for label in column.unique().tolist():
        key = category_key(label)
        code = exact.get(key, folded.get(key.casefold(), -1))
        if code >= 0:
            codes[label] = code
    return codes


def _numbers(column: pd.Series, task: Task) -> FloatArray:
    if not pd.api.types.is_numeric_dtype(column):
        raise UserError(f"a {task} target must be a number; {column.name!r} has {str(column.iloc[0])!r}")
    values: NDArray[np.float64] = column.to_numpy(np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"a {task} target must be finite; {column.name!r} has an infinity")
    if task == "poisson" and (values < 0).any():
        raise UserError(f"a poisson target must be at least 0; {column.name!r} has {values.min():g}")
    return values
