"""fit: from a table to a trained model."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.features import FeatureSpace, FloatArray
from model.spectral import SpectralModel
from model.threads import for_ranges
from training.basis import curves_of
from training.kernel import Member, Rows, member_scores, train_epoch, workspace
from training.losses import TASK_LOSSES, best_constant, losses
from training.members import Blueprint, build_ensemble, draw_blueprint, new_member, training_rows
from training.metrics import score_metrics
from training.progress import Reporter, Silent
from training.schema import infer_features
from training.settings import FitSettings
from training.table import Target, UserError, fingerprint, split_target

#: Fewest epochs and steps of a fit. Measured on California housing: the validation loss is flat from 20 to 80
#: epochs; small tables need as many steps.
MIN_EPOCHS, MIN_STEPS = 40, 1500
MIN_ROWS = 20


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
    columns = space.encode(table)
    coordinates = space.coordinates(columns)
    shift, scale = _standardiser(goal)
    loss = TASK_LOSSES[goal.task]
    terms, bases = curves_of(space, coordinates, _pair_positions(space, settings), settings.curves)
    if not terms:
        raise UserError("no feature varies: there is nothing to predict from")
    blueprint = draw_blueprint(
        terms,
        bases,
        dim=settings.dim,
        eig_idx=settings.resolved_eig_idx,
        num_outputs=len(goal.classes) if goal.task == "multiclass" else 1,
        loss=loss,
        huber_delta=settings.huber_delta,
    )
    rows = training_rows(blueprint, coordinates, (goal.values - shift) / scale)
    splitter, *streams = np.random.SeedSequence(settings.seed).spawn(1 + settings.members)
    train, held_out = split_rows(goal, settings.validation, np.random.default_rng(splitter))
    start = best_constant(loss, rows.target[train].astype(np.float64), len(goal.classes))
    generators = [np.random.default_rng(stream) for stream in streams]
    members = [new_member(blueprint, start, rng) for rng in generators]
    trained = train_members(
        blueprint, rows, train, held_out, members, generators, settings, reporter or Silent()
    )
    ensemble = build_ensemble(blueprint, trained.members, rows, scale, shift)
    model = SpectralModel(goal.task, target, space, ensemble, goal.classes)
    scores = model.scores(columns[held_out])
    metrics = score_metrics(model, scores, Target(target, goal.task, goal.values[held_out], goal.classes))
    card = {
        "metrics": {"validation": {"rows": metrics.rows, **metrics.values}},
        "training": {
            "settings": asdict(settings),
            "rows": len(train),
            "epochs_run": trained.epochs_run,
            "best_epoch": trained.best_epoch,
        },
        "data": {"rows": len(table), "sha256": fingerprint(frame)},
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("eigenserve", "numpy", "numba", "scipy", "pandas")},
        },
    }
    return Fitted(SpectralModel(goal.task, target, space, ensemble, goal.classes, card), tuple(notes))


@dataclass(frozen=True)
class TrainedMembers:
    """Members as they were after the epoch with the best validation loss: (params, offset) of each."""

    members: list[tuple[NDArray[np.float32], FloatArray]]
    epochs_run: int
    best_epoch: int


def train_members(
    blueprint: Blueprint,
    rows: Rows,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    members: list[Member],
    generators: list[np.random.Generator],
    settings: FitSettings,
    reporter: Reporter,
) -> TrainedMembers:
    """Train each member on its own loss, all on the same one-cycle schedule, and keep the best epoch.

    The validation loss is that of the members' mean.
    """
    plan = blueprint.plan
    batch = min(settings.batch or int(np.clip(len(train) // 8, 32, 256)), len(train))
    steps = len(train) // batch
    epochs = settings.epochs or max(MIN_EPOCHS, -(-MIN_STEPS // steps))
    patience = settings.patience or max(5, epochs // 3)
    rates = one_cycle(epochs * steps, settings.learning_rate).reshape(epochs, steps)
    sample_weight = np.ones(len(rows.target), np.float32)
    penalty = np.full(int(plan.param_offsets[-1]), settings.penalty / len(train), np.float32)
    penalty[-1] = 0.0  # the constant matrix holds the chain
    spaces = [workspace(plan, batch) for _ in members]
    best, best_epoch, kept = np.inf, 0, []
    scores = np.empty((len(members), len(held_out), plan.num_outputs))
    target = rows.target[held_out].astype(np.float64)
    for epoch in range(1, epochs + 1):
        orders = [rng.permutation(train) for rng in generators]

        def work(first: int, last: int, epoch: int = epoch, orders: list[NDArray[np.int64]] = orders) -> None:
            for g in range(first, last):
                member, space = members[g], spaces[g]
                train_epoch(
                    plan, rows, sample_weight, orders[g], batch, rates[epoch - 1], penalty, member, space
                )
                member_scores(plan, rows, held_out, member.params, member.offset, space, scores[g])

        for_ranges(len(members), 1, work)
        loss = float(losses(plan.loss, plan.huber_delta, scores.mean(axis=0), target).mean())
        if not np.isfinite(loss):
            raise UserError(f"training diverged in epoch {epoch}: try a smaller learning_rate")
        if loss < best:
            best, best_epoch = loss, epoch
            kept = [(member.params.copy(), member.offset.copy()) for member in members]
        reporter.epoch(epoch, epochs, loss, best)
        if epoch - best_epoch >= patience:
            break
    return TrainedMembers(kept, epoch, best_epoch)


def one_cycle(steps: int, peak: float) -> FloatArray:
    """Learning rates (steps,): a cosine up from peak/25 over the first 30%, then one down to peak/250,000.

    The schedule of Smith and Topin (arXiv 1708.07120) in the form that PyTorch made common.
    """
    low, end = peak / 25.0, peak / 25.0 / 1e4
    turn = 0.3 * steps - 1.0
    at = np.arange(steps)
    up = _cosine(low, peak, np.clip(at / max(turn, 1.0), 0.0, 1.0))
    down = _cosine(peak, end, np.clip((at - turn) / max(steps - 1.0 - turn, 1.0), 0.0, 1.0))
    return np.where(at <= turn, up, down)


def _cosine(start: float, end: float, share: FloatArray) -> FloatArray:
    return end + (start - end) / 2.0 * (1.0 + np.cos(np.pi * share))


def split_rows(
    goal: Target, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of rows to train on and to hold out, each spread evenly over the target's values."""
    count = len(goal.values)
    shuffled = rng.permutation(count)
    ranked = shuffled[np.argsort(goal.values[shuffled], kind="stable")]
    # Of every run of 1/share neighbours in rank, one at random is held out.
    groups = max(1, round(count * share))
    edges = np.linspace(0, count, groups + 1).astype(int)
    held_out = np.array([ranked[rng.integers(a, b)] for a, b in pairwise(edges)])
    chosen = np.zeros(count, bool)
    chosen[held_out] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


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
    return frame[
        [name for name in frame if name == target or (name in wanted and name not in settings.exclude)]
    ]


def _pair_positions(space: FeatureSpace, settings: FitSettings) -> list[tuple[int, int]]:
    if settings.pairs and settings.curves == "linear":
        raise UserError("pairs need piecewise curves: the plain affine pencil (curves linear) has none")
    for name in (name for pair in settings.pairs for name in pair):
        if name not in space.names:
            raise UserError(f"pairs: no feature {name!r}; the features are {', '.join(space.names)}")
    pairs = [(space.names.index(a), space.names.index(b)) for a, b in settings.pairs]
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise UserError("pairs: a pair is named twice")
    return pairs
