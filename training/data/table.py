"""Tables: reading them, and telling the target and its task from the features."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.readings import MISSING_TEXTS
from eigenserve.model.spectral import ClassLabel, Task


@dataclass(frozen=True)
class Target:
    """What is to be predicted, for N rows.

    Attributes:
        name: the column.
        task: the task.
        values: (N,) float64: the number itself, or the class as its position in ``classes``.
        classes: labels in the order of the outputs; none for numbers.
    """

    name: str
    task: Task
    values: FloatArray
    classes: tuple[ClassLabel, ...] = ()


def existing_file(path: str | Path) -> Path:
    """The path of a file that is there; UserError if none is."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file {path}")
    return path


def read_table(path: str | Path) -> pd.DataFrame:
    """A CSV (.csv, .csv.gz), Parquet or Arrow (.arrow, .feather) file as a frame, without a CSV's unnamed columns.

    Raises:
        UserError: no such file, an unknown kind of file, or one that cannot be read as what its name says.
    """
    path = existing_file(path)
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            frame = pd.read_csv(path, na_values=sorted(MISSING_TEXTS), keep_default_na=False, low_memory=False)
            frame.columns = csv_header(path)
            if "" in frame:
                frame = frame.loc[:, frame.columns != ""]
        elif name.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path)
        elif name.endswith((".arrow", ".feather")):
            frame = open_arrow(path).read_pandas()
        else:
            raise UserError(f"{path} must end in .csv, .csv.gz, .parquet, .arrow or .feather")
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return checked_frame(frame, path)


def open_arrow(path: Path) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    """A reader of an Arrow file, or of an Arrow stream in a file."""
    file = pa.OSFile(str(path))
    is_stream = file.read(6) != b"ARROW1"
    file.seek(0)
    return pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)


def csv_header(path: Path) -> pd.Index:
    """The columns' names as they stand in a CSV file: pandas calls a doubled one x.1, one without a name Unnamed: 0."""
    return pd.Index(pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0])


def checked_frame(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A frame from the file ``path``, its columns named by texts, its decimals floats.

    Raises:
        UserError: two columns of the same name, no rows, or a column of arrays or objects.
    """
    frame.columns = frame.columns.map(str)
    doubled = frame.columns[frame.columns.duplicated()].tolist()
    if doubled:
        raise UserError(f"{path} has more than one column named {doubled[0]!r}")
    if len(frame) == 0:
        raise UserError(f"{path} has no rows")
    for name, column in frame.items():
        first = next(iter(column.dropna()), None) if pd.api.types.is_object_dtype(column) else None
        if isinstance(first, np.ndarray | list | dict):
            raise UserError(f"{path}: column {name!r} must hold single values, not arrays or objects: leave it out")
    return decimals_as_floats(frame)


def decimals_as_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose columns of Python's decimals, which pandas takes for objects, are float64."""
    columns = {
        str(name): pd.to_numeric(column)
        for name, column in frame.items()
        if pd.api.types.is_object_dtype(column) and _are_decimals(column.dropna())
    }
    return frame.assign(**columns) if columns else frame


def _are_decimals(present: pd.Series) -> bool:
    kinds = set(map(type, present))
    return Decimal in kinds and kinds <= {Decimal, float, int}


def fingerprint(frame: pd.DataFrame) -> str:
    """A hash of the content of a table: the same rows in the same order give the same text."""
    rows = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    names = "\x1f".join(frame.columns).encode()
    return hashlib.sha256(names + rows.tobytes()).hexdigest()


def check_numbers(table: pd.DataFrame, trained: pd.DataFrame, path: Path) -> None:
    """Raise UserError where a column that is trained on as numbers holds a text in ``table``."""
    for name in trained.columns.intersection(table.columns):
        if pd.api.types.is_numeric_dtype(trained[name]) and not pd.api.types.is_numeric_dtype(table[name]):
            strange = table[name].notna() & pd.to_numeric(table[name], errors="coerce").isna()
            if strange.any():
                row = int(np.flatnonzero(strange)[0])
                found = str(table[name].iloc[row])
                raise UserError(f"{path}: column {name!r} must hold numbers; row {row + 1} has {found!r}")


def split_target(
    frame: pd.DataFrame, name: str, task: Task | None = None, classes: Sequence[ClassLabel] = (), vary: bool = True
) -> tuple[pd.DataFrame, Target, list[str]]:
    """Separate the target's column from the others.

    Args:
        frame: the table.
        name: the target's column.
        task: the task; None to infer it.
        classes: the classes that a classifier already has; none to take those of the table.
        vary: refuse a target that does not vary: nothing could be learnt from it.

    Returns:
        The rows that have a target, without its column; the target; and what the user should be told.

    Raises:
        UserError: no such column, or a column that cannot be such a target.
    """
    column = _required(frame, name)
    notes = []
    if column.isna().any():
        notes.append(f"{int(column.isna().sum())} rows without a {name!r} were left out")
        frame, column = frame[column.notna()], column[column.notna()]
    if vary and not classes and column.nunique() < 2:
        raise UserError(f"target {name!r} must vary; it is {column.iloc[0] if len(column) else 'missing'} in every row")
    if task is None:
        task = infer_task(column)
        notes.append(f"task {task}, told from the values of {name!r} (--task says otherwise)")
    features = frame.drop(columns=name).reset_index(drop=True)
    if task in ("binary", "multiclass"):
        codes, labels = _encode_classes(column, task, classes)
        return features, Target(name, task, codes, labels), notes
    return features, Target(name, task, _numbers(column, task)), notes


def _required(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame:
        raise UserError(f"no column {name!r}; the columns are {', '.join(frame.columns)}")
    return frame[name]


def positive_column(table: pd.DataFrame, name: str) -> FloatArray:
    """(N,) a column of weights or exposures.

    Raises:
        UserError: no such column, or one that is not positive in every row.
    """
    column = _required(table, name)
    values = column.to_numpy(np.float64) if pd.api.types.is_numeric_dtype(column) else np.zeros(1)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise UserError(f"column {name!r} must hold a positive number in every row")
    return np.asarray(values)


def infer_task(column: pd.Series) -> Task:
    """The task that the values of a target speak for.

    Text and booleans are classes, so are exactly two different values, and so are the codes 0, 1, ... up to
    at most 9 without a gap; other numbers are numbers.
    """
    distinct = column.nunique()
    if distinct == 2:
        return "binary"
    if not pd.api.types.is_numeric_dtype(column):
        return "multiclass"
    codes = pd.api.types.is_integer_dtype(column) and distinct <= 10
    return "multiclass" if codes and set(column.unique()) == set(range(distinct)) else "regression"


def _encode_classes(
    column: pd.Series, task: Task, classes: Sequence[ClassLabel]
) -> tuple[FloatArray, tuple[ClassLabel, ...]]:
    if not classes:
        classes = sorted(column.unique().tolist())
        strange = [label for label in classes if not isinstance(label, str | int | float)]
        if strange:
            shown = str(strange[0])
            raise UserError(f"classes must be texts, numbers or booleans; target {column.name!r} has {shown!r}")
        if task == "binary" and len(classes) != 2:
            raise UserError(f"a binary target must have 2 classes; {column.name!r} has {len(classes)}")
        if len(classes) > max(50, len(column) // 10):
            raise UserError(
                f"target {column.name!r} has {len(classes)} classes in {len(column)} rows: too many to learn"
            )
    codes = column.map({label: code for code, label in enumerate(classes)})
    if codes.isna().any():
        stranger = column[codes.isna()].iloc[0]
        raise UserError(f"class {stranger!r} in {column.name!r} is none of the model's: {list(classes)}")
    return np.asarray(codes, np.float64), tuple(classes)


def _numbers(column: pd.Series, task: Task) -> FloatArray:
    if not pd.api.types.is_numeric_dtype(column):
        example = column[pd.to_numeric(column, errors="coerce").isna()]
        shown = example.iloc[0] if len(example) else column.iloc[0]
        raise UserError(f"a {task} target must be a number; {column.name!r} has {str(shown)!r}")
    values: NDArray[np.float64] = column.to_numpy(np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"a {task} target must be finite; {column.name!r} has an infinity")
    if task == "poisson" and (values < 0).any():
        raise UserError(f"a poisson target must be at least 0; {column.name!r} has {values.min():g}")
    return values
