"""Turn what scikit-learn passes around (arrays, DataFrames, label vectors) into the table and target of a fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_y, column_or_1d, validate_data

from eigenserve.model.arrays import FloatArray
from eigenserve.training.data.column_values import hours_column
from eigenserve.training.data.oddities.copies import repeats_of
from eigenserve.training.data.table import exact_integers
from eigenserve.training.data.target import Target


def array_names(count: int) -> tuple[str, ...]:
    """Name the columns of an array."""
    return tuple(f"x{i}" for i in range(count))


def read_features(estimator: BaseEstimator, X: Any, *, reset: bool) -> pd.DataFrame:
    """Read X as a table, checked as scikit-learn does.

    Args:
        estimator: gets ``n_features_in_`` and ``feature_names_in_`` if ``reset``, else X must agree with them.
        X: an (N, F) array of numbers (texts that are numbers are read as such), or a DataFrame of any columns.
        reset: whether this is a fit.

    Raises:
        ValueError: no table, no rows or columns, an infinity, complex or other names or columns than fitted on.
        TypeError: a sparse matrix, or cells that are not numbers in an array.
    """
    X = _as_pandas(X)
    if not isinstance(X, pd.DataFrame):
        array = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return pd.DataFrame(array, columns=_names(estimator, array))
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if min(X.shape) == 0:
        raise ValueError(f"found an empty table: {X.shape[0]} rows and {X.shape[1]} columns, at least 1 is required")
    table = X.set_axis(_names(estimator, X), axis=1).reset_index(drop=True)
    numbers = [table[name] for name in table if pd.api.types.is_float_dtype(table[name].dtype)]
    if any(np.isinf(column.to_numpy(np.float64, na_value=np.nan)).any() for column in numbers):
        raise ValueError("X contains an infinity: numbers must be finite, or NaN for missing")
    return table


def _as_pandas(X: Any) -> Any:
    """Tables of other libraries (Polars, pyarrow, ...) as pandas'; what is not one as it is."""
    if isinstance(X, pd.DataFrame | np.ndarray | list | tuple):
        return X
    import narwhals

    table = narwhals.from_native(X, pass_through=True)
    if isinstance(table, narwhals.LazyFrame):
        table = table.collect()
    if not isinstance(table, narwhals.DataFrame):
        return X
    # pandas has none so wide: they become Python's.
    wide = [name for name, kind in table.schema.items() if kind in (narwhals.Int128, narwhals.UInt128)]
    exact_values = {name: pd.Series(table[name].to_list(), dtype=object) for name in wide}
    frame = table.with_columns(narwhals.col(*wide).cast(narwhals.Float64)).to_pandas() if wide else table.to_pandas()
    for name, values in exact_values.items():
        frame[name] = values
    for i, (name, kind) in enumerate(table.schema.items()):
        if kind in (narwhals.Int64, narwhals.UInt64) and table[name].null_count():
            exact = exact_integers(table.select(name).to_arrow().column(0))
            if exact is not None:
                frame.isetitem(i, exact.array)
    return frame


def _names(estimator: BaseEstimator, X: Any) -> list[str]:
    """Return the names fitted on; columns without any, or named by anything but texts, go by their position."""
    return list(getattr(estimator, "feature_names_in_", array_names(X.shape[1])))


def read_target(y: Any, rows: int, *, numeric: bool = True) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read y as (N,) float64, durations as hours; or labels as they are; and what the user should know.

    Raises:
        ValueError: none given, more than one dimension, another length than X, NaN or an infinity; dates, or labels
            that are durations.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    values, notes = _without_times(column_or_1d(y, warn=True), numeric)
    values = _check_y(values, y_numeric=numeric)
    if numeric:
        values = values.astype(np.float64)
    if len(values) != rows:
        raise ValueError(f"X and y must have as many rows; got {rows} and {len(values)}")
    return np.asarray(values), notes


def _without_times(values: NDArray[Any], numeric: bool) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Make hours of durations and times of day, whose units are arbitrary; refuse dates, and such labels."""
    if values.dtype.kind not in "mMO":
        return values, ()
    cells = pd.Series(values)
    present = cells.dropna()
    kinds, what = set(map(type, present)), "numbers" if numeric else "classes"
    if any(issubclass(kind, date | np.datetime64 | pd.Period) for kind in kinds):
        remedy = "make a number of them, such as days" if numeric else "make texts of them"
        raise ValueError(f"y must hold {what}; it has dates such as {present.iloc[0]}: {remedy}")
    are_times = all(issubclass(kind, time | timedelta | np.timedelta64) for kind in kinds)
    if not are_times or (values.dtype.kind == "O" and not kinds):
        return values, ()
    if not numeric:
        raise ValueError(f"y must hold {what}; it has durations such as {present.iloc[0]}: make texts of them")
    read = hours_column(cells.rename("y"))
    return read.values.to_numpy(), read.notes


def merge_equal_rows(
    table: pd.DataFrame, target: Target, weight: FloatArray
) -> tuple[pd.DataFrame, Target, FloatArray]:
    """Merge copies of rows, and sum their weights; none of weight zero is kept.

    So a fit is the same whatever the order of rows, and whether a row is weighted or repeated; and a row is
    never judged by a model that has seen its copy. Rows that repeat by chance (see ``repeats_of``) are kept, in an
    order of their own.
    """
    counted = np.flatnonzero(weight > 0)
    repeats = repeats_of(table.iloc[counted], target.values[counted])
    if repeats.copies:
        _, first, group = np.unique(repeats.rows, return_index=True, return_inverse=True)
        kept, sums = counted[first], np.bincount(group, weight[counted]).astype(np.float64)
        groups = np.unique(repeats.groups[first], return_inverse=True)[1].astype(np.int64)
    else:
        kept = counted[np.lexsort((weight[counted], repeats.rows))]
        sums, groups = weight[kept], None
    found = replace(target, values=target.values[kept], groups=groups)
    return table.iloc[kept].reset_index(drop=True), found, sums
