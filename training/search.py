"""The search for a table's configuration: candidates judged on rows they have not seen, by successive halving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.features import FloatArray
from model.threads import num_threads
from training.gam import AdditiveModel
from training.journal import Journal
from training.kernel import Float32, Plan, Rows, member_scores, train_epoch, workspace
from training.losses import losses
from training.members import Blueprint, identity_params, new_member
from training.progress import Reporter
from training.schedule import one_cycle

T = TypeVar("T")

#: Groups of curves that candidates switch and penalise as one.
MAIN, COARSE, FINE = range(3)


@dataclass(frozen=True)
class Candidate:
    """One way to train members.

    Attributes:
        penalties: L2 strength on the curves of single features, coarse pairs and fine pairs; None leaves a group out.
        additive_start: members start at, and are drawn to, the additive model instead of zero.
    """

    penalties: tuple[float | None, float | None, float | None]
    additive_start: bool


#: The plain affine pencil of the literature has few parameters and no penalty.
PLAIN = (Candidate((0.0, None, None), additive_start=False),)
#: Strong and weak penalties, with and without pairs. Measured on 17 tables: each is the best of some.
CANDIDATES = tuple(
    Candidate(penalties, start)
    for penalties, start in (
        ((2.0, None, None), True),
        ((8.0, None, None), True),
        ((1.0, None, None), False),
        ((4.0, None, None), False),
        ((2.0, 2.0, None), True),
        ((8.0, 8.0, None), True),
        ((2.0, 2.0, None), False),
        ((0.5, 0.5, 0.5), False),
        ((2.0, None, 2.0), False),
        ((2.0, 2.0, 2.0), False),
        ((4.0, 4.0, 4.0), True),
    )
)


class TrainedMember(NamedTuple):
    """A member's parameters, its offset (O,) and its scores (rows of the fold left out, O)."""

    params: Float32
    offset: FloatArray
    scores: FloatArray


@dataclass(frozen=True)
class Workbench:
    """What every candidate is trained on.

    Attributes:
        blueprint: all curves.
        groups: (C,), MAIN, COARSE or FINE for each curve.
        rows: where the rows stand.
        fold: (N,), 0 ... folds - 1.
        candidates: ways to train that come into question.
        additive: the additive model, whose parameters are the first of the blueprint's; None without one.
        start: (O,), scores to start from without it.
        judging: the loss by which candidates are compared, and its parameter.
        batch, learning_rate, seed: of the training.
    """

    blueprint: Blueprint
    groups: NDArray[np.int64]
    rows: Rows
    fold: NDArray[np.int64]
    candidates: Sequence[Candidate]
    additive: AdditiveModel | None
    start: FloatArray
    judging: tuple[int, float]
    batch: int
    learning_rate: float
    seed: int

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def suitable(self) -> list[Candidate]:
        """The candidates whose curves exist, and whose start."""
        present = [bool((self.groups == group).any()) for group in (MAIN, COARSE, FINE)]
        return [
            candidate
            for candidate in self.candidates
            if all(present[group] for group, p in enumerate(candidate.penalties) if p is not None)
            and (self.additive is not None or not candidate.additive_start)
        ]

    def train(
        self, candidate: Candidate, steps: int, fold: int | None, key: tuple[int, ...], stop: Event
    ) -> TrainedMember:
        """Train a member outside one fold, or on all rows.

        Args:
            candidate: how.
            steps: optimiser steps.
            fold: the fold left out; None for none.
            key: tells its random stream from those of other members.
            stop: set when it should give up.

        Raises:
            CancelledError: ``stop`` was set.
        """
        plan, penalty, active = self._plan(candidate)
        train = np.flatnonzero(self.fold != fold) if fold is not None else np.arange(len(self.fold))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        anchor, offset = self._anchor(candidate, fold)
        member = new_member(self.blueprint, anchor, offset, active, rng)
        space = workspace(plan, self.batch)
        rates = one_cycle(steps, self.learning_rate)
        penalty = penalty / np.float32(len(train))
        batch = min(self.batch, len(train))
        per_epoch = len(train) // batch
        for first in range(0, steps, per_epoch):
            if stop.is_set():
                raise CancelledError
            order = rng.permutation(train)
            train_epoch(plan, self.rows, order, batch, rates[first : first + per_epoch], penalty, member, space)
        held = np.flatnonzero(self.fold == fold) if fold is not None else np.empty(0, np.int64)
        scores = np.empty((len(held), plan.num_outputs))
        member_scores(plan, self.rows, held, member.params, member.offset, space, scores)
        return TrainedMember(member.params, member.offset, scores)

    def loss(self, scores: FloatArray) -> float:
        """Mean loss of out-of-fold scores (N, O), by which candidates are compared."""
        rows = self.rows
        return float((rows.sample_weight * losses(*self.judging, scores, rows.target.astype(np.float64))).mean())

    def step_seconds(self, candidate: Candidate) -> float:
        """About how long an optimiser step takes on one core.

        A model of the cost, not a clock, so that a budget gives the same fit each time. Measured: 0.1
        microseconds per eigenpair, 4 nanoseconds per curve of a row, 6 per row of parameters (at 2.6 GHz).
        """
        plan, _, active = self._plan(candidate)
        per_row = 0.1 + 0.004 * len(plan.active)
        return 1e-6 * plan.num_outputs * (self.batch * per_row + 0.006 * float(active.sum()))

    def _plan(self, candidate: Candidate) -> tuple[Plan, Float32, NDArray[np.bool_]]:
        """The kernels' plan, penalties per parameter, and which parameters are active."""
        plan = self.blueprint.plan
        strengths = np.array([np.nan if p is None else p for p in candidate.penalties])[self.groups]
        curve_of_param = np.repeat(np.arange(len(self.groups)), np.diff(plan.param_offsets)[:-1])
        penalty = np.append(strengths[curve_of_param], 0.0)  # the constant matrix, the chain, goes free
        used = np.flatnonzero(np.isfinite(strengths))
        return plan._replace(active=used), np.nan_to_num(penalty).astype(np.float32), np.isfinite(penalty)

    def _anchor(self, candidate: Candidate, fold: int | None) -> tuple[Float32, FloatArray]:
        if not candidate.additive_start or self.additive is None:
            return identity_params(self.blueprint, np.zeros((0, self.blueprint.plan.num_outputs))), self.start
        at = -1 if fold is None else fold
        return identity_params(self.blueprint, self.additive.coefficients[at]), self.additive.offsets[at]


@dataclass(frozen=True)
class Judged:
    """A candidate trained for some steps, with the scores (N, O) it gives to rows it has not seen.

    ``candidate`` None is the additive model itself.
    """

    candidate: Candidate | None
    steps: int
    scores: FloatArray
    loss: float


@dataclass(frozen=True)
class Rung:
    """A round of the search.

    Attributes:
        steps: optimiser steps of each member.
        candidates: how many take part, at most.
        repeats: members of each candidate and fold, with streams of their own.
    """

    steps: int
    candidates: int
    repeats: int


#: The search in full. Later rounds train longer; two members of a candidate show what averaging them gains.
RUNGS = (Rung(300, 100, 1), Rung(1200, 4, 2), Rung(4800, 2, 2), Rung(16_000, 1, 2))
#: A round that brings less than this share of the loss is the last one.
MIN_IMPROVEMENT = 0.004


#: Cores that a budget is reckoned on, whatever this machine has: more must not give another model.
BUDGET_CORES = 2


def rungs_within(bench: Workbench, budget_s: float, members: int) -> tuple[Rung, ...]:
    """As many rounds of the search as fit, with the training of the finished members, into a budget (seconds).

    The first round always runs.
    """
    costs = sorted((bench.step_seconds(c) for c in bench.suitable()), reverse=True)
    spent = 0.0
    chosen: list[Rung] = []
    for rung in RUNGS:
        spent += rung.steps * rung.repeats * bench.folds * sum(costs[: rung.candidates])
        if chosen and (spent + members * rung.steps * costs[0]) / BUDGET_CORES > budget_s:
            break
        chosen.append(rung)
    return tuple(chosen)


def search(
    bench: Workbench, rungs: Sequence[Rung], reporter: Reporter, journal: Journal | None = None
) -> tuple[list[Judged], bool]:
    """Judge all candidates with few steps, the best of them with more, and so on.

    Interrupted, it returns what it has judged so far, unless that is nothing.

    Returns:
        All that was judged, and whether that is all there was to judge.
    """

    def job(candidate: Candidate, steps: int, key: tuple[int, ...], stop: Event) -> FloatArray:
        found = journal.scores(key) if journal is not None else None
        if found is None:
            found = bench.train(candidate, steps, key[-1], key, stop).scores
            if journal is not None:
                journal.keep(key, found)
        return found

    judged: list[Judged] = []
    if bench.additive is not None:
        scores = bench.additive.out_of_fold
        judged.append(Judged(None, 0, scores, bench.loss(scores)))
    running = list(enumerate(bench.suitable()))
    total = sum(rung.steps * rung.repeats * min(rung.candidates, len(running)) for rung in rungs) * bench.folds
    done, reached = 0, np.inf
    try:
        for level, rung in enumerate(rungs):
            running = running[: rung.candidates]
            ranking = []
            tasks = [(i, c, r, f) for i, c in running for r in range(rung.repeats) for f in range(bench.folds)]
            results = run_jobs([partial(job, c, rung.steps, (level, i, r, f)) for i, c, r, f in tasks])
            scores = np.empty((len(bench.fold), bench.blueprint.plan.num_outputs))
            for (i, candidate, _, f), found in zip(tasks, results, strict=True):
                done += rung.steps
                scores[bench.fold == f] = found
                if f == bench.folds - 1:
                    judged.append(Judged(candidate, rung.steps, scores.copy(), bench.loss(scores)))
                    ranking.append((judged[-1].loss, i, candidate))
                reporter.advance(done, total, _standing(judged))
            best = sorted(ranking, key=lambda entry: entry[:2])
            running = list({i: (i, candidate) for _, i, candidate in best}.values())
            if np.isfinite(reached) and reached - best[0][0] < MIN_IMPROVEMENT * abs(reached):
                reporter.advance(total, total, _standing(judged))
                break
            reached = best[0][0]
    except KeyboardInterrupt:
        if not judged:
            raise
        reporter.say("stopped: going on with the best so far")
        return judged, False
    return judged, True


def run_jobs(jobs: Sequence[Callable[[Event], T]]) -> Iterator[T]:
    """Results of all jobs in their order, run by as many threads as there are.

    Each is called with an event that is set when it should give up.
    """
    stop = Event()
    with ThreadPoolExecutor(num_threads()) as pool:
        futures = [pool.submit(job, stop) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _standing(judged: Sequence[Judged]) -> str:
    return f"best out-of-fold loss {min(j.loss for j in judged):.5g}" if judged else "judging candidates"


def blend(judged: Sequence[Judged], members: int, loss: Callable[[FloatArray], float]) -> list[Judged]:
    """``members`` picks, with repetition, whose mean score has the least out-of-fold loss, found greedily.

    Caruana et al., Ensemble selection from libraries of models, 2004.
    """
    picks: list[Judged] = []
    total = np.zeros_like(judged[0].scores)
    for count in range(1, members + 1):
        best = min(judged, key=lambda j: loss((total + j.scores) / count))
        picks.append(best)
        total = total + best.scores
    return picks
