"""Keep all rows of a rare class: of a long table, they and fewer of the others say more than a uniform sample.

What a model learns of a class of one row in 200 is limited by the rows of that class. A sample that has all of them,
and of the others some times as many, each counting for those that it stands for, is as good as one of nearly all rows
(King and Zeng, Logistic regression in rare events data, 2001), and shorter than a uniform one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from eigenserve.model.arrays import FloatArray
from eigenserve.training.data.categories.census import Beyond
from eigenserve.training.data.sampling import TableSample
from eigenserve.training.data.target import Target
from eigenserve.training.search.preparation.counted import MOST_SHARE
from eigenserve.training.settings import FitSettings

#: Share of rows up to which the rarer of two classes is rare.
RARE_SHARE = 0.05
#: Rows of the other class for each of the rare one, and rows in all at least.
OTHERS, LEAST_ROWS = 9, 200_000
#: Rows of the rare class that there must be for each of them in the uniform sample.
LEAST_FACTOR = 2.0
#: Microseconds to read a cell (measured, Parquet).
CELL_US = 0.05


class Drawn(NamedTuple):
    """Hold rows that were drawn by their class.

    Attributes:
        frame: (N, columns), raw; its index says which rows of the table these are, from 0.
        stands_for: (N,), how many rows of the table each stands for.
        note: what the user should know.
    """

    frame: pd.DataFrame
    stands_for: FloatArray
    note: str


def draw_by_class(
    sample: TableSample, goal: Target, beyond: Beyond | None, settings: FitSettings, least_rows: int = LEAST_ROWS
) -> Drawn | str:
    """Draw the rows of a rare class and some of the others; or say why not, "" where the uniform sample will do.

    Args:
        sample: uniform.
        goal: its target.
        beyond: the table that it is a sample of, if it is.
        settings: of the fit.
        least_rows: to draw at least.

    Raises:
        UserError: a file that cannot be read.
    """
    if beyond is None or goal.task != "binary":
        return ""
    shares = np.bincount(goal.values.astype(int), minlength=2) / len(goal.values)
    rare = int(shares.argmin())
    most = len(sample.frame) // (1 + OTHERS)
    expected = shares[rare] * sample.total
    if shares[rare] > RARE_SHARE or min(expected, most) < LEAST_FACTOR * shares[rare] * len(sample.frame):
        return ""
    if settings.teacher is not None:
        return f"a uniform sample has few rows of the rare class {goal.classes[rare]!r}; a teacher knows no others"
    seconds = 1e-6 * CELL_US * sample.total * len(sample.frame.columns)
    if seconds > MOST_SHARE * settings.budget:
        return (
            f"the sample has few rows of the rare class {goal.classes[rare]!r}: to read them all would take about "
            f"{seconds:.0f} s of the budget; raise --budget"
        )
    rng = np.random.default_rng(np.random.SeedSequence([settings.seed, len(sample.frame), rare]))
    kept_share = min(1.0, most / expected)
    rows = np.zeros(2)

    def wanted(cells: pd.Series) -> np.ndarray:
        codes = beyond.reader.read(cells)
        for code in range(2):
            rows[code] += np.count_nonzero(codes == code)
        return np.asarray((codes == rare) & (rng.random(len(codes)) < kept_share))

    found = beyond.whole.chosen(goal.name, wanted)[list(sample.frame.columns)]
    others = np.flatnonzero(beyond.reader.read(sample.frame[goal.name]) == 1 - rare)
    # The uniform sample has as many rows as may be trained on.
    count = min(len(others), len(sample.frame) - len(found), max(OTHERS * len(found), least_rows - len(found)))
    part = np.sort(rng.choice(others, count, replace=False))
    stands_for = np.repeat([rows[1 - rare] / count, rows[rare] / max(1, len(found))], [count, len(found)])
    without = sample.total - int(rows.sum())
    left_out = f"; {without:,} rows without a {goal.name!r} that is one of the two were left out" if without else ""
    return Drawn(
        pd.concat([sample.frame.iloc[part], found]),
        stands_for,
        f"{len(found):,} of the {rows[rare]:,.0f} rows of the rare class {goal.classes[rare]!r} and {count:,} of the "
        f"{rows[1 - rare]:,.0f} others were used, each counting for those that it stands for{left_out}",
    )


def as_if_uniform(stands_for: FloatArray | None, count: int, seed: int) -> np.ndarray:
    """Choose rows that are like a uniform sample, (N,) bool: each with a chance in proportion to what it stands for."""
    if stands_for is None:
        return np.ones(count, bool)
    rng = np.random.default_rng(np.random.SeedSequence([seed, count]))
    return np.asarray(rng.random(count) * stands_for.max() < stands_for)
