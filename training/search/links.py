"""Choose the link of a regression: prices, counts and durations often are products, which are sums of logarithms."""

from __future__ import annotations

import numpy as np

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.pairs import PairGain
from eigenserve.training.data.schema import skewness
from eigenserve.training.data.target import Target
from eigenserve.training.kernels.losses import choose_objective, standardised
from eigenserve.training.progress import Silent
from eigenserve.training.search.halving import RUNGS, search
from eigenserve.training.search.prepare import Sample, prepare
from eigenserve.training.search.workbench import Workbench
from eigenserve.training.settings import FitSettings

#: A target that is never negative and more skewed than this is tried by its logarithm, too. A lognormal one with a
#: spread of 0.3 lies there; California's house values, which gain nothing by it, lie just below.
TRIED_SKEWNESS = 1.0
#: The logarithm must take this share off the squared error: contributions in the target's own units say more.
MIN_GAIN = 0.02

Prepared = tuple[Sample, Workbench, list[PairGain]]


def prepare_linked(
    space: FeatureSpace, columns: FloatArray, goal: Target, weight: FloatArray, settings: FitSettings
) -> Prepared:
    """Prepare the rows by the given link or the better one, with all that ``prepare`` makes of them.

    Links are compared by the first round of the search.

    Raises:
        UserError: settings that do not fit the table.
        KeyboardInterrupt: interrupted before it was known which link is better.
    """
    coordinates = space.coordinates(columns)
    prepared = {log: _prepare(space, coordinates, goal, weight, settings, log) for log in _links(goal, settings)}
    if len(prepared) == 1:
        return next(iter(prepared.values()))
    errors = {log: _squared_error(found, goal) for log, found in prepared.items()}
    return prepared[errors[True] < (1.0 - MIN_GAIN) * errors[False]]


def _links(goal: Target, settings: FitSettings) -> tuple[bool, ...]:
    """Say whether the score is the logarithm: both, where that is open."""
    if goal.task != "regression":
        for name in ("link", "loss"):
            if getattr(settings, name) != "auto":
                raise UserError(f"{name} {getattr(settings, name)} needs the task regression; the task is {goal.task}")
        return (False,)
    if settings.link == "log":
        if goal.values.min() < 0 or goal.values.max() == 0:
            raise UserError("link log needs a target that is at least 0 everywhere, and above 0 somewhere")
        return (True,)
    free = settings.link == "auto" and settings.loss == "auto" and settings.curves == "piecewise"
    free = free and not (settings.convex or settings.concave or settings.max_strength)
    if not free or goal.values.min() < 0 or skewness(goal.values) < TRIED_SKEWNESS:
        return (False,)
    return (False, True)


def _prepare(
    space: FeatureSpace, coordinates: FloatArray, goal: Target, weight: FloatArray, settings: FitSettings, log: bool
) -> Prepared:
    target, shift, scale = goal.values, 0.0, 1.0
    if goal.task == "regression":
        target, shift, scale = standardised(goal.values, weight, log)
    sample = Sample(
        space=space,
        coordinates=coordinates,
        target=target,
        weight=weight,
        num_classes=len(goal.classes),
        objective=choose_objective(goal.task, settings.loss, settings.quantile, log),
        shift=shift,
        scale=scale,
    )
    return sample, *prepare(sample, settings, np.random.default_rng(np.random.SeedSequence(settings.seed)))


def _squared_error(prepared: Prepared, goal: Target) -> float:
    """Return half the mean squared error of the best candidate after few steps, out of fold, on the target's scale."""
    sample, bench, _ = prepared
    judged, complete = search(bench, RUNGS[:1], Silent())
    if not complete:
        raise KeyboardInterrupt
    unit = goal.values.std() / sample.target.std()
    return float(unit**2) * min(entry.loss for entry in judged)
