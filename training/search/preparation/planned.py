"""Plan a fit from its features, target and settings."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eigenserve.model.rows.features import FeatureSpace
from eigenserve.model.rows.readings import PLAIN
from eigenserve.training.data.categories.census import Beyond
from eigenserve.training.data.categories.grouping import MANY_CATEGORIES
from eigenserve.training.data.target import Target
from eigenserve.training.planning.costs import Sizes
from eigenserve.training.planning.machine import this_machine
from eigenserve.training.planning.plan import FitPlan, full_scope, make_plan
from eigenserve.training.search.preparation.counted import Counted, plan_census
from eigenserve.training.search.preparation.links import links_of
from eigenserve.training.search.preparation.prepare import folds_for
from eigenserve.training.settings import FitSettings


def plan_all(
    space: FeatureSpace, table: pd.DataFrame, goal: Target, settings: FitSettings, beyond: Beyond | None = None
) -> tuple[FitPlan, Counted]:
    """Plan as ``plan_fit`` does, and which categories are counted on all rows, those ``beyond`` these included.

    How many rows that are is not known before they are read.
    """
    machine = this_machine(settings.by_plan_alone)
    before = plan_census(space, table, goal, settings, beyond, len(table), machine.slowness)
    plan = plan_fit(space, table, goal, settings, before.seconds)
    counted = plan_census(space, table, goal, settings, beyond, plan.scope.rows, machine.slowness)
    return replace(plan, notes=(*plan.notes, *filter(None, [counted.note]))), counted


def plan_fit(
    space: FeatureSpace, table: pd.DataFrame, goal: Target, settings: FitSettings, counting_s: float = 0.0
) -> FitPlan:
    """Plan what is done within the budget of time and memory.

    Args:
        space: the features.
        table: the N rows.
        goal: their targets.
        settings: of the fit.
        counting_s: seconds of the budget that counting categories takes.

    Raises:
        UserError: too little memory for this table, or a setting that does not fit it.
    """
    levels = tuple(min(f.num_codes, MANY_CATEGORIES) for f in space.features if f.kind == "categorical")
    sizes = Sizes(
        rows=len(table),
        numbers=len(space) - len(levels),
        levels=levels,
        outputs=len(goal.classes) if goal.task == "multiclass" else 1,
        table_bytes=int(table.memory_usage().sum()),
        links=len(links_of(goal, settings)),
        spelled=sum(feature.reading != PLAIN for feature in space.features if feature.kind != "categorical"),
    )
    whole = full_scope(
        sizes, folds_for(len(table)), max(map(settings.members_of, settings.sizes)), settings.pairs is None
    )
    machine = this_machine(settings.by_plan_alone)
    memory = settings.max_memory
    most = int(memory) if memory else _resident() + machine.free_bytes // 2
    plan = make_plan(sizes, whole, machine, settings.budget - counting_s, most)
    return replace(plan, seconds={**plan.seconds, "columns": plan.seconds["columns"] + counting_s})


def _resident() -> int:
    """Count the bytes of memory that this process has in use."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0
