"""Fit a model to a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.plausibility import example_row, measure_typicality
from eigenserve.model.monitoring import CARD_KEY, SKETCHED_ROWS, make_sketch, sketch_document, spread
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.additive.pairs import pair_term
from eigenserve.training.data.categories.census import Beyond
from eigenserve.training.data.columns import Columns, read_columns
from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.audit import audit
from eigenserve.training.evaluation.intervals import prediction_intervals
from eigenserve.training.evaluation.metrics import score_metrics
from eigenserve.training.evaluation.model_tables import READING_KEY
from eigenserve.training.evaluation.seen_rows import smallest_hashes
from eigenserve.training.planning.clock import Clock
from eigenserve.training.planning.machine import this_machine
from eigenserve.training.planning.phases import Phases
from eigenserve.training.planning.plan import FitPlan
from eigenserve.training.progress import Reporter, Silent
from eigenserve.training.releases import releases
from eigenserve.training.search.assemble import proved_of
from eigenserve.training.search.blends.blend import best_blend
from eigenserve.training.search.blends.steadiness import steadiest_blend, trade_off
from eigenserve.training.search.calibration import calibration
from eigenserve.training.search.fixed_length import train_fixed
from eigenserve.training.search.halving import LENGTHS, Search
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.judged import Judged, described
from eigenserve.training.search.on_device.devices import check_device
from eigenserve.training.search.preparation.ahead import start_compiling
from eigenserve.training.search.preparation.counted import census_of, count_targets
from eigenserve.training.search.preparation.learnable import check_numbers
from eigenserve.training.search.preparation.links import prepare_linked
from eigenserve.training.search.preparation.planned import plan_all
from eigenserve.training.search.preparation.priming import prime_kernels
from eigenserve.training.search.preparation.rare_class import as_if_uniform
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.refit import joined_picks, train_picks
from eigenserve.training.search.workbench import TrainedMember
from eigenserve.training.settings import FitSettings
from eigenserve.training.training_table import TrainingTable, training_table

MIN_ROWS = 20


@dataclass(frozen=True)
class Fitted:
    """Hold a trained model and what training reports about it.

    Attributes:
        model: the model, with metrics, settings and the data's fingerprint in its card.
        target: of the N rows that were held out, which are all unless ``epochs`` was given.
        scores: (N, O), the score of each row by members that have not seen it.
        weight: (N,), how much each row counted.
        notes: what the user should know about the data.
        columns: (rows, F), all rows or a uniform sample of them, as the model's feature space encodes them.
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
    clock: Clock | None = None,
) -> Fitted:
    """Train a model that predicts the column ``target`` from the others.

    The same table and settings give the same model, bit for bit, whatever the number of threads, unless the clock has
    to end a phase early (see ``FitSettings.reproducible``) or the machine is so slow that less is planned.
    Interrupted (Ctrl-C), it goes on with the best candidates so far. A ``journal`` keeps what the search has
    finished, and hands it back to a fit of the same table, target and settings. ``ranks`` share the training out
    among processes that all call this with the same table and settings, and all get the same. ``clock`` is that of
    the budget, if it began before.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    table = frame if isinstance(frame, TrainingTable) else training_table(frame, target, settings)
    if len(table.features) < MIN_ROWS:
        raise UserError(f"at least {MIN_ROWS} rows are needed; got {len(table.features)}")
    fitted = fit_rows(
        table.features,
        table.target,
        table.weight,
        settings,
        reporter,
        journal,
        ranks,
        table.readings,
        clock,
        table.beyond,
    )
    card = {**fitted.model.card, "data": {"rows": table.rows, "sha256": table.sha256}}
    if table.target_reading != PLAIN:
        card[READING_KEY] = asdict(table.target_reading)
    return replace(fitted, model=replace(fitted.model, card=card), notes=(*table.notes, *fitted.notes))


def plan(frame: pd.DataFrame | TrainingTable, target: str, settings: FitSettings) -> FitPlan:
    """Plan what ``fit`` would do within the budget of time and memory.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    table = frame if isinstance(frame, TrainingTable) else training_table(frame, target, settings)
    space = infer_features(table.features, readings=table.readings)
    found, counted = plan_all(space, table.features, table.target, settings, table.beyond)
    if not counted.features:
        return found
    note = counted.said(*count_targets(table.target, table.beyond), table.target.name)
    return replace(found, notes=(*found.notes, note))


def fit_rows(
    table: pd.DataFrame,
    goal: Target,
    weight: FloatArray,
    settings: FitSettings,
    reporter: Reporter | None = None,
    journal: Journal | None = None,
    ranks: Ranks | None = None,
    readings: Mapping[str, Reading] | None = None,
    clock: Clock | None = None,
    beyond: Beyond | None = None,
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
        clock: of the budget.
        beyond: the table that the rows are a sample of, if they are.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    check_device(settings.device)
    # The matrices are small, so that BLAS gains nothing by threads: on busy cores they wait for each other
    # (measured: 200 rows in 8.7 s instead of 0.4 s), and the last digits would depend on how many there are.
    with threadpool_limits(1, user_api="blas"):
        clock = clock or Clock(settings.clock_s)
        with clock.paused():
            prime_kernels()
        read = Columns(table, readings) if readings is not None else read_columns(table)
        fitted = _fit_rows(read, goal, weight, settings, reporter or Silent(), journal, ranks or Ranks(), clock, beyond)
        return replace(fitted, notes=(*read.notes, *fitted.notes))


def _fit_rows(
    read: Columns,
    goal: Target,
    weight: FloatArray,
    settings: FitSettings,
    reporter: Reporter,
    journal: Journal | None,
    ranks: Ranks,
    clock: Clock,
    beyond: Beyond | None,
) -> Fitted:
    check_numbers(goal)
    table = read.frame
    space = infer_features(table, settings.bent, settings.shaped, read.readings)
    usual = as_if_uniform(None if beyond is None else beyond.stands_for, len(table), settings.seed)
    # Processes that share a fit must decide alike: what one of them has timed, and no clock.
    (plan, counted), machine = ranks.agree(
        lambda: (plan_all(space, table, goal, settings, beyond), this_machine(settings.by_plan_alone))
    )
    scope, alone = plan.scope, ranks.size == 1
    phases = Phases(reporter, plan.seconds, clock if alone else None)
    if counted.features:
        phases.say("counting the categories of all rows")
    space, census, counts = ranks.agree(lambda: census_of(space, counted, goal, table, beyond, settings))
    if scope.rows < len(table):
        part = np.sort(np.random.default_rng(settings.seed).choice(len(table), scope.rows, replace=False))
        table, goal, weight, usual = table.iloc[part], goal.rows(part), weight[part], usual[part]
        check_numbers(goal)
    columns = space.encode(table)
    phases.begin("additive", "fitting the additive model")
    core_seconds = machine.cores * (plan.seconds["search"] + plan.seconds["refit"]) / machine.slowness
    sample, bench, gains = ranks.agree(
        lambda: prepare_linked(space, columns, goal, weight, settings, scope, clock, 0.25 * core_seconds, census)
    )
    space = sample.space
    shift, scale, log_link = sample.shift, sample.scale, sample.objective.log_link
    trained: list[TrainedMember] | None = None
    phases.begin("search")
    search = Search(
        bench,
        lambda dim: min(settings.members_of(dim), scope.members),
        phases,
        journal,
        ranks,
        first_steps=scope.steps,
        # A member is trained to its end after the search.
        late=clock.late("search", lambda: ranks.longest_s) if settings.epochs is None and alone else _never,
    )
    if settings.epochs is None:
        search.run(core_s=core_seconds)
        library = search.library()
    else:
        steps = settings.epochs * max(1, len(bench.fold) // bench.batch)
        if len(bench.suitable()) == 1 and bench.additive is None:
            members = search.members_of(settings.usual_dim)
            only, trained = train_fixed(bench, steps, members, phases, journal, ranks)
            search.judged = [only]
        else:
            search.run((min(LENGTHS[0], steps), steps), math.inf, vary=False)
        library = [entry for entry in search.judged if entry.steps == steps and len(entry.scores)] or search.library()
    picks = best_blend(library, search.members_of, bench.loss)
    compared: list[dict[str, float | bool]] = []
    late_refit = clock.late("refit") if alone else _never
    if settings.stable and trained is None:
        phases.say("looking for the blend with the steadiest explanations")
        picks, compared = steadiest_blend(
            picks,
            library,
            len(picks),
            bench,
            lambda ensemble: Predictor(goal.task, goal.name, space, ensemble, goal.classes, log_link=log_link),
            columns,
            ranks,
            late_refit,
        )
        phases.say(trade_off(compared))
    refit_s = sum(
        pick.steps_on_all_rows * bench.step_seconds(pick.candidate) for pick in picks if pick.candidate is not None
    )
    phases.begin("refit", "training the members on all rows", machine.slowness * refit_s / machine.cores)
    wanted = len(picks)
    if trained is None:
        picks, trained = train_picks(bench, picks, phases, ranks, late_refit)
    # Of the picks that the model has: what the clock left out has no share in the figures.
    held = np.flatnonzero(bench.fold >= 0)
    scores = np.mean([pick.scores[held] for pick in picks], axis=0)
    if not settings.max_strength:  # stretched scores would break a cap
        stretch, move = calibration(sample.objective.judging[0], scores, sample.target[held], weight[held])
        scale, shift = scale * stretch, shift + scale * move
    scores = shift + scale * scores
    folds, judged, complete = bench.folds, tuple(search.judged), search.complete
    ensemble = joined_picks(bench, picks, trained, scale, shift)
    # The places of all rows on all curves are most of a fit's memory, and the report needs none of them.
    del bench, search, sample
    phases.begin("report", "measuring the model")
    start_compiling().wait_for("explaining")
    model = SpectralModel(goal.task, goal.name, space, ensemble, goal.classes, log_link=log_link)
    unseen = goal.rows(held)
    metrics = score_metrics(model, scores, unseen, weight[held], settings.deviance_power(goal.task))
    shown = spread(columns[usual], SKETCHED_ROWS)
    typical = measure_typicality(space, shown)
    card: dict[str, Any] = {
        "metrics": {"out_of_fold": {"rows": metrics.rows, **metrics.values}},
        "training": {
            "settings": asdict(settings),
            "rows": len(table),
            "folds": folds,
            **({"category_rows": dict.fromkeys(census.counts, census.rows)} if census is not None else {}),
            "members": described(picks),
            **({"stable": compared} if compared else {}),
            "pairs": [
                {
                    "term": pair_term(space, g.pair).name,
                    "gain": g.gain,
                    "standard_errors": g.standard_errors,
                    "gaps_of": None if g.gaps_of is None else space.names[g.gaps_of],
                }
                for g in gains
            ],
        },
        "typicality": typical.document(),
        "example": example_row(space, shown, typical),
        "training_rows": smallest_hashes(columns, goal.values),
        "libraries": releases(),
    }
    if goal.task == "regression":
        card |= prediction_intervals(model.values(scores), unseen.values, weight[held])
    if proved := proved_of(settings, model):
        card["certificates"] = proved
    card[CARD_KEY] = sketch_document(make_sketch(model, columns[usual]))
    return Fitted(
        model=replace(model, card=card),
        target=unseen,
        scores=scores,
        weight=weight[held],
        notes=(
            *plan.notes,
            *counts,
            *clock.notes,
            *_fewer(len(picks), wanted),
            *audit(table, space, columns, goal, weight, census),
        ),
        columns=columns[usual],
        judged=judged,
        complete=complete,
    )


def _fewer(members: int, wanted: int) -> Iterator[str]:
    """Say that the clock left out members of the model."""
    if members < wanted:
        yield (
            f"the model is the mean of {members} instead of {wanted} members, since the budget ended; its out-of-fold "
            "figures are those of the members it has"
        )


def _never() -> bool:
    return False
