"""Count the categories of all rows of a table, and add up their targets.

What a category is worth is an average (``training.data.categories.grouping``), which needs no more of a row than its
category and its target: so rows that are not trained on say it, too, and are read once without being held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import NO_CODES, encode_cell
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.sampling import WholeTable


@dataclass(frozen=True)
class Census:
    """Hold what all rows of a table say of the categories of some features.

    Attributes:
        rows: that have a target.
        counts: by feature, (L + 1,): rows of each category; the last, of unknown ones, is zero.
        sums: by feature, (L + 1, O): the sums of their targets.
    """

    rows: int
    counts: Mapping[str, FloatArray]
    sums: Mapping[str, FloatArray]

    def standardised(self, shift: float, scale: float) -> Census:
        """Return the census of targets less ``shift``, over ``scale``."""
        sums = {name: (of - shift * self.counts[name][:, None]) / scale for name, of in self.sums.items()}
        return replace(self, sums=sums)


@dataclass(frozen=True)
class TargetReader:
    """Read targets as those of the rows that are trained on were read.

    Attributes:
        reading: of the texts of numbers.
        codes: raw cell -> class, for all cells of classes that were seen; None where targets are numbers.
    """

    reading: Reading = PLAIN
    codes: Mapping[Any, float] | None = None

    def read(self, column: pd.Series) -> FloatArray:
        """Return the targets of raw cells, (N,): NaN for those missing, infinite, or read by no row trained on."""
        if self.codes is None and pd.api.types.is_float_dtype(column.dtype) and not self.reading.sentinels:
            values = column.to_numpy(np.float64, na_value=np.nan)
        else:
            places, cells = pd.factorize(column)
            known = [self._number(cell) for cell in cells]
            values = np.array([*known, np.nan])[places]
        return np.where(np.isfinite(values), values, np.nan)

    def _number(self, cell: Any) -> float:
        if self.codes is not None:
            return self.codes.get(cell, np.nan)
        return encode_cell("numeric", NO_CODES, self.reading, cell)[0]


@dataclass(frozen=True)
class Beyond:
    """Hold the table of which the rows at hand are a sample.

    Attributes:
        whole: the table.
        reader: of its targets.
        stands_for: (N,), how many of its rows each row at hand stands for; None for a uniform sample.
    """

    whole: WholeTable
    reader: TargetReader
    stands_for: FloatArray | None = None

    def batches(self, target: str, names: Sequence[str]) -> Iterator[tuple[pd.DataFrame, FloatArray]]:
        """Yield these columns of all rows and their targets (N,), a batch at a time."""
        for frame in self.whole.batches([*names, target]):
            yield frame, self.reader.read(frame[target])


def take_census(
    features: Sequence[Feature],
    batches: Iterable[tuple[pd.DataFrame, FloatArray]],
    classes: NDArray[np.int64] | None = None,
) -> Census:
    """Count categories, and add up targets.

    Args:
        features: categorical ones.
        batches: their raw columns and the targets (N,), NaN where there is none.
        classes: (O,), whose indicators are added up; None for the targets themselves.
    """
    lengths = {feature.name: len(feature.categories) + 1 for feature in features}
    names = {feature.name: pd.Index(feature.categories) for feature in features}
    outputs = 1 if classes is None else len(classes)
    counts = {name: np.zeros(length) for name, length in lengths.items()}
    sums = {name: np.zeros((length, outputs)) for name, length in lengths.items()}
    rows = 0
    for frame, target in batches:
        present = ~np.isnan(target)
        values = target[present]
        rows += len(values)
        numbers = values[None] if classes is None else (values == classes[:, None]).astype(np.float64)
        for feature in features:
            name, length = feature.name, lengths[feature.name]
            codes = _codes(feature, names[name], frame[name][present])
            counts[name] += np.bincount(codes, minlength=length)
            for o in range(outputs):
                sums[name][:, o] += np.bincount(codes, numbers[o], length)
    for name in lengths:
        counts[name][-1] = sums[name][-1] = 0.0
    return Census(rows, counts, sums)


def _codes(feature: Feature, names: pd.Index, column: pd.Series) -> NDArray[np.int64]:
    """Return the codes of raw cells as the model reads them, (N,); those missing count as unknown."""
    unknown = len(feature.categories)
    codes = np.asarray(names.get_indexer(pd.Index(column)), np.int64)
    others = np.flatnonzero(codes < 0)
    if len(others):
        # Read like a request's: without blanks, without regard to capital letters, whole numbers as texts.
        places, cells = pd.factorize(column.iloc[others])
        read = FeatureSpace((feature,)).encode({feature.name: list(cells)})[:, 0]
        codes[others] = np.append(np.nan_to_num(read, nan=unknown), unknown)[places]
    return codes
