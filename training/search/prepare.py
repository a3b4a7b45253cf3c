"""Prepare a table for training: folds, the additive model, pairs and curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Term
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.fineness import finer_features
from eigenserve.training.additive.gam import AdditiveModel, fit_additive
from eigenserve.training.additive.gram import basis_matrix, gather
from eigenserve.training.additive.pairs import PairGain, find_pairs, pair_term
from eigenserve.training.curves.basis import (
    CurveBasis,
    Resolution,
    coarse_resolution,
    fine_resolution,
    main_curves,
    pair_curves,
)
from eigenserve.training.curves.caps import caps_of
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.kernels.losses import POISSON, QUANTILE, SOFTMAX, Objective, best_constant
from eigenserve.training.search.members import Blueprint, draw_blueprint, training_rows
from eigenserve.training.search.workbench import CANDIDATES, COARSE, FINE, MAIN, PLAIN, Workbench
from eigenserve.training.settings import FitSettings

#: Rows from which one fold is enough to judge a fit whose length is given: it chooses little, so that its figures are
#: not optimistic, and a fourth of these rows shows an error to 2%.
HOLD_OUT_ROWS = 5_000


@dataclass(frozen=True)
class Sample:
    """Hold rows to learn from.

    Attributes:
        space: their features.
        coordinates: (N, F).
        target: (N,), standardised for a regression, class codes for a classifier.
        weight: (N,).
        num_classes: 0 unless it is a classifier's.
        objective: what to minimise.
        shift, scale: the finished score is shift + scale * (that of ``target``).
    """

    space: FeatureSpace
    coordinates: FloatArray
    target: FloatArray
    weight: FloatArray
    num_classes: int
    objective: Objective
    shift: float = 0.0
    scale: float = 1.0

    @property
    def num_outputs(self) -> int:
        """Count the outputs: one per class for softmax, else one."""
        return self.num_classes if self.objective.kind == SOFTMAX else 1


def folds_for(rows: int) -> int:
    """Choose how many folds: small tables need most of their rows for training."""
    return 8 if rows < 2000 else 4


def assign_folds(values: FloatArray, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign a fold to each row, (N,); every fold has its share of all parts of the target's range."""
    shuffled = rng.permutation(len(values))
    ranked = shuffled[np.argsort(values[shuffled], kind="stable")]
    fold = np.empty(len(values), np.int64)
    for start in range(0, len(values), folds):
        group = ranked[start : start + folds]
        fold[group] = rng.permutation(folds)[: len(group)]
    return fold


def prepare(sample: Sample, settings: FitSettings, rng: np.random.Generator) -> tuple[Workbench, list[PairGain]]:
    """Prepare all that candidates are trained on, and the pairs that were found.

    Raises:
        UserError: settings that do not fit the table.
    """
    space, z, rows = sample.space, sample.coordinates, len(sample.target)
    monotone, bends, strengths = _monotone_signs(space, settings), _bends(space, settings), _strengths(space, settings)
    single = {*bends, *strengths}
    fold = assign_folds(sample.target, folds_for(rows), rng)
    additive: AdditiveModel | None = None
    finer: dict[int, int] = {}
    gains: list[PairGain] = []
    if not main_curves(space, z)[0]:
        raise UserError("at least one feature must vary; got only constants")
    if settings.curves == "piecewise" and sample.objective.kind != QUANTILE:
        additive, finer, gains = _additive_and_pairs(sample, settings, fold, rng, single)
    terms, bases = main_curves(space, z, settings.curves, monotone, finer, bends)
    chosen = _named_pairs(space, settings, single)
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
    blueprint = _draw(sample, settings, terms, bases)
    if settings.epochs is not None and rows >= HOLD_OUT_ROWS:
        fold = np.where(fold == 0, 0, -1)
    bench = Workbench(
        blueprint=blueprint,
        groups=np.array(groups),
        rows=training_rows(blueprint, z, sample.target, sample.weight),
        fold=fold,
        candidates=CANDIDATES if settings.curves == "piecewise" else PLAIN,
        # An additive model knows no constraint, so members that must keep one cannot start from it.
        additive=None if monotone or single else additive,
        start=best_constant(*sample.objective.training, sample.target, sample.weight, sample.num_classes),
        judging=sample.objective.judging,
        batch=settings.batch or int(np.clip(rows // 8, 32, 256)),
        learning_rate=settings.peak_learning_rate,
        seed=settings.seed,
        caps=caps_of(space, bases, strengths, sample.scale),
    )
    return bench, gains


def _draw(sample: Sample, settings: FitSettings, terms: Sequence[Term], bases: Sequence[CurveBasis]) -> Blueprint:
    loss, parameter = sample.objective.training
    return draw_blueprint(
        tuple(terms),
        bases,
        dim=settings.dim,
        eig_idx=settings.resolved_eig_idx,
        num_outputs=sample.num_outputs,
        loss=loss,
        loss_parameter=parameter,
    )


def _additive_and_pairs(
    sample: Sample, settings: FitSettings, fold: NDArray[np.int64], rng: np.random.Generator, single: Collection[int]
) -> tuple[AdditiveModel, dict[int, int], list[PairGain]]:
    """Fit the additive model in the features' own curves; find which need more knots, and what pairs explain.

    Features in ``single`` take part in no pair.
    """
    space, z, kind = sample.space, sample.coordinates, sample.objective.kind

    def fitted(finer: Mapping[int, int]) -> tuple[list[Term], list[CurveBasis], Rows, AdditiveModel]:
        terms, bases = main_curves(space, z, finer=finer)
        rows = training_rows(_draw(sample, settings, terms, bases), z, sample.target, sample.weight)
        return terms, bases, rows, fit_additive(bases, rows, kind, sample.num_outputs, fold)

    terms, bases, rows, additive = fitted({})
    finer = finer_features(space, z, _residuals(additive.out_of_fold, sample), fold, rng)
    if finer:
        terms, bases, rows, additive = fitted(finer)
    if settings.pairs is not None:
        return additive, finer, []
    residuals = _residuals(additive.out_of_fold, sample)
    importance = _importance(len(space), terms, bases, rows, additive)
    importance[list(single)] = 0.0
    return additive, finer, find_pairs(space, z, residuals, fold, importance, rng)


def _residuals(scores: FloatArray, sample: Sample) -> FloatArray:
    """Return what the additive model leaves of the target, on the target's scale: (N, O)."""
    kind, target = sample.objective.kind, sample.target
    if kind == SOFTMAX:
        return np.eye(scores.shape[1])[target.astype(int)] - softmax(scores, axis=1)
    if kind == POISSON:
        rate = np.exp(scores[:, 0])
        return ((target - rate) / np.sqrt(rate + 1e-9))[:, None]
    expected = scores[:, 0] if sample.num_classes == 0 else expit(scores[:, 0])
    return (target - expected)[:, None]


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
        # Never zero: a feature without an effect of its own may still matter in a pair.
        importance[term.features[0]] = 1e-9 + float(np.sqrt(part.var(axis=0).sum()))
    return importance


def _monotone_signs(space: FeatureSpace, settings: FitSettings) -> Mapping[int, int]:
    signs = {}
    for name, direction in settings.monotone:
        if name not in space.names:
            raise UserError(f"monotone: no feature {name!r}; the features are {', '.join(space.names)}")
        index = space.names.index(name)
        if space.features[index].kind == "categorical":
            raise UserError(f"monotone: {name!r} is categorical; only numbers and booleans have a direction")
        signs[index] = 1 if direction == "+" else -1
    if signs and settings.curves == "linear":
        raise UserError("monotone features need piecewise curves")
    return signs


def _numbers(space: FeatureSpace, setting: str, names: Collection[str]) -> dict[str, int]:
    """Return positions of features that must be numbers or dates."""
    for name in names:
        if name not in space.names:
            raise UserError(f"{setting}: no feature {name!r}; the features are {', '.join(space.names)}")
        if space.features[space.names.index(name)].kind not in ("numeric", "datetime"):
            raise UserError(f"{setting}: {name!r} must be a number or a date to have a shape")
    return {name: space.names.index(name) for name in names}


def _bends(space: FeatureSpace, settings: FitSettings) -> Mapping[int, int]:
    convex, concave = (_numbers(space, name, getattr(settings, name)) for name in ("convex", "concave"))
    return dict.fromkeys(convex.values(), 1) | dict.fromkeys(concave.values(), -1)


def _strengths(space: FeatureSpace, settings: FitSettings) -> Mapping[int, float]:
    for name, _ in settings.max_strength:
        if name not in space.names:
            raise UserError(f"max_strength: no feature {name!r}; the features are {', '.join(space.names)}")
    return {space.names.index(name): most for name, most in settings.max_strength}


def _named_pairs(space: FeatureSpace, settings: FitSettings, single: Collection[int]) -> list[tuple[int, int]]:
    named = settings.pairs or ()
    if named and settings.curves == "linear":
        raise UserError("pairs need piecewise curves: the plain affine pencil (curves linear) has none")
    for name in (name for pair in named for name in pair):
        if name not in space.names:
            raise UserError(f"pairs: no feature {name!r}; the features are {', '.join(space.names)}")
    pairs = [(space.names.index(a), space.names.index(b)) for a, b in named]
    for name in (space.names[i] for pair in pairs for i in pair if i in single):
        raise UserError(f"pairs: {name!r} must be convex, concave or capped, so it cannot be in a pair")
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise UserError("pairs must differ; got one twice")
    return pairs
