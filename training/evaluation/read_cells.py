"""Read the cells of one column as a fit, or a finished model, reads them: as numbers, of which the texts are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from eigenserve.model.rows.cells import CategoryCodes, category_key, encode_cell, is_missing, iso_time
from eigenserve.model.rows.feature import Feature
from eigenserve.model.rows.readings import Reading
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.columns import decimal_hint, read_column
from eigenserve.training.data.reading_options import ReadingOptions, reading_options
from eigenserve.training.data.schema import infer_features


@dataclass(frozen=True)
class Cells:
    """Hold the N cells of a column.

    Attributes:
        feature: how they are read.
        codes: of the column's categories; empty for other kinds.
        numbers: (N,), as ``encode_cell`` gives them: NaN where a cell is missing or cannot be read.
    """

    feature: Feature
    codes: CategoryCodes
    numbers: pd.Series

    def number(self, value: str) -> float:
        """Return the number of a value that is written as one of the cells may be; NaN for what cannot be read."""
        return encode_cell(self.feature.kind, self.codes, self.feature.reading, value)[0]

    def text(self, number: float) -> str:
        """Write a number as the value that it stands for; a moment without the zone, and a midnight as its day."""
        if self.feature.kind == "categorical":
            return self._texts[number]
        if self.feature.kind == "boolean":
            return category_key(number == 1.0)
        if self.feature.kind == "datetime":
            return iso_time(number).removesuffix("+00:00").removesuffix("T00:00:00")
        return f"{number:.15g}"

    @cached_property
    def _texts(self) -> dict[float, str]:
        return {code: text for text, code in self.codes.items()}


@dataclass(frozen=True)
class CellReader:
    """Read columns of one table.

    Attributes:
        options: what is given about its columns.
        readings: how columns are read, of which others take the decimal mark.
        features: by name, those of a model, which say how their columns are read.
    """

    options: ReadingOptions
    readings: Mapping[str, Reading]
    features: Mapping[str, Feature] = field(default_factory=dict)

    def read(self, column: pd.Series) -> Cells:
        """Read the cells (N,) of a column; of categories, spellings that training takes for one are one.

        Raises:
            UserError: as ``read_column``.
        """
        feature, options = self.features.get(str(column.name)), self.options
        if feature is None or feature.kind == "categorical":
            if feature is not None:
                options = replace(options, labels=frozenset({feature.name}))
            read = read_column(column, options, decimal_hint(self.readings.values()))
            known = {str(column.name): read.reading}
            column = read.values.rename(str(column.name))
            feature = infer_features(column.to_frame(), readings=known).features[0]
        present = (cell for cell in column.unique() if not is_missing(cell))
        texts = sorted({cell if isinstance(cell, str) else category_key(cell) for cell in present})
        codes = CategoryCodes(texts if feature.kind == "categorical" else (), feature.reading)
        numbers = [encode_cell(feature.kind, codes, feature.reading, cell)[0] for cell in column]
        return Cells(feature, codes, pd.Series(numbers, column.index, "float64"))


def reader_of(model: SpectralModel, frame: pd.DataFrame) -> CellReader:
    """Return what reads columns of a table as a model's rows, and its target, are read."""
    settings = model.card.get("training", {}).get("settings", {})
    features = {feature.name: feature for feature in model.features.features if not feature.source}
    readings = {name: feature.reading for name, feature in features.items()}
    return CellReader(reading_options(settings, frame.columns), readings, features)
