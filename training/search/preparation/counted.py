"""Decide of which features the categories are counted on all rows of a table, though fewer are trained on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.data.categories.census import Beyond, Census, take_census
from eigenserve.training.data.categories.grouping import are_many, indicator_classes
from eigenserve.training.data.target import Target
from eigenserve.training.settings import FitSettings

#: Microseconds of one core to read and count a category of a row (measured, Parquet, 50,000 categories), and the share
#: of the budget that it may take.
COUNTED_US, MOST_SHARE = 0.5, 0.15
#: Share of rows that repeat another one beyond which a row's copies would say where it stands.
MOST_REPEATED = 0.01


class Counted(NamedTuple):
    """Hold the features whose categories are counted on all rows, the seconds it takes, and what a user should know."""

    features: tuple[Feature, ...] = ()
    seconds: float = 0.0
    note: str = ""


def plan_census(
    space: FeatureSpace, goal: Target, settings: FitSettings, beyond: Beyond | None, rows: int, slowness: float
) -> Counted:
    """Decide what is counted.

    Args:
        space: the features.
        goal: the target of the rows at hand.
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
    seconds = 1e-6 * COUNTED_US * slowness * total * len(many) * (beyond is not None)
    names = ", ".join(repr(feature.name) for feature in many)
    if reason := _hindrance(goal, settings, beyond, total, seconds):
        return Counted(note=f"the {rows:,} rows say what categories of {names} are worth, not all {total:,}: {reason}")
    return Counted(many, seconds, f"all {total:,} rows say what categories of {names} are worth")


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


def census_of(counted: Counted, goal: Target, table: pd.DataFrame, beyond: Beyond | None) -> Census | None:
    """Count what is to be counted; None for nothing.

    Args:
        counted: by ``plan_census``.
        goal: the target of the rows at hand.
        table: their columns, as they are read.
        beyond: the table that these are a sample of, if they are.

    Raises:
        UserError: a file that cannot be read.
    """
    if not counted.features:
        return None
    names = [feature.name for feature in counted.features]
    batches = iter([(table, goal.values)]) if beyond is None else beyond.batches(goal.name, names)
    classes = indicator_classes(goal.values, len(goal.classes)) if len(goal.classes) > 2 else None
    return take_census(counted.features, batches, classes)


def on_scale(census: Census | None, goal: Target, shift: float, scale: float, log: bool) -> Census | None:
    """Return the census on the scale of the targets that are trained on."""
    if census is None or goal.task != "regression":
        return census
    return census.standardised(0.0, float(np.exp(shift))) if log else census.standardised(shift, scale)
