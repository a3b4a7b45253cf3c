"""Fit the additive models of a table, and find the finer knots and pairs that they leave to be found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Term
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.fineness import finer_features
from eigenserve.training.additive.gam import AdditiveModel, fit_additive
from eigenserve.training.additive.gram import basis_matrix, gather
from eigenserve.training.additive.pairs import PairGain, find_pairs
from eigenserve.training.additive.screening import gains_alone
from eigenserve.training.additive.selective import fit_selective, may_help
from eigenserve.training.curves.basis import CurveBasis, main_curves
from eigenserve.training.curves.levels import Levels
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.planning.clock import Clock
from eigenserve.training.planning.costs import Scope
from eigenserve.training.search.members import Blueprint, draw_blueprint, training_rows
from eigenserve.training.search.preparation.sample import Sample
from eigenserve.training.settings import FitSettings

#: Knots on frequent levels are tried against few where they make this many times as many of all.
SPIKES_FACTOR = 1.5


@dataclass(frozen=True)
class _Fits:
    """Hold additive models in the same curves.

    Attributes:
        terms, bases, rows: what they were fitted to.
        models: the additive one, and the linear one where it is another; none where there is no time for them.
    """

    terms: Sequence[Term]
    bases: Sequence[CurveBasis]
    rows: Rows
    models: tuple[AdditiveModel, ...]


def additive_and_pairs(
    sample: Sample,
    settings: FitSettings,
    fold: NDArray[np.int64],
    rng: np.random.Generator,
    single: Collection[int],
    kept: Collection[int] | None,
    scope: Scope,
    clock: Clock,
) -> tuple[tuple[AdditiveModel, ...], bool, dict[int, int], list[PairGain]]:
    """Fit additive and linear models in the features' own curves; find which need more knots, and pairs.

    Features in ``single`` take part in no pair.

    Returns:
        The models, whether frequent levels have knots, the features with more knots, and the pairs.
    """
    space, z, objective, outputs = sample.space, sample.coordinates, sample.objective.training, sample.num_outputs
    tried = scope.knot_features, scope.pair_features if settings.pairs is None else 0
    late = clock.late("additive")

    def fitted(finer: Mapping[int, int], spikes: bool, penalties: tuple[float, float] | None = None) -> _Fits:
        terms, bases = main_curves(space, z, finer=finer, kept=kept, spikes=spikes)
        rows = training_rows(draw(sample, settings, terms, bases), z, sample.target, sample.weight)
        if not scope.additive:
            return _Fits(terms, bases, rows, ())
        models = [fit_additive(bases, rows, objective, outputs, fold, late, penalties)]
        if any(basis.rough.any() for basis in bases):
            models.append(fit_additive(bases, rows, objective, outputs, fold, late, straight=True))
        return _Fits(terms, bases, rows, tuple(models))

    def loss(model: AdditiveModel) -> float:
        return sample.loss(model.out_of_fold)

    spikes = True
    fits = fitted({}, spikes)
    if fits.models and not late() and _has_spikes(space, z, kept):
        without = fitted({}, False)
        spikes = loss(fits.models[0]) <= loss(without.models[0])
        fits = fits if spikes else without
    left, importance = _left_and_importance(sample, fits, fold, rng, scope, any(tried))
    wavy = np.argsort(-importance, kind="stable")[: tried[0]]
    finer = finer_features(
        space, z, left, fold, rng, set(map(int, wavy)), max_rows=scope.pair_rows, late=clock.late("knots")
    )
    if fits.models and late():
        finer = {}
    elif finer and fits.models:
        fits = fitted(finer, spikes, fits.models[0].penalties)
    params = sum(basis.num_params for basis in fits.bases)
    if fits.models and may_help(len(z), len(fits.bases), params, (scope.folds + 1) * outputs) and not late():
        best = min(fits.models, key=loss)
        selective = fit_selective(fits.bases, fits.rows, objective, outputs, fold, best, sample.loss, late)
        ranked = sorted((*fits.models, selective), key=loss)
        fits = replace(fits, models=tuple(ranked))
    if not tried[1]:
        return fits.models, spikes, finer, []
    left, importance = _left_and_importance(sample, fits, fold, rng, scope, any(tried))
    importance[list(single)] = 0.0
    gains = find_pairs(space, z, left, fold, importance, rng, tried[1], scope.pair_rows, late=clock.late("pairs"))
    return fits.models, spikes, finer, gains


def _left_and_importance(
    sample: Sample, fits: _Fits, fold: NDArray[np.int64], rng: np.random.Generator, scope: Scope, wanted: bool
) -> tuple[FloatArray, FloatArray]:
    """Return what the first model leaves of the target (N, O), and how much each feature matters in it, (F,)."""
    count = len(sample.space)
    if fits.models:
        importance = _importance(count, fits.terms, fits.bases, fits.rows, fits.models[0])
        return sample.residuals(fits.models[0].out_of_fold), importance
    left = sample.residuals(np.tile(sample.start(), (len(fold), 1)))
    importance = np.zeros(count)
    if wanted:
        gains = _alone(fits.bases, sample.coordinates, left, fold, rng, scope)
        importance[[term.features[0] for term in fits.terms]] = 1e-9 + gains
    return left, importance


def draw(
    sample: Sample,
    settings: FitSettings,
    terms: Sequence[Term],
    bases: Sequence[CurveBasis],
    levels: Levels | None = None,
) -> Blueprint:
    """Draw the blueprint of members with these terms and curves, as the sample and the settings want them."""
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


def _has_spikes(space: FeatureSpace, z: FloatArray, kept: Collection[int] | None) -> bool:
    """Say whether curves have many fewer knots without those on frequent levels."""
    with_, without = (
        sum(len(basis.curve.knots) for basis in main_curves(space, z, kept=kept, spikes=spikes)[1])
        for spikes in (True, False)
    )
    return with_ > SPIKES_FACTOR * without


def strongest_features(
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
