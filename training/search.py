"""The search for a table's configuration: candidates judged on rows they have not seen, by successive halving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.features import FloatArray
from model.threads import num_threads
from training.gam import AdditiveModel
from training.kernel import Float32, Plan, Rows, member_scores, train_epoch, workspace
from training.losses import HUBER, SQUARED, losses
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
        ((2.0, 2.0, 2.0), False),
        ((4.0, 4.0, 4.0), True),
    )
)


@dataclass(frozen=True)
class Workbench:
    """What every candidate is trained on.

    Attributes:
        blueprint: all curves.
        groups: (C,), MAIN, COARSE or FINE for each curve.
        rows: where the rows stand.
        fold: (N,), 0 ... folds - 1.
        additive: the additive model, whose parameters are the first of the blueprint's; None without one.
        start: (O,), scores to start from without it.
        batch, learning_rate, seed: of the training.
    """

    blueprint: Blueprint
    groups: NDArray[np.int64]
    rows: Rows
    fold: NDArray[np.int64]
    additive: AdditiveModel | None
    start: FloatArray
    batch: int
    learning_rate: float
    seed: int

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def suits(self, candidate: Candidate) -> bool:
        """Whether the curves that it asks for exist, and a start."""
        wanted = all((self.groups == g).any() for g, p in enumerate(candidate.penalties) if p is not None)
        return wanted and (self.additive is not None or not candidate.additive_start)

    def train(
        self, candidate: Candidate, steps: int, fold: int | None, key: tuple[int, ...]
    ) -> tuple[Float32, FloatArray, FloatArray]:
        """Train a member outside one fold, or on all rows.

        Args:
            candidate: how.
            steps: optimiser steps.
            fold: the fold left out; None for none.
            key: tells its random stream from those of other members.

        Returns:
            Its params, its offset, and its scores (rows of the fold, O).
        """
        plan, penalty, active = self._plan(candidate)
        train = np.flatnonzero(self.fold != fold) if fold is not None else np.arange(len(self.fold))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        anchor, offset = self._anchor(candidate, fold)
        member = new_member(self.blueprint, anchor, offset, active, rng)
        space = workspace(plan, self.batch)
        rates = one_cycle(steps, self.learning_rate)
        penalty = penalty / np.float32(len(train))
        per_epoch = max(1, len(train) // self.batch)
        for first in range(0, steps, per_epoch):
            order = rng.permutation(train)
            train_epoch(plan, self.rows, order, self.batch, rates[first : first + per_epoch], penalty, member, space)
        held = np.flatnonzero(self.fold == fold) if fold is not None else np.empty(0, np.int64)
        scores = np.empty((len(held), plan.num_outputs))
        member_scores(plan, self.rows, held, member.params, member.offset, space, scores)
        return member.params, member.offset, scores

    def loss(self, scores: FloatArray) -> float:
        """Mean loss of out-of-fold scores (N, O); squared for every regression, so that candidates compare."""
        plan, rows = self.blueprint.plan, self.rows
        kind = SQUARED if plan.loss == HUBER else plan.loss
        return float((rows.sample_weight * losses(kind, 0.0, scores, rows.target.astype(np.float64))).mean())

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


def search(bench: Workbench, rungs: Sequence[tuple[int, int]], reporter: Reporter) -> list[Judged]:
    """Judge all candidates with few steps, the best of them with more, and so on.

    Args:
        bench: what they are trained on.
        rungs: (steps, how many candidates take them).
        reporter: told of each.
    """
    judged: list[Judged] = []
    if bench.additive is not None:
        scores = bench.additive.out_of_fold
        judged.append(Judged(None, 0, scores, bench.loss(scores)))
    running = [(index, c) for index, c in enumerate(CANDIDATES) if bench.suits(c)]
    total = sum(steps * min(count, len(running)) for steps, count in rungs) * bench.folds
    done = 0
    for rung, (steps, count) in enumerate(rungs):
        running = running[:count]
        jobs = [
            (lambda c=c, f=f, i=index: bench.train(c, steps, f, (rung, i, f))[2])  # type: ignore[misc]
            for index, c in running
            for f in range(bench.folds)
        ]

        def tell(steps: int = steps) -> None:
            nonlocal done
            done += steps
            reporter.advance(done, total, _standing(judged))

        found = run_jobs(jobs, tell)
        ranking = []
        for position, (index, candidate) in enumerate(running):
            scores = np.empty((len(bench.fold), bench.blueprint.plan.num_outputs))
            for f in range(bench.folds):
                scores[bench.fold == f] = found[position * bench.folds + f]
            judged.append(Judged(candidate, steps, scores, bench.loss(scores)))
            ranking.append((judged[-1].loss, index, candidate))
        running = [(index, candidate) for _, index, candidate in sorted(ranking, key=lambda r: r[:2])]
    return judged


def run_jobs(jobs: Sequence[Callable[[], T]], tell: Callable[[], None]) -> list[T]:
    """Results of all jobs in their order, run by as many threads as there are; ``tell`` after each."""
    with ThreadPoolExecutor(num_threads()) as pool:
        futures = [pool.submit(job) for job in jobs]
        results = []
        try:
            for future in futures:
                results.append(future.result())
                tell()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return results


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
