"""Count the categories of all rows of a table, and add up their targets.

What a category is worth is an average (``training.data.categories.grouping``), which needs no more of a row than its
category and its target: so rows that are not trained on say it, too, and are read once without being held.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import NO_CODES, encode_cell
from eigenserve.model.rows.features import Feature
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.categories.tally import MOST_CATEGORIES, Tally
from eigenserve.training.data.sampling import WholeTable


@dataclass(frozen=True)
class Census:
    """Hold what all rows of a table say of the categories of some features.

    Attributes:
        rows: that have a target.
        counts: by feature, (L + 1,): rows of each category; the last, of unknown ones, is zero.
        sums: by feature, (L + 1, O): the sums of their targets.
        squares: by feature, (O,): the sums of their targets' squares.
        least: by feature that has more categories than are known: the rows of the rarest one that is.
        center: what was taken off the targets before they were added up.
    """

    rows: int
    counts: Mapping[str, FloatArray]
    sums: Mapping[str, FloatArray]
    squares: Mapping[str, FloatArray]
    least: Mapping[str, float] = field(default_factory=dict)
    center: float = 0.0

    def standardised(self, shift: float, scale: float) -> Census:
        """Return the census of targets less ``shift``, over ``scale``."""
        sums, squares, shift = {}, {}, shift - self.center
        for name, of in self.sums.items():
            counts, total = self.counts[name], of.sum(axis=0)
            sums[name] = (of - shift * counts[:, None]) / scale
            squares[name] = (self.squares[name] - 2.0 * shift * total + shift**2 * counts.sum()) / scale**2
        return replace(self, sums=sums, squares=squares, center=0.0)


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


Batches = Iterable[tuple[pd.DataFrame, FloatArray]]


def take_census(features: Sequence[Feature], batches: Batches, classes: NDArray[np.int64] | None = None) -> Census:
    """Count the categories that features have, and add up targets.

    Args:
        features: categorical ones.
        batches: their raw columns and the targets (N,), NaN where there is none.
        classes: (O,), whose indicators are added up; None for the targets themselves.
    """
    outputs = 1 if classes is None else len(classes)
    tallies = {feature.name: Tally(feature, outputs) for feature in features}
    return _as_census(_count(tallies, batches, classes), tallies)


def take_vocabulary(
    features: Sequence[Feature],
    batches: Callable[[], Batches],
    classes: NDArray[np.int64] | None = None,
    apart: Collection[str] = (),
    orders: Mapping[str, Sequence[str]] | None = None,
    most: int = MOST_CATEGORIES,
) -> tuple[tuple[Feature, ...], Census]:
    """Give features all categories that rows with a target have, and count them as ``take_census`` does.

    Whether a category is known must not depend on the rows at hand: those that are judged would always help theirs to
    be, as no fresh row does. Where there are more than ``most``, those of most rows are known.

    Args:
        features: as they were inferred from the rows at hand.
        batches: returns what ``take_census`` is given, as often as is wanted.
        classes: (O,), whose indicators are added up; None for the targets themselves.
        apart: names of features whose spellings in other capital letters are other categories.
        orders: by ordered feature: its categories in this order.
        most: categories of a feature.
    """
    outputs = 1 if classes is None else len(classes)
    tallies = {f.name: Tally(f, outputs, grows=True, apart=f.name in apart, most=most) for f in features}
    rows, named, bounded = _count(tallies, batches(), classes), [], []
    for feature in features:
        tally = tallies[feature.name]
        order = {name: i for i, name in enumerate((orders or {}).get(feature.name, ()))}
        kept = [code for code in tally.most_frequent(most) if tally.counts[code]]
        if tally.pruned or len(tally.names) > most:
            bounded.append(feature.name)
        names = [(order.get(tally.names[code], len(order)), tally.names[code], code) for code in kept]
        tally.keep([code for *_, code in sorted(names)])
        named.append(replace(feature, categories=tuple(tally.names)))
    if not bounded:
        return tuple(named), _as_census(rows, tallies)
    # What was forgotten on the way lacks rows: those that are known are counted once more.
    census = take_census(named, batches(), classes)
    return tuple(named), replace(census, least={name: float(census.counts[name][:-1].min()) for name in bounded})


def _count(tallies: Mapping[str, Tally], batches: Batches, classes: NDArray[np.int64] | None) -> int:
    """Count the rows that have a target, and each of their categories."""
    rows = 0
    for frame, target in batches:
        present = ~np.isnan(target)
        values = target[present]
        rows += len(values)
        numbers = values[None] if classes is None else (values == classes[:, None]).astype(np.float64)
        for name, tally in tallies.items():
            tally.add(frame[name][present], numbers)
    return rows


def _as_census(rows: int, tallies: Mapping[str, Tally]) -> Census:
    return Census(
        rows,
        {name: np.append(tally.counts, 0.0) for name, tally in tallies.items()},
        {name: np.append(tally.sums, np.zeros((1, tally.sums.shape[1])), axis=0) for name, tally in tallies.items()},
        {name: tally.squares for name, tally in tallies.items()},
    )
