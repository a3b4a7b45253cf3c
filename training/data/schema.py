"""Infer the features of a model from a table's columns: their kinds and encodings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from eigenserve.model.rows.cells import SECONDS_PER_DAY, category_key
from eigenserve.model.rows.date_cycles import CycleName, cycle_values
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.categories.grouping import MANY_CATEGORIES
from eigenserve.training.data.columns import read_columns

#: A positive feature more skewed than this is taken by its logarithm. Incomes, prices, areas and counts lie
#: above, near-symmetric measurements below; the exponential distribution has skewness 2.
LOG_SKEWNESS = 2.0
#: With fewer distinct values a knot stands on each, and a logarithm would change nothing.
MAX_LEVELS = 24
#: Beyond, a double does not hold every whole number.
MAX_WHOLE = 2.0**53
#: Numbers that take at most so many values, each this often on average, can only be one of them.
MOST_VALUES, ROWS_PER_VALUE = 24, 20
#: Decimals that a step is looked for among.
MOST_DECIMALS = 4
#: Categories seen less often than this, and less often than in one of 2,000 rows, count as unknown; the second only
#: where such categories, together, have no more than a fiftieth of the rows.
MIN_CATEGORY_ROWS = 2
RARE_SHARE = 0.0005
MOST_RARE = 0.02
#: Dates that span less say nothing of what comes back every week, or year.
LEAST_DAYS: dict[CycleName, float] = {"hour": 0.0, "weekday": 14.0, "day of year": 400.0}


def infer_features(
    frame: pd.DataFrame,
    plain: Collection[str] = (),
    shaped: Collection[str] = (),
    readings: Mapping[str, Reading] | None = None,
) -> FeatureSpace:
    """Infer the features of a table, with encodings fitted to its rows, and the cycles of its dates.

    Those in ``plain`` are never taken by logarithm. What is promised of the course along those in ``shaped`` would not
    hold along a date's cycles, so these get none. ``readings`` are those of a table that ``read_columns`` has read;
    without them it is read here.
    """
    if readings is None:
        read = read_columns(frame)
        frame, readings = read.frame, read.readings
    features = [
        replace(_infer(str(name), frame[name], str(name) not in plain), reading=readings.get(str(name), PLAIN))
        for name in frame.columns
    ]
    dates = [(feature, frame[name]) for feature, name in zip(features, frame.columns, strict=True)]
    cycles = [
        c
        for feature, column in dates
        if feature.kind == "datetime" and feature.name not in shaped
        for c in _cycles(feature, column)
    ]
    taken = {feature.name for feature in features}
    for i, cycle in enumerate(cycles):
        while cycle.name in taken:
            cycle = replace(cycle, name=f"{cycle.name}*")
        cycles[i] = cycle
        taken.add(cycle.name)
    return FeatureSpace((*features, *cycles))


def _infer(name: str, column: pd.Series, may_log: bool) -> Feature:
    present = column.dropna()
    missing = bool(column.isna().any()) and len(present) > 0
    if _is_boolean(present):
        typical = bool(present.astype(bool).mean() > 0.5)
        return Feature(name=name, kind="boolean", typical=typical, missing=missing)
    if pd.api.types.is_numeric_dtype(column):
        return _numeric(name, present.to_numpy(np.float64), missing, may_log)
    if pd.api.types.is_datetime64_any_dtype(column):
        days = _days(present)
        return replace(_numeric(name, days, missing, may_log=False), kind="datetime", step=0.0, values=())
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        feature = _categorical(name, present.astype(object), missing)
        order = [str(category) for category in column.dtype.categories if category in feature.categories]
        return replace(feature, categories=tuple(order), ordered=True)
    return _categorical(name, present, missing)


def _cycles(when: Feature, column: pd.Series) -> Iterator[Feature]:
    """Yield a date's cycles along which its rows vary, as separate features."""
    days = _days(column.dropna())
    for cycle, least in LEAST_DAYS.items():
        values = cycle_values(cycle, days)
        if when.high - when.low >= least and len(np.unique(values)) > 1:
            feature = _numeric(f"{when.name} ({cycle})", values, when.missing, may_log=False)
            yield replace(feature, source=when.name, cycle=cycle, step=0.0, values=())


def _is_boolean(present: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(present):
        return True
    return len(present) > 0 and present.dtype == object and set(map(type, present)) <= {bool, np.bool_}


def _days(present: pd.Series) -> np.ndarray:
    """Return days since 1970 of times, as ``days_since_epoch`` gives them; those without a zone count as UTC."""
    moments = pd.to_datetime(present, utc=True).dt.as_unit("us").astype(np.int64).to_numpy()
    return np.asarray(moments / 1e6 / SECONDS_PER_DAY)


def _numeric(name: str, values: np.ndarray, missing: bool, may_log: bool) -> Feature:
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Feature(name=name, kind="numeric", typical=0.0)
    low, high, step = float(values.min()), float(values.max()), _step(values)
    typical, allowed = float(np.median(values)), _allowed(values, step)
    log = may_log and low > 0 and len(np.unique(values)) > MAX_LEVELS and skewness(values) > LOG_SKEWNESS
    if log:
        values = np.log(values)
    scale = float(values.std())
    return Feature(
        name=name,
        kind="numeric",
        typical=typical,
        transform="log" if log else "identity",
        center=float(values.mean()),
        scale=scale if scale > 0 else 1.0,
        low=low,
        high=high,
        missing=missing,
        step=step,
        values=allowed,
    )


def _step(values: np.ndarray) -> float:
    """Return the largest number of at most ``MOST_DECIMALS`` decimals of which all values are multiples; 0 for none."""
    for decimals in range(MOST_DECIMALS + 1):
        if (values == np.round(values, decimals)).all() and np.abs(values).max() * 10.0**decimals <= MAX_WHOLE:
            common = int(np.gcd.reduce(np.rint(values * 10.0**decimals).astype(np.int64)))
            return float(np.round((common or 1) / 10.0**decimals, decimals))
    return 0.0


def _allowed(values: np.ndarray, step: float) -> tuple[float, ...]:
    """Return all values where they are few, often seen, and not every multiple of the step between their ends."""
    levels = np.unique(values)
    if len(levels) > MOST_VALUES or len(values) < ROWS_PER_VALUE * len(levels):
        return ()
    whole = step > 0 and len(levels) == round((levels[-1] - levels[0]) / step) + 1
    return () if whole else tuple(levels.tolist())


def skewness(values: np.ndarray) -> float:
    """Return the third standardised moment; 0 for values that never vary."""
    deviations = values - values.mean()
    # Of size one, so that no power overflows or vanishes.
    deviations /= np.abs(deviations).max() or 1.0
    variance = float((deviations**2).mean())
    return float((deviations**3).mean()) / variance**1.5 if variance > 0 else 0.0


def _categorical(name: str, present: pd.Series, missing: bool) -> Feature:
    # Texts are keys already.
    counts = present.map(lambda value: value if isinstance(value, str) else category_key(value)).value_counts()
    kept = counts[counts >= MIN_CATEGORY_ROWS]
    often = kept[kept >= RARE_SHARE * len(present)]
    if len(kept) <= MANY_CATEGORIES or (
        len(often) <= MANY_CATEGORIES and kept.sum() - often.sum() <= MOST_RARE * len(present)
    ):
        # More will be grouped (``training.data.categories.grouping``), where rare ones find their place.
        kept = often
    typical, categories = (str(counts.index[0]) if len(counts) else None), tuple(sorted(kept.index))
    return Feature(name=name, kind="categorical", typical=typical, categories=categories, missing=missing)
