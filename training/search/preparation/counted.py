"""Decide of which features the categories are counted on all rows of a table, though fewer are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.data.categories.census import Beyond, Census, take_vocabulary
from eigenserve.training.data.categories.grouping import are_many, indicator_classes
from eigenserve.training.data.reading_options import reading_options
from eigenserve.training.data.target import Target
from eigenserve.training.settings import FitSettings

#: Microseconds of one core to read and count a category of a row (measured, Parquet, 50,000 categories), and a new one.
COUNTED_US, NEW_US = 0.6, 12.0
#: Share of the budget that it may take.
MOST_SHARE = 0.15
#: Share of rows that repeat another one beyond which a row's copies would say where it stands.
MOST_REPEATED = 0.01


class Counted(NamedTuple):
    """Hold the features whose categories are counted on all rows, the seconds it takes, and why others are not."""

    features: tuple[Feature, ...] = ()
    seconds: float = 0.0
    note: str = ""

    def said(self, rows: int, total: int, target: str) -> str:
        """Say how many of all rows of a table are counted: those that have a target."""
        counted = f"all {rows:,} rows" if rows == total else f"all {rows:,} rows with a {target!r}, of {total:,},"
        return f"{counted} say what categories of {_names(self.features)} are worth"


def plan_census(
    space: FeatureSpace,
    table: pd.DataFrame,
    goal: Target,
    settings: FitSettings,
    beyond: Beyond | None,
    rows: int,
    slowness: float,
) -> Counted:
    """Decide what is counted.

    Args:
        space: the features.
        table: the columns of the rows at hand, as they are read.
        goal: their target.
        settings: of the fit.
        beyond: the table that these are a sample of, if they are.
        rows: of those at hand, that are trained on.
        slowness: of this machine.
    """
    total = len(goal.values) if beyond is None else beyond.whole.rows
    capped = {name for name, _ in settings.max_strength}
    many = tuple(f for f in space.features if are_many(f, rows) and f.name not in capped)
    if not many or total <= rows:
        return Counted()
    seconds = 0.0
    if beyond is not None:
        new = sum(_new_categories(table[feature.name], total) for feature in many)
        seconds = 1e-6 * slowness * (COUNTED_US * total * len(many) + NEW_US * new)
    if reason := _hindrance(goal, settings, beyond, total, seconds):
        worth = f"what categories of {_names(many)} are worth"
        return Counted(note=f"the {rows:,} rows say {worth}, not all {total:,}: {reason}")
    return Counted(many, seconds)


def _new_categories(column: pd.Series, total: int) -> float:
    """Estimate how many categories so many rows have that a sample of them does not (Chao, 1984)."""
    seen = np.bincount(column.value_counts().to_numpy(), minlength=3)
    # As often as a row at hand has a category alone, another one has a new one (Good and Turing).
    return min(float(seen[1]) * (seen[1] - 1.0) / (2.0 * (seen[2] + 1.0)), total * seen[1] / max(1, len(column)))


def _names(features: tuple[Feature, ...]) -> str:
    return ", ".join(repr(feature.name) for feature in features)


def _hindrance(goal: Target, settings: FitSettings, beyond: Beyond | None, total: int, seconds: float) -> str:
    """Say why the other rows cannot be counted; "" where they can."""
    if settings.groups is not None:
        return "others of a group that --groups keeps together would say where its rows stand"
    if settings.time is not None:
        return "later ones would say where the rows stand that --time judges"
    if beyond is not None and (settings.exposure is not None or settings.offset is not None):
        return "others are read without exposures and offsets; raise --max-rows"
    repeated = 0 if goal.groups is None else len(goal.groups) - int(goal.groups.max()) - 1
    # Of a sample that has a tenth of the rows, a tenth of the copies are at hand.
    if repeated / len(goal.values) * total / len(goal.values) > MOST_REPEATED:
        return "copies of rows that are judged are among the others"
    if seconds > MOST_SHARE * settings.budget:
        return f"it would take about {seconds:.0f} s of the budget; raise --budget"
    return ""


class Taken(NamedTuple):
    """Hold features with all their categories, the census of these, and what the user should know."""

    space: FeatureSpace
    census: Census | None = None
    notes: tuple[str, ...] = ()


def census_of(
    space: FeatureSpace,
    counted: Counted,
    goal: Target,
    table: pd.DataFrame,
    beyond: Beyond | None,
    settings: FitSettings,
) -> Taken:
    """Count what is to be counted.

    Args:
        space: the features, as they were inferred from the rows at hand.
        counted: by ``plan_census``.
        goal: the target of the rows at hand.
        table: their columns, as they are read.
        beyond: the table that these are a sample of, if they are.
        settings: of the fit.

    Raises:
        UserError: a file that cannot be read.
    """
    if not counted.features:
        return Taken(space)
    names = [feature.name for feature in counted.features]
    center = 0.0 if goal.classes else float(goal.values.mean())

    def batches() -> Iterator[tuple[pd.DataFrame, FloatArray]]:
        rows = iter([(table, goal.values)]) if beyond is None else beyond.batches(goal.name, names)
        return ((frame, target - center) for frame, target in rows)

    classes = indicator_classes(goal.values, len(goal.classes)) if len(goal.classes) > 2 else None
    apart = reading_options(asdict(settings), names).types
    orders = {
        f.name: pd.Categorical(table[f.name]).categories.astype(str).tolist() for f in counted.features if f.ordered
    }
    features, census = take_vocabulary(counted.features, batches, classes, apart, orders)
    named = {feature.name: feature for feature in features}
    total = len(goal.values) if beyond is None else beyond.whole.rows
    notes = [counted.said(census.rows, total, goal.name)]
    notes += [
        f"{name!r} has too many categories to know them all: {len(named[name].categories):,} of the most frequent "
        "are known, the others count as unknown; coarser groups would say more"
        for name in census.least
    ]
    space = FeatureSpace(tuple(named.get(feature.name, feature) for feature in space.features))
    return Taken(space, replace(census, center=center), tuple(notes))


def count_targets(goal: Target, beyond: Beyond | None) -> tuple[int, int]:
    """Count the rows of a table that have a target, and all of them; those at hand have one.

    Raises:
        UserError: a file that cannot be read.
    """
    if beyond is None:
        return len(goal.values), len(goal.values)
    rows = sum(int(np.count_nonzero(~np.isnan(target))) for _, target in beyond.batches(goal.name, []))
    return rows, beyond.whole.rows


def on_scale(census: Census | None, goal: Target, shift: float, scale: float, log: bool) -> Census | None:
    """Return the census on the scale of the targets that are trained on."""
    if census is None or goal.classes:
        return census
    log = log or goal.task == "poisson"
    return census.standardised(0.0, float(np.exp(shift))) if log else census.standardised(shift, scale)
