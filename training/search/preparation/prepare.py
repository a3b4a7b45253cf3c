"""Prepare a table for training: folds, the additive model, pairs and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.training.additive.gam import AdditiveModel
from eigenserve.training.additive.interactions import fit_with_pairs
from eigenserve.training.additive.pairs import PairGain, pair_term
from eigenserve.training.curves.basis import CurveBasis, main_curves
from eigenserve.training.curves.caps import caps_of
from eigenserve.training.curves.levels import with_finer_curves
from eigenserve.training.curves.pair_curves import coarse_resolution, fine_resolution, gap_curves, pair_curves
from eigenserve.training.kernels.losses import (
    QUANTILE,
)
from eigenserve.training.planning.clock import Clock
from eigenserve.training.planning.costs import Scope
from eigenserve.training.search.candidates import (
    COARSE,
    FINE,
    MAIN,
    TEACHER_SHARES,
    Candidate,
    plain_candidates,
    starting_candidates,
)
from eigenserve.training.search.members import training_rows
from eigenserve.training.search.preparation.additive_stage import additive_and_pairs, draw, strongest_features
from eigenserve.training.search.preparation.constraints import bends_of, monotone_signs, named_pairs, strengths_of
from eigenserve.training.search.preparation.sample import Sample
from eigenserve.training.search.workbench import Workbench
from eigenserve.training.settings import FitSettings

#: Rows from which one fold is enough to judge a fit whose length is given: it chooses little, so that its figures are
#: not optimistic, and a fourth of these rows shows an error to 2%.
HOLD_OUT_ROWS = 5_000


def folds_for(rows: int) -> int:
    """Choose how many folds: small tables need most of their rows for training."""
    return 8 if rows < 2000 else 4


def prepare(
    sample: Sample,
    fold: NDArray[np.int64],
    settings: FitSettings,
    rng: np.random.Generator,
    scope: Scope,
    clock: Clock,
) -> tuple[Workbench, list[PairGain]]:
    """Prepare all that candidates are trained on, and the pairs that were found.

    Args:
        sample: the rows.
        fold: (N,), of ``assign_folds``.
        settings: of the fit.
        rng: draws folds, and rows where there are many.
        scope: how much is done.
        clock: ends each phase where the plan does not hold.

    Raises:
        UserError: settings that do not fit the table.
    """
    space, z, rows = sample.space, sample.coordinates, len(sample.target)
    monotone, bends, strengths = (
        monotone_signs(space, settings),
        bends_of(space, settings),
        strengths_of(space, settings),
    )
    single = {*bends, *strengths}
    models: tuple[AdditiveModel, ...] = ()
    spikes = True
    finer: dict[int, int] = {}
    gains: list[PairGain] = []
    chosen = named_pairs(space, settings, single)
    named = {*single, *monotone, *(i for pair in chosen for i in pair)}
    kept = strongest_features(sample, fold, rng, scope, named) if scope.features < len(space) else None
    if not main_curves(space, z, kept=kept)[0]:
        raise UserError("at least one feature must vary; got only constants")
    if settings.curves == "piecewise" and sample.objective.kind != QUANTILE:
        models, spikes, finer, gains = additive_and_pairs(sample, settings, fold, rng, single, kept, scope, clock)
    terms, bases = main_curves(space, z, settings.curves, monotone, finer, bends, kept, spikes)
    if settings.pairs is None:
        chosen = list(dict.fromkeys(gain.pair for gain in gains))
        planes = {gain.pair for gain in gains if gain.gaps_of is None}
        large = {gain.pair for gain in gains if gain.large}
        gaps = [(gain.pair, gain.gaps_of) for gain in gains if gain.gaps_of is not None]
    else:
        planes = large = set(chosen)
        gaps = [(pair, i) for pair in chosen for i in pair]
    first = len(terms)
    terms += [pair_term(space, pair) for pair in chosen]
    coarse, fine = coarse_resolution(rows), fine_resolution(rows)
    groups = [MAIN] * len(bases)

    def add(group: int, added: Sequence[CurveBasis]) -> None:
        bases.extend(added)
        groups.extend([group] * len(added))

    for term, pair in enumerate(chosen, first):
        if pair in planes:
            add(COARSE, pair_curves(term, space, z, *pair, coarse, monotone))
    for pair, missing in gaps:
        term = first + chosen.index(pair)
        add(COARSE, gap_curves(term, space, z, missing, sum(pair) - missing, monotone))
    # An additive model knows no constraint, so members that must keep one cannot start from it.
    models = () if monotone or single else models
    if models and COARSE in groups:
        with_pairs = fit_with_pairs(
            bases,
            training_rows(draw(sample, settings, terms, bases), z, sample.target, sample.weight),
            sample.objective.training,
            sample.num_outputs,
            fold,
            models,
            sample.loss,
            clock.late("pairs"),
        )
        models = (*models, with_pairs) if with_pairs is not None else models
    for term, pair in enumerate(chosen, first):
        if fine is not None and pair in large and all(space.features[i].kind == "numeric" for i in pair):
            add(FINE, pair_curves(term, space, z, *pair, fine, monotone))
    bases, levels = with_finer_curves(
        bases, z, groups.count(MAIN) if settings.curves == "piecewise" and scope.levels > 1 else 0
    )
    groups += [MAIN] * (len(bases) - len(groups))
    blueprint = draw(sample, settings, terms, bases, levels)
    if sample.moments is not None or (settings.epochs is not None and rows >= HOLD_OUT_ROWS):
        fold = np.where(fold == 0, 0, -1)
    bench = Workbench(
        blueprint=blueprint,
        groups=np.array(groups),
        rows=training_rows(blueprint, z, sample.target, sample.weight),
        fold=fold,
        candidates=_candidates(sample, settings),
        additive_models=models,
        start=sample.start(),
        judging=sample.objective.judging,
        batch=settings.batch or int(np.clip(rows // 8, 32, 256)),
        learning_rate=settings.peak_learning_rate,
        seed=settings.seed,
        sizes=settings.sizes,
        caps=caps_of(space, bases, strengths, sample.scale),
        max_candidates=scope.candidates,
        teacher=sample.teacher,
        needs_pairs=bool(settings.pairs),
        device=settings.device,
    )
    return bench, gains


def _candidates(sample: Sample, settings: FitSettings) -> tuple[Candidate, ...]:
    """Choose where the search starts; with a teacher, half way between it and the labels."""
    starting = starting_candidates if settings.curves == "piecewise" else plain_candidates
    share = TEACHER_SHARES[1] if sample.teacher is not None else 0.0
    return tuple(replace(candidate, teacher=share) for candidate in starting(settings.usual_dim))
