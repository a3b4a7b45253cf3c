"""Prepare a table for training: folds, the additive model, pairs and curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Term
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.fineness import finer_features
from eigenserve.training.additive.gam import AdditiveModel, fit_additive
from eigenserve.training.additive.gram import basis_matrix, gather
from eigenserve.training.additive.pairs import PairGain, find_pairs, pair_term
from eigenserve.training.additive.screening import gains_alone
from eigenserve.training.curves.basis import (
    CurveBasis,
    Resolution,
    coarse_resolution,
    fine_resolution,
    main_curves,
    pair_curves,
)
from eigenserve.training.curves.caps import caps_of
from eigenserve.training.curves.levels import Levels, with_finer_curves
from eigenserve.training.kernels.layout import Rows
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
from eigenserve.training.search.members import Blueprint, draw_blueprint, training_rows
from eigenserve.training.search.preparation.constraints import bends_of, monotone_signs, named_pairs, strengths_of
from eigenserve.training.search.preparation.sample import Sample
from eigenserve.training.search.workbench import Workbench
from eigenserve.training.settings import FitSettings

#: Rows from which one fold is enough to judge a fit whose length is given: it chooses little, so that its figures are
#: not optimistic, and a fourth of these rows shows an error to 2%.
HOLD_OUT_ROWS = 5_000

#: Knots on frequent levels are tried against few where they make this many times as many of all.
SPIKES_FACTOR = 1.5


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
    kept = _strongest(sample, fold, rng, scope, named) if scope.features < len(space) else None
    if not main_curves(space, z, kept=kept)[0]:
        raise UserError("at least one feature must vary; got only constants")
    if settings.curves == "piecewise" and sample.objective.kind != QUANTILE:
        models, spikes, finer, gains = _additive_and_pairs(sample, settings, fold, rng, single, kept, scope, clock)
    terms, bases = main_curves(space, z, settings.curves, monotone, finer, bends, kept, spikes)
    large = set(chosen)
    if settings.pairs is None:
        chosen, large = [gain.pair for gain in gains], {gain.pair for gain in gains if gain.large}
    groups = [MAIN] * len(bases)
    coarse, fine = coarse_resolution(rows), fine_resolution(rows)
    for pair in chosen:
        wanted: list[tuple[int, Resolution]] = [(COARSE, coarse)]
        numbers = all(space.features[i].kind == "numeric" for i in pair)
        if fine is not None and numbers and pair in large:
            wanted.append((FINE, fine))
        for group, resolution in wanted:
            added = pair_curves(len(terms), space, z, *pair, resolution, monotone)
            bases += added
            groups += [group] * len(added)
        terms.append(pair_term(space, pair))
    bases, levels = with_finer_curves(
        bases, z, groups.count(MAIN) if settings.curves == "piecewise" and scope.levels > 1 else 0
    )
    groups += [MAIN] * (len(bases) - len(groups))
    blueprint = _draw(sample, settings, terms, bases, levels)
    if sample.moments is not None or (settings.epochs is not None and rows >= HOLD_OUT_ROWS):
        fold = np.where(fold == 0, 0, -1)
    bench = Workbench(
        blueprint=blueprint,
        groups=np.array(groups),
        rows=training_rows(blueprint, z, sample.target, sample.weight),
        fold=fold,
        candidates=_candidates(sample, settings),
        # An additive model knows no constraint, so members that must keep one cannot start from it.
        additive_models=() if monotone or single else models,
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
    )
    return bench, gains


def _candidates(sample: Sample, settings: FitSettings) -> tuple[Candidate, ...]:
    """Choose where the search starts; with a teacher, half way between it and the labels."""
    starting = starting_candidates if settings.curves == "piecewise" else plain_candidates
    share = TEACHER_SHARES[1] if sample.teacher is not None else 0.0
    return tuple(replace(candidate, teacher=share) for candidate in starting(settings.usual_dim))


def _draw(
    sample: Sample,
    settings: FitSettings,
    terms: Sequence[Term],
    bases: Sequence[CurveBasis],
    levels: Levels | None = None,
) -> Blueprint:
    loss, parameter = sample.objective.training
    return draw_blueprint(
        tuple(terms),
        bases,
        dim=settings.usual_dim,
        eig_idx=settings.resolved_eig_idx,
        num_outputs=sample.num_outputs,
        loss=loss,
        loss_parameter=parameter,
        levels=levels,
    )


def _additive_and_pairs(
    sample: Sample,
    settings: FitSettings,
    fold: NDArray[np.int64],
    rng: np.random.Generator,
    single: Collection[int],
    kept: Collection[int] | None,
    scope: Scope,
    clock: Clock,
) -> tuple[tuple[AdditiveModel, ...], bool, dict[int, int], list[PairGain]]:
    """Fit the additive and the linear model in the features' own curves; find which need more knots, and pairs.

    Features in ``single`` take part in no pair.

    Returns:
        The models, whether frequent levels have knots, the features with more knots, and the pairs.
    """
    space, z, objective = sample.space, sample.coordinates, sample.objective.training
    tried = scope.knot_features, scope.pair_features if settings.pairs is None else 0

    def fitted(
        finer: Mapping[int, int], spikes: bool, penalties: tuple[float, float] | None = None
    ) -> tuple[tuple[AdditiveModel, ...], FloatArray, FloatArray]:
        """Fit both models; return what the additive one leaves out of fold, and the features' importance in it."""
        terms, bases = main_curves(space, z, finer=finer, kept=kept, spikes=spikes)
        if not scope.additive:
            left = sample.residuals(np.tile(sample.start(), (len(z), 1)))
            importance = np.zeros(len(space))
            if any(tried):
                importance[[term.features[0] for term in terms]] = 1e-9 + _alone(bases, z, left, fold, rng, scope)
            return (), left, importance
        rows = training_rows(_draw(sample, settings, terms, bases), z, sample.target, sample.weight)
        late = clock.late("additive")
        additive = fit_additive(bases, rows, objective, sample.num_outputs, fold, late, penalties)
        models = [additive]
        if any(basis.rough.any() for basis in bases):
            models.append(fit_additive(bases, rows, objective, sample.num_outputs, fold, late, straight=True))
        left = sample.residuals(additive.out_of_fold)
        return tuple(models), left, _importance(len(space), terms, bases, rows, additive)

    spikes = True
    models, left, importance = fitted({}, spikes)
    if models and not clock.late("additive")() and _has_spikes(space, z, kept):
        without = fitted({}, False)
        spikes = sample.loss(models[0].out_of_fold) <= sample.loss(without[0][0].out_of_fold)
        if not spikes:
            models, left, importance = without
    wavy = np.argsort(-importance, kind="stable")[: tried[0]]
    finer = finer_features(
        space, z, left, fold, rng, set(map(int, wavy)), max_rows=scope.pair_rows, late=clock.late("knots")
    )
    if models and clock.late("additive")():
        finer = {}
    elif finer and models:
        models, left, importance = fitted(finer, spikes, models[0].penalties)
    if not tried[1]:
        return models, spikes, finer, []
    importance[list(single)] = 0.0
    late = clock.late("pairs")
    return models, spikes, finer, find_pairs(space, z, left, fold, importance, rng, tried[1], scope.pair_rows, late)


def _has_spikes(space: FeatureSpace, z: FloatArray, kept: Collection[int] | None) -> bool:
    """Say whether curves have many fewer knots without those on frequent levels."""
    with_, without = (
        sum(len(basis.curve.knots) for basis in main_curves(space, z, kept=kept, spikes=spikes)[1])
        for spikes in (True, False)
    )
    return with_ > SPIKES_FACTOR * without


def _strongest(
    sample: Sample, fold: NDArray[np.int64], rng: np.random.Generator, scope: Scope, named: Collection[int]
) -> set[int]:
    """Choose the features that explain most by themselves, and those that the settings name."""
    terms, bases = main_curves(sample.space, sample.coordinates)
    left = sample.residuals(np.tile(sample.start(), (len(fold), 1)))
    gains = _alone(bases, sample.coordinates, left, fold, rng, scope)
    order = np.argsort(-gains, kind="stable")[: scope.features]
    return {terms[c].features[0] for c in order} | set(named)


def _alone(
    bases: Sequence[CurveBasis],
    z: FloatArray,
    left: FloatArray,
    fold: NDArray[np.int64],
    rng: np.random.Generator,
    scope: Scope,
) -> FloatArray:
    """Measure what each curve explains by itself of what is left of the target, judged on some of the rows."""
    part = np.sort(rng.permutation(len(fold))[: scope.pair_rows])
    return gains_alone(bases, z[part], left[part] - left[part].mean(axis=0), fold[part])


def _importance(
    num_features: int,
    terms: Sequence[Term],
    bases: Sequence[CurveBasis],
    rows: Rows,
    additive: AdditiveModel,
) -> FloatArray:
    """Return the spread of each feature's part of the additive scores, (F,); 0 for a constant feature."""
    importance = np.zeros(num_features)
    table = basis_matrix(bases)[:, :-1] @ additive.coefficients[-1]
    for c, term in enumerate(terms):
        # With a zero for the constant, one curve's part of the scores.
        part = gather(rows.starts[:, c : c + 1], rows.weights[:, c : c + 1], table)
        # Never zero: a feature without a separate effect may still matter in a pair.
        importance[term.features[0]] = 1e-9 + float(np.sqrt(part.var(axis=0).sum()))
    return importance
