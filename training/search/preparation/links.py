"""Choose the link of a regression: prices, counts and durations often are products, which are sums of logarithms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.pairs import PairGain
from eigenserve.training.data.categories.census import Census
from eigenserve.training.data.categories.grouping import group_categories, indicator_classes
from eigenserve.training.data.schema import skewness
from eigenserve.training.data.target import Target
from eigenserve.training.kernels.losses import DEVIANCE_LOSSES, choose_objective, standardised
from eigenserve.training.planning.clock import Clock
from eigenserve.training.planning.costs import Scope
from eigenserve.training.progress import Silent
from eigenserve.training.search.halving import LENGTHS, Search
from eigenserve.training.search.preparation.counted import on_scale
from eigenserve.training.search.preparation.folds import assign_folds
from eigenserve.training.search.preparation.prepare import prepare
from eigenserve.training.search.preparation.sample import Sample
from eigenserve.training.search.workbench import Workbench
from eigenserve.training.settings import FitSettings

#: A target that is never negative and more skewed than this is tried by its logarithm, too. A lognormal one with a
#: spread of 0.3 lies there; California's house values, which gain nothing by it, lie just below.
TRIED_SKEWNESS = 1.0
#: The logarithm must take this share off the squared error: contributions in the target's own units say more.
MIN_GAIN = 0.02

Prepared = tuple[Sample, Workbench, list[PairGain]]


def prepare_linked(
    space: FeatureSpace,
    columns: FloatArray,
    goal: Target,
    weight: FloatArray,
    settings: FitSettings,
    scope: Scope,
    clock: Clock,
    core_seconds: float,
    census: Census | None = None,
) -> Prepared:
    """Prepare the rows by the given link or the better one, with all that ``prepare`` makes of them.

    Links are compared by the first round of the search, within so many seconds of one core. A ``census`` says what the
    categories of features that have many are worth, by more rows than these.

    Raises:
        UserError: settings that do not fit the table.
        KeyboardInterrupt: interrupted before it was known which link is better.
    """
    prepared = {
        log: _prepare(space, columns, goal, weight, settings, log, scope, clock, census)
        for log in links_of(goal, settings)
    }
    if len(prepared) == 1:
        return next(iter(prepared.values()))
    errors = {log: _squared_error(found, settings, core_seconds, clock) for log, found in prepared.items()}
    return prepared[errors[True] < (1.0 - MIN_GAIN) * errors[False]]


def links_of(goal: Target, settings: FitSettings) -> tuple[bool, ...]:
    """Say whether the score is the logarithm: both, where that is open."""
    if goal.task != "regression":
        for name in ("link", "loss"):
            if getattr(settings, name) != "auto":
                raise UserError(f"{name} {getattr(settings, name)} needs the task regression; the task is {goal.task}")
        return (False,)
    if settings.loss == "gamma" and goal.values.min() <= 0:
        raise UserError(
            f"loss gamma needs a target that is above 0 everywhere; {goal.name!r} goes down to {goal.values.min():g}: "
            "leave such rows out, or take the loss tweedie, whose costs may be 0"
        )
    if settings.link == "log" or settings.loss in DEVIANCE_LOSSES:
        if goal.values.min() < 0 or goal.values.max() == 0:
            name = "link log" if settings.loss == "auto" else f"loss {settings.loss}"
            raise UserError(f"{name} needs a target that is at least 0 everywhere, and above 0 somewhere")
        return (True,)
    free = settings.link == "auto" and settings.loss == "auto" and settings.curves == "piecewise"
    free = free and not (settings.convex or settings.concave or settings.max_strength)
    if not free or goal.values.min() < 0 or skewness(goal.values) < TRIED_SKEWNESS:
        return (False,)
    return (False, True)


def _prepare(
    space: FeatureSpace,
    columns: FloatArray,
    goal: Target,
    weight: FloatArray,
    settings: FitSettings,
    log: bool,
    scope: Scope,
    clock: Clock,
    census: Census | None,
) -> Prepared:
    target, shift, scale, teacher = goal.values, 0.0, 1.0, goal.teacher
    if not goal.classes:
        rates = log or goal.task == "poisson"
        target, shift, scale = standardised(goal.values, weight, rates)
        if teacher is not None:
            teacher = np.maximum(teacher, 0.0) / np.exp(shift) if rates else (teacher - shift) / scale
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed))
    fold = assign_folds(target, scope.folds, rng, goal.groups, goal.moments)
    capped = {name for name, _ in settings.max_strength}
    numbers, census = _as_numbers(target, len(goal.classes)), on_scale(census, goal, shift, scale, log)
    space, grouped = group_categories(space, columns, numbers, fold, capped, census)
    coordinates = space.coordinates(columns)
    for i, of_rows in grouped.items():
        coordinates[:, i] = of_rows
    sample = Sample(
        space=space,
        coordinates=coordinates,
        target=target,
        weight=weight,
        num_classes=len(goal.classes),
        objective=choose_objective(goal.task, settings.loss, settings.quantile, log, settings.power),
        shift=shift,
        scale=scale,
        teacher=teacher,
        moments=goal.moments,
    )
    bench, gains = prepare(sample, fold, settings, rng, scope, clock)
    # Where rows stand on their curves is kept instead: eight bytes for each coordinate would stay until the end.
    return replace(sample, coordinates=np.empty((0, len(space)))), bench, gains


def _as_numbers(target: FloatArray, classes: int) -> FloatArray:
    """Return a regression's or a binary target as it is, or indicators of the most frequent classes, (N, O)."""
    if classes <= 2:
        return target[:, None]
    return (target[:, None] == indicator_classes(target, classes)).astype(np.float64)


def _squared_error(prepared: Prepared, settings: FitSettings, core_seconds: float, clock: Clock) -> float:
    """Return half the mean squared error of the best candidate after few steps, out of fold, on the target's scale."""
    sample, bench, _ = prepared
    late = clock.late("search")
    search = Search(bench, settings.members_of, Silent(), late=late)
    search.run(LENGTHS[:1], core_seconds, vary=False)
    if not search.complete and not late():
        raise KeyboardInterrupt
    unit = math.exp(sample.shift) if sample.objective.log_link else sample.scale
    return unit**2 * min(entry.loss for entry in search.judged)
