"""fit: from a table to a trained model."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.curves import Term
from model.ensemble import SpectralEnsemble
from model.features import FeatureSpace, FloatArray
from model.spectral import SpectralModel
from training.basis import (
    CurveBasis,
    Resolution,
    coarse_resolution,
    curve_set,
    fine_resolution,
    main_curves,
    pair_curves,
)
from training.gam import AdditiveModel, design_matrix, fit_additive
from training.kernel import Float32, Rows
from training.losses import POISSON, SOFTMAX, TASK_LOSSES, best_constant
from training.members import Blueprint, build_ensemble, draw_blueprint, identity_params, training_rows
from training.metrics import score_metrics
from training.pairs import LARGE_GAIN, PairGain, pair_gains, pair_term
from training.progress import Reporter, Silent
from training.schema import infer_features
from training.search import COARSE, FINE, MAIN, Judged, Workbench, blend, run_jobs, search
from training.settings import FitSettings
from training.table import Target, UserError, fingerprint, split_target

MIN_ROWS = 20
#: Pairs that a fit gives terms to by itself.
MAX_PAIRS = 6
#: Optimiser steps of each round of the search, and how many candidates enter it.
RUNGS = ((300, 100), (1200, 4), (4800, 2))


@dataclass(frozen=True)
class Fitted:
    """A trained model and what there is to say about it.

    Attributes:
        model: the model, with metrics, settings and the data's fingerprint in its card.
        notes: what the user should be told about the data.
    """

    model: SpectralModel
    notes: tuple[str, ...]


def fit(frame: pd.DataFrame, target: str, settings: FitSettings, reporter: Reporter | None = None) -> Fitted:
    """Train a model that predicts the column ``target`` from the others.

    The same table, settings and machine give the same model, bit for bit, whatever the number of threads.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    table, goal, notes = split_target(_chosen(frame, target, settings), target, settings.task)
    if len(table) < MIN_ROWS:
        raise UserError(f"at least {MIN_ROWS} rows are needed; got {len(table)}")
    space = infer_features(table)
    coordinates = space.coordinates(space.encode(table))
    shift, scale = _standardiser(goal)
    standard = Target(target, goal.task, (goal.values - shift) / scale, goal.classes)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed))
    fold = assign_folds(goal.values, folds_for(len(table)), rng)
    bench, gains = prepare(space, coordinates, standard, fold, settings, rng)
    judged = search(bench, RUNGS, reporter or Silent())
    picks = blend(judged, settings.members, bench.loss)
    ensemble = refit(bench, picks, scale, shift)
    model = SpectralModel(goal.task, target, space, ensemble, goal.classes)
    scores = shift + scale * np.mean([pick.scores for pick in picks], axis=0)
    metrics = score_metrics(model, scores, goal)
    card = {
        "metrics": {"out_of_fold": {"rows": metrics.rows, **metrics.values}},
        "training": {
            "settings": asdict(settings),
            "rows": len(table),
            "folds": bench.folds,
            "members": _describe(picks),
            "pairs": [
                {"term": pair_term(space, g.pair).name, "gain": g.gain, "standard_errors": g.standard_errors}
                for g in gains
            ],
        },
        "data": {"rows": len(table), "sha256": fingerprint(frame)},
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("eigenserve", "numpy", "numba", "scipy", "pandas")},
        },
    }
    return Fitted(SpectralModel(goal.task, target, space, ensemble, goal.classes, card), tuple(notes))


def folds_for(rows: int) -> int:
    """How many folds: small tables need most of their rows for training."""
    return 8 if rows < 2000 else 4


def assign_folds(values: FloatArray, folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) the fold of each row; every fold has its share of all parts of the target's range."""
    shuffled = rng.permutation(len(values))
    ranked = shuffled[np.argsort(values[shuffled], kind="stable")]
    fold = np.empty(len(values), np.int64)
    for start in range(0, len(values), folds):
        group = ranked[start : start + folds]
        fold[group] = rng.permutation(folds)[: len(group)]
    return fold


def prepare(
    space: FeatureSpace,
    coordinates: FloatArray,
    goal: Target,
    fold: NDArray[np.int64],
    settings: FitSettings,
    rng: np.random.Generator,
) -> tuple[Workbench, list[PairGain]]:
    """Curves, folds and the additive model: all that candidates are trained on; and the pairs that were tried."""
    loss = TASK_LOSSES[goal.task]
    outputs = len(goal.classes) if loss == SOFTMAX else 1
    weight = np.ones(len(coordinates))
    terms, bases = main_curves(space, coordinates, settings.curves)
    if not terms:
        raise UserError("no feature varies: there is nothing to predict from")

    def shape(terms: Sequence[Term], bases: Sequence[CurveBasis]) -> Blueprint:
        return draw_blueprint(
            tuple(terms),
            bases,
            dim=settings.dim,
            eig_idx=settings.resolved_eig_idx,
            num_outputs=outputs,
            loss=loss,
            huber_delta=settings.huber_delta,
        )

    rows = training_rows(shape(terms, bases), coordinates, goal.values, weight)
    start = best_constant(loss, rows.target.astype(np.float64), len(goal.classes))
    additive, gains = None, []
    if settings.curves == "piecewise":
        rough = np.concatenate([basis.rough for basis in bases])
        design = design_matrix(bases, rows)
        additive = fit_additive(design, rough, rows, loss, outputs, fold)
        if settings.pairs is None:
            gains = pair_gains(
                space,
                coordinates,
                _residuals(additive.out_of_fold, goal, loss),
                fold,
                _importance(space, terms, bases, design, additive),
                rng,
            )
    chosen = _pair_positions(space, settings) or [g.pair for g in gains[:MAX_PAIRS] if g.worthwhile]
    large = {g.pair for g in gains if g.gain >= LARGE_GAIN} if settings.pairs is None else set(chosen)
    groups = [MAIN] * len(bases)
    coarse, fine = coarse_resolution(len(coordinates)), fine_resolution(len(coordinates))
    for pair in chosen:
        wanted: list[tuple[int, Resolution]] = [(COARSE, coarse)]
        numbers = all(space.features[i].kind == "numeric" for i in pair)
        if fine is not None and numbers and pair in large:
            wanted.append((FINE, fine))
        for group, resolution in wanted:
            added = pair_curves(len(terms), space, coordinates, *pair, resolution)
            bases += added
            groups += [group] * len(added)
        terms.append(pair_term(space, pair))
    blueprint = shape(terms, bases)
    bench = Workbench(
        blueprint=blueprint,
        groups=np.array(groups),
        rows=training_rows(blueprint, coordinates, goal.values, weight),
        fold=fold,
        additive=additive,
        start=start,
        batch=settings.batch or int(np.clip(len(coordinates) // 8, 32, 256)),
        learning_rate=settings.learning_rate,
        seed=settings.seed,
    )
    return bench, gains


def refit(bench: Workbench, picks: Sequence[Judged], scale: float, shift: float) -> SpectralEnsemble:
    """Train a member for each pick on all rows and join them; picks of the additive model share one member."""
    trained = [pick for pick in picks if pick.candidate is not None]
    jobs = [
        (lambda p=pick, i=i: bench.train(p.candidate, p.steps, None, (1000, i))[:2])  # type: ignore[misc]
        for i, pick in enumerate(trained)
    ]
    members: list[tuple[Float32, FloatArray]] = run_jobs(jobs, lambda: None)
    weights = [1.0 / len(picks)] * len(members)
    if len(trained) < len(picks):
        assert bench.additive is not None
        members.append((identity_params(bench.blueprint, bench.additive.coefficients[-1]), bench.additive.offsets[-1]))
        weights.append(1.0 - sum(weights))
    return build_ensemble(bench.blueprint, members, np.array(weights), bench.rows, scale, shift)


def _describe(picks: Sequence[Judged]) -> list[dict[str, Any]]:
    """What the members are, for the card."""
    counts = Counter((pick.candidate, pick.steps, pick.loss) for pick in picks)
    return [
        {
            "members": count,
            "steps": steps,
            "out_of_fold_loss": loss,
            "kind": "additive" if candidate is None else "spectral",
            **({} if candidate is None else asdict(candidate)),
        }
        for (candidate, steps, loss), count in counts.items()
    ]


def _residuals(scores: FloatArray, goal: Target, loss: int) -> FloatArray:
    """(N, O): what the additive model leaves of the target, on the target's scale."""
    if loss == SOFTMAX:
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.eye(scores.shape[1])[goal.values.astype(int)] - p / p.sum(axis=1, keepdims=True)
    if loss == POISSON:
        rate = np.exp(scores[:, 0])
        return ((goal.values - rate) / np.sqrt(rate + 1e-9))[:, None]
    expected = scores[:, 0] if goal.task == "regression" else 1.0 / (1.0 + np.exp(-scores[:, 0]))
    return (goal.values - expected)[:, None]


def _importance(
    space: FeatureSpace,
    terms: Sequence[Term],
    bases: Sequence[CurveBasis],
    design: NDArray[np.float32],
    additive: AdditiveModel,
) -> FloatArray:
    """(F,): the spread of each feature's part of the additive scores."""
    importance = np.zeros(len(space))
    edges = np.cumsum([0, *(basis.matrix.shape[1] for basis in bases)])
    for term, (first, last) in zip(terms, pairwise(edges), strict=True):
        part = design[:, first:last] @ additive.coefficients[-1][first:last].astype(np.float32)
        # Never zero: a feature without an effect of its own may still matter in a pair.
        importance[term.features[0]] = 1e-9 + float(np.sqrt(part.var(axis=0).sum()))
    return importance


def _standardiser(goal: Target) -> tuple[float, float]:
    """(shift, scale) by which a regression's target is standardised; (0, 1) for others."""
    if goal.task != "regression":
        return 0.0, 1.0
    return float(goal.values.mean()), float(goal.values.std())


def _chosen(frame: pd.DataFrame, target: str, settings: FitSettings) -> pd.DataFrame:
    """The columns that the settings ask for, and the target."""
    for name in (*settings.features, *settings.exclude):
        if name not in frame:
            raise UserError(f"no column {name!r}; the columns are {', '.join(frame.columns)}")
    wanted = settings.features or tuple(frame.columns)
    return frame[[name for name in frame if name == target or (name in wanted and name not in settings.exclude)]]


def _pair_positions(space: FeatureSpace, settings: FitSettings) -> list[tuple[int, int]]:
    named = settings.pairs or ()
    if named and settings.curves == "linear":
        raise UserError("pairs need piecewise curves: the plain affine pencil (curves linear) has none")
    for name in (name for pair in named for name in pair):
        if name not in space.names:
            raise UserError(f"pairs: no feature {name!r}; the features are {', '.join(space.names)}")
    pairs = [(space.names.index(a), space.names.index(b)) for a, b in named]
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise UserError("pairs: a pair is named twice")
    return pairs
