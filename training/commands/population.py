"""Population: the rows of a table that a condition names, as the reference of explanations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from eigenserve.errors import UserError
from eigenserve.model.rows.cells import CategoryCodes, Kind, category_key, encode_cell, is_missing, iso_time
from eigenserve.model.rows.feature import Feature
from eigenserve.model.rows.readings import Reading
from eigenserve.training.data.columns import decimal_hint, read_column
from eigenserve.training.data.reading_options import ReadingOptions
from eigenserve.training.data.schema import infer_features

#: Values that a message lists.
MOST_LISTED = 8
#: A comma behind which another COLUMN= begins.
_PART = re.compile(r",(?=[^,=]*=)")


def rows_where(
    frame: pd.DataFrame,
    condition: str,
    options: ReadingOptions,
    readings: Mapping[str, Reading],
    features: Mapping[str, Feature] | None = None,
) -> pd.DataFrame:
    """Return the rows of a table that meet a condition.

    Args:
        frame: the table.
        condition: COLUMN=VALUE, or several of them with commas between; a value is read as the column's cells are,
            and may hold a comma.
        options: what is given about its columns.
        readings: how columns of the table are read, of which the others take the decimal mark.
        features: by name, those of a model, which say how their columns are read.

    Raises:
        UserError: not a condition, an unknown column, or no row that meets it.
    """
    chosen = pd.Series(True, index=frame.index)
    for part in _PART.split(condition):
        column, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"a reference must be COLUMN=VALUE; got {part!r}")
        if column not in frame:
            raise UserError(f"no column {column!r}; the columns are {', '.join(map(str, frame))}")
        feature, cells = _read(frame[column], options, readings, (features or {}).get(column))
        numbers, codes = _encoded(cells, feature)
        met = numbers == encode_cell(feature.kind, codes, feature.reading, value)[0]
        if not met.any():
            raise UserError(f"no row has {part!r}; {column!r} has {_listed(numbers, codes, feature.kind)}")
        chosen &= met
    if not chosen.any():
        raise UserError(f"no row has {condition!r}, though some have each of these values")
    return frame[chosen]


def _read(
    column: pd.Series, options: ReadingOptions, readings: Mapping[str, Reading], feature: Feature | None
) -> tuple[Feature, pd.Series]:
    """Return how a column's cells are read, and the cells, of categories with one spelling for each."""
    if feature is not None and feature.kind != "categorical":
        return feature, column
    if feature is not None:
        options = replace(options, types={**options.types, feature.name: "category"})
    read = read_column(column, options, decimal_hint(readings.values()))
    found = infer_features(read.values.to_frame(), readings={str(column.name): read.reading}).features[0]
    return found, read.values


def _encoded(cells: pd.Series, feature: Feature) -> tuple[pd.Series, CategoryCodes]:
    """Return cells (N,) as numbers, NaN where they are missing or unreadable, and the codes of all categories."""
    texts = sorted({category_key(cell) for cell in cells.unique() if not is_missing(cell)})
    codes = CategoryCodes(texts if feature.kind == "categorical" else (), feature.reading)
    numbers = [encode_cell(feature.kind, codes, feature.reading, cell)[0] for cell in cells]
    return pd.Series(numbers, cells.index, "float64"), codes


def _listed(numbers: pd.Series, codes: CategoryCodes, kind: Kind) -> str:
    """List the most frequent values of a column."""
    names = {code: text for text, code in codes.items()}
    write: dict[Kind, Callable[[float], str]] = {
        "categorical": lambda code: names[code],
        "boolean": lambda value: category_key(bool(value)),
        "datetime": iso_time,
        "numeric": lambda value: f"{value:.15g}",
    }
    values = list(numbers.value_counts().index)
    more = f" and {len(values) - MOST_LISTED:,} more" if len(values) > MOST_LISTED else ""
    return f"{', '.join(map(write[kind], values[:MOST_LISTED]))}{more}" if values else "no value"
