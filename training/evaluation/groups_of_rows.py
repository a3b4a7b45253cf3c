"""Compare groups of rows, by the values of a named column: rates, calibration and errors of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eigenserve.model.spectral import SpectralModel
from eigenserve.training.evaluation.evaluate import Evaluation
from eigenserve.training.evaluation.metrics import JUDGED_LEVEL
from eigenserve.training.evaluation.read_cells import Cells, reader_of

#: Groups shown, the largest; the rest is put together.
MOST_GROUPS = 20
#: A column of more distinct numbers or dates is cut into so many parts of as many rows. A value that holds as large a
#: share of the rows is a part by itself.
PARTS = 5


@dataclass(frozen=True)
class RowGroup:
    """Hold the figures of one group.

    Attributes:
        name: the column's value, or range.
        rows: how many.
        observed: mean of the target; of two classes the share of the second; of several the share that the predicted
            class should have been, 1.
        predicted: mean prediction; of two classes the mean probability of the second; of several the mean probability
            of the predicted class.
        error: root mean squared error; for classes the share that is wrong.
        flagged: share of the rows predicted to be of the second class; NaN but for two classes.
        false_alarms, missed: of the first class's rows the share that is flagged, of the second's that is not.
        coverage: share of the targets in their 90% intervals; NaN where the model keeps none.
    """

    name: str
    rows: int
    observed: float
    predicted: float
    error: float
    flagged: float
    false_alarms: float
    missed: float
    coverage: float = float("nan")


def compare_groups(model: SpectralModel, evaluation: Evaluation, column: pd.Series) -> list[RowGroup]:
    """Compare groups of evaluated rows (N,) by a column (N,) of the same rows, the largest group first.

    Numbers and dates of many values are put together in ranges.

    Raises:
        UserError: a column that cannot be read.
    """
    names = _names(reader_of(model, column.to_frame()).read(column))
    order = names.value_counts(sort=True)
    kept = list(order.index[:MOST_GROUPS])
    names = names.where(names.isin(kept), f"{len(order) - len(kept)} others")
    return [
        _figures(model, evaluation, name, (names == name).to_numpy())
        for name in [*kept, *({f"{len(order) - len(kept)} others"} if len(order) > len(kept) else ())]
    ]


def _names(cells: Cells) -> pd.Series:
    """Return what the group of each cell is called, (N,)."""
    numbers = cells.numbers.reset_index(drop=True)
    alone = numbers.dropna().unique().tolist()
    ranges = pd.Series("missing", numbers.index, object)
    if cells.feature.num_codes == 0 and len(alone) > MOST_GROUPS:
        alone = _frequent(numbers)
        rest = numbers[numbers.notna() & ~numbers.isin(alone)]
        for _, part in rest.groupby(pd.qcut(rest, max(2, PARTS - len(alone)), duplicates="drop"), observed=True):
            low, high = part.min(), part.max()
            within = [cells.text(value) for value in sorted(alone) if low < value < high]
            ranges[part.index] = f"{cells.text(low)} to {cells.text(high)}" + "".join(f" but {text}" for text in within)
    texts = numbers.map({value: cells.text(value) for value in alone}).astype(object)
    return texts.where(numbers.isin(alone), ranges)


def _frequent(numbers: pd.Series) -> list[float]:
    """Return values (at most ``PARTS``) that hold a part's share of the rows, or of what is left of them by others."""
    shares = numbers.value_counts()
    found: list[float] = []
    while len(found) < PARTS and shares.iloc[0] >= shares.sum() / PARTS:
        found.append(float(shares.index[0]))
        shares = shares.iloc[1:]
    return found


def _figures(model: SpectralModel, evaluation: Evaluation, name: str, part: np.ndarray) -> RowGroup:
    weight, values = evaluation.weight[part], evaluation.target.values[part]
    flagged = alarms = missed = float("nan")
    if not model.classes:
        predicted = model.values(evaluation.scores[part])
        error = float(np.sqrt(np.average((values - predicted) ** 2, weights=weight)))
        observed = float(np.average(values, weights=weight))
        mean = float(np.average(predicted, weights=weight))
        held = float("nan")
        if JUDGED_LEVEL in model.interval_levels:
            low, high = model.intervals(evaluation.scores[part], JUDGED_LEVEL).T
            held = float(np.average((low <= values) & (values <= high), weights=weight))
        return RowGroup(name, int(part.sum()), observed, mean, error, flagged, alarms, missed, held)
    shares = model.probabilities(evaluation.scores[part])
    best = shares.argmax(axis=1)
    error = float(np.average(best != values, weights=weight))
    if len(model.classes) > 2:
        mean = float(np.average(shares.max(axis=1), weights=weight))
        return RowGroup(name, int(part.sum()), 1.0 - error, mean, error, flagged, alarms, missed)
    hit = values == 1
    flagged = float(np.average(best == 1, weights=weight))
    if weight[~hit].sum() > 0.0:
        alarms = float(np.average(best[~hit] == 1, weights=weight[~hit]))
    if weight[hit].sum() > 0.0:
        missed = float(np.average(best[hit] == 0, weights=weight[hit]))
    observed, mean = (float(np.average(each, weights=weight)) for each in (hit, shares[:, 1]))
    return RowGroup(name, int(part.sum()), observed, mean, error, flagged, alarms, missed)
