"""Fit a model to a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.readings import Reading
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.additive.pairs import pair_term
from eigenserve.training.data.audit import audit
from eigenserve.training.data.columns import Columns, read_columns
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.metrics import score_metrics
from eigenserve.training.progress import Reporter, Silent
from eigenserve.training.releases import releases
from eigenserve.training.search.calibration import calibration, interval_radii
from eigenserve.training.search.fixed_length import REFIT, train_fixed
from eigenserve.training.search.halving import Judged, blend, run_jobs, rungs_for, rungs_within, search
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.links import prepare_linked
from eigenserve.training.search.members import build_ensemble, identity_params
from eigenserve.training.search.promises import proved_of
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.workbench import TrainedMember, Workbench
from eigenserve.training.settings import FitSettings
from eigenserve.training.training_table import TrainingTable, training_table

MIN_ROWS = 20
#: The largest number of a target must lie between these sizes: beyond, its squares leave float64 in metrics and scales.
SIZES = 1e-100, 1e100


@dataclass(frozen=True)
class Fitted:
    """Hold a trained model and what training reports about it.

    Attributes:
        model: the model, with metrics, settings and the data's fingerprint in its card.
        target: of the N rows that were held out, which are all unless ``epochs`` was given.
        scores: (N, O), the score of each row by members that have not seen it.
        weight: (N,), how much each row counted.
        notes: what the user should know about the data.
        columns: (all rows, F), as the model's feature space encodes them.
        judged: what the search tried, in the order in which it did.
        complete: false if the search was interrupted.
    """

    model: SpectralModel
    target: Target
    scores: FloatArray
    weight: FloatArray
    notes: tuple[str, ...]
    columns: FloatArray
    judged: tuple[Judged, ...]
    complete: bool


def fit(
    frame: pd.DataFrame | TrainingTable,
    target: str,
    settings: FitSettings,
    reporter: Reporter | None = None,
    journal: Journal | None = None,
    ranks: Ranks | None = None,
) -> Fitted:
    """Train a model that predicts the column ``target`` from the others.

    The same table, settings and machine give the same model, bit for bit, whatever the number of threads.
    Interrupted (Ctrl-C), it goes on with the best candidates so far. A ``journal`` keeps what the search has
    finished, and hands it back to a fit of the same table, target and settings. ``ranks`` share the training out
    among processes that all call this with the same table and settings, and all get the same.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    table = frame if isinstance(frame, TrainingTable) else training_table(frame, target, settings)
    if len(table.features) < MIN_ROWS:
        raise UserError(f"at least {MIN_ROWS} rows are needed; got {len(table.features)}")
    fitted = fit_rows(table.features, table.target, table.weight, settings, reporter, journal, ranks, table.readings)
    card = {**fitted.model.card, "data": {"rows": table.rows, "sha256": table.sha256}}
    return replace(fitted, model=replace(fitted.model, card=card), notes=(*table.notes, *fitted.notes))


def fit_rows(
    table: pd.DataFrame,
    goal: Target,
    weight: FloatArray,
    settings: FitSettings,
    reporter: Reporter | None = None,
    journal: Journal | None = None,
    ranks: Ranks | None = None,
    readings: Mapping[str, Reading] | None = None,
) -> Fitted:
    """Fit rows whose target and weights are at hand already.

    Args:
        table: the N rows' features, all of which are used.
        goal: their targets.
        weight: (N,), positive.
        settings: those that name columns, and ``task``, are ignored.
        reporter: receives how far it has come.
        journal: of the search.
        ranks: the processes that share the training.
        readings: how the columns' texts are read; None for a table of raw values, which is then read here.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    # The matrices are small, so that BLAS gains nothing by threads: on busy cores they wait for each other
    # (measured: 200 rows in 8.7 s instead of 0.4 s), and the last digits would depend on how many there are.
    with threadpool_limits(1, user_api="blas"):
        read = Columns(table, readings) if readings is not None else read_columns(table)
        fitted = _fit_rows(read.frame, goal, weight, settings, reporter or Silent(), journal, ranks or Ranks(), read)
        return replace(fitted, notes=(*read.notes, *fitted.notes))


def _fit_rows(
    table: pd.DataFrame,
    goal: Target,
    weight: FloatArray,
    settings: FitSettings,
    reporter: Reporter,
    journal: Journal | None,
    ranks: Ranks,
    read: Columns,
) -> Fitted:
    _check_size(goal)
    bent = {*settings.convex, *settings.concave}
    shaped = bent | {name for name, _ in (*settings.monotone, *settings.max_strength)}
    space = infer_features(table, bent, shaped, read.readings)
    columns = space.encode(table)
    sample, bench, gains = ranks.agree(lambda: prepare_linked(space, columns, goal, weight, settings))
    shift, scale, log_link = sample.shift, sample.scale, sample.objective.log_link
    trained: list[TrainedMember] | None = None
    if settings.epochs is None:
        rungs = rungs_within(bench, settings.budget, settings.members)
        judged, complete = search(bench, rungs, reporter, journal, ranks)
        eligible = judged
    else:
        steps = settings.epochs * max(1, len(bench.fold) // bench.batch)
        if len(bench.suitable()) == 1 and bench.additive is None:
            only, trained = train_fixed(bench, steps, settings.members, reporter, journal, ranks)
            judged, complete = [only], True
        else:
            judged, complete = search(bench, rungs_for(bench, steps), reporter, journal, ranks)
        eligible = [entry for entry in judged if entry.steps == steps] or judged
    picks = blend(eligible, settings.members, bench.loss)
    held = np.flatnonzero(bench.fold >= 0)
    scores = np.mean([pick.scores[held] for pick in picks], axis=0)
    if not settings.max_strength:  # stretched scores would break a cap
        stretch, move = calibration(sample.objective.judging[0], scores, sample.target[held], weight[held])
        scale, shift = scale * stretch, shift + scale * move
    scores = shift + scale * scores
    ensemble = refit(bench, picks, scale, shift, reporter, trained, ranks)
    model = SpectralModel(goal.task, goal.name, space, ensemble, goal.classes, log_link=log_link)
    unseen = replace(goal, values=goal.values[held])
    metrics = score_metrics(model, scores, unseen, weight[held])
    card: dict[str, Any] = {
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
        "libraries": releases(),
    }
    if goal.task == "regression":
        card["intervals"] = interval_radii(model.values(scores), unseen.values, weight[held])
    if proved := proved_of(settings, model):
        card["certificates"] = proved
    return Fitted(
        model=replace(model, card=card),
        target=unseen,
        scores=scores,
        weight=weight[held],
        notes=tuple(audit(table, space, columns, goal, weight)),
        columns=columns,
        judged=tuple(judged),
        complete=complete,
    )


def refit(
    bench: Workbench,
    picks: Sequence[Judged],
    scale: float,
    shift: float,
    reporter: Reporter | None = None,
    done: Sequence[TrainedMember] | None = None,
    ranks: Ranks | None = None,
) -> SpectralEnsemble:
    """Train a member for each pick on all rows, for as many steps as it was picked with, and join them.

    Picks of the additive model share one member. ``done`` are the members, if they are trained already.
    """
    trained = [(pick.candidate, pick.steps) for pick in picks if pick.candidate is not None]
    members = [(member.params, member.offset) for member in done or ()]
    if done is None:
        jobs = [
            partial(bench.train, candidate, steps, None, (REFIT, i)) for i, (candidate, steps) in enumerate(trained)
        ]
        for member in run_jobs(jobs, ranks):
            members.append((member.params, member.offset))
            (reporter or Silent()).advance(len(members), len(jobs), "training the members on all rows")
    weights = [1.0 / len(picks)] * len(members)
    if len(trained) < len(picks):
        assert bench.additive is not None
        coefficients, offsets = bench.additive.coefficients[-1], bench.additive.offsets[-1]
        members.append((identity_params(bench.blueprint, coefficients), offsets))
        weights.append(1.0 - sum(weights))
    return build_ensemble(bench.blueprint, members, np.array(weights), bench.rows, scale, shift)


def _check_size(goal: Target) -> None:
    largest = 0.0 if goal.classes else float(np.abs(goal.values).max())
    if largest and not SIZES[0] <= largest <= SIZES[1]:
        raise UserError(
            f"target {goal.name!r} must have a largest absolute value between {SIZES[0]:g} and {SIZES[1]:g}; "
            f"got {largest:.3g}: rescale the target"
        )


def _describe(picks: Sequence[Judged]) -> list[dict[str, Any]]:
    """Describe the members, for the card."""
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
