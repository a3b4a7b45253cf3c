"""Search for a table's configuration: candidates judged on rows they have not seen, by successive halving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from time import thread_time
from typing import TypeVar

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.threads import num_threads
from eigenserve.training.progress import Reporter
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.workbench import Candidate, Workbench

T = TypeVar("T")


@dataclass(frozen=True)
class Judged:
    """Hold a candidate trained for some steps, with the scores (N, O) it gives to rows it has not seen.

    ``candidate`` None is the additive model itself.
    """

    candidate: Candidate | None
    steps: int
    scores: FloatArray
    loss: float


@dataclass(frozen=True)
class Rung:
    """Describe a round of the search.

    Attributes:
        steps: optimiser steps of each member.
        candidates: how many take part, at most.
        repeats: members of each candidate and fold, with streams of their own.
    """

    steps: int
    candidates: int
    repeats: int


#: The search in full. Later rounds train longer; two members of a candidate show what averaging them gains. At 1,200
#: steps that is not worth its time on long tables (measured out of fold, California housing: nothing), and six
#: candidates let those in that start slowly (adult census income: log loss 0.2819 instead of 0.2834).
RUNGS = (Rung(300, 100, 1), Rung(1200, 6, 1), Rung(4800, 2, 2), Rung(16_000, 1, 2))
#: Below so many rows every round trains two: there each is cheap, and says little by itself.
SMALL_ROWS = 2_000
#: A round that brings less than this share of the loss is the last one.
MIN_IMPROVEMENT = 0.004


#: Cores that a budget is reckoned on, whatever this machine has: more must not give another model.
BUDGET_CORES = 2


def rungs_within(bench: Workbench, budget_s: float, members: int) -> tuple[Rung, ...]:
    """Plan as many rounds of the search as fit, with the training of the finished members, into a budget (seconds).

    The first round always runs.
    """
    costs = sorted((bench.step_seconds(c) for c in bench.suitable()), reverse=True)
    spent = 0.0
    chosen: list[Rung] = []
    for rung in RUNGS:
        if len(bench.fold) < SMALL_ROWS:
            rung = replace(rung, repeats=2)
        spent += rung.steps * rung.repeats * bench.folds * sum(costs[: rung.candidates])
        if chosen and (spent + members * rung.steps * costs[0]) / BUDGET_CORES > budget_s:
            break
        chosen.append(rung)
    return tuple(chosen)


def rungs_for(bench: Workbench, steps: int) -> tuple[Rung, ...]:
    """Plan the search for a given number of steps: a short round to choose the candidate, one of that length."""
    last = Rung(steps, 1, 1)
    return (last,) if len(bench.suitable()) == 1 else (Rung(min(steps, RUNGS[0].steps), 100, 1), last)


def search(
    bench: Workbench,
    rungs: Sequence[Rung],
    reporter: Reporter,
    journal: Journal | None = None,
    ranks: Ranks | None = None,
) -> tuple[list[Judged], bool]:
    """Judge all candidates with few steps, the best of them with more, and so on.

    Interrupted, it returns what it has judged so far, unless that is nothing, or several processes would have to
    agree on what it is.

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
            results = run_jobs([partial(job, c, rung.steps, (level, i, r, f)) for i, c, r, f in tasks], ranks)
            scores = np.full((len(bench.fold), bench.blueprint.plan.num_outputs), np.nan)
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
        if not judged or (ranks is not None and ranks.size > 1):
            raise
        reporter.say("stopped: continuing with the best so far")
        return judged, False
    return judged, True


def run_jobs(jobs: Sequence[Callable[[Event], T]], ranks: Ranks | None = None) -> Iterator[T]:
    """Yield results of all jobs in their order, run by as many threads as there are, on all ranks in turn.

    Each is called with an event that is set when it should give up.
    """
    ranks = ranks or Ranks()
    stop = Event()
    with ThreadPoolExecutor(num_threads()) as pool:
        futures = [pool.submit(_timed, job, stop) for job in jobs[ranks.rank :: ranks.size]]
        try:
            for first in range(0, len(jobs), ranks.size):
                own: T | None = None
                if first + ranks.rank < len(jobs):
                    own, seconds = futures[first // ranks.size].result()
                    ranks.jobs, ranks.seconds = ranks.jobs + 1, ranks.seconds + seconds
                yield from ranks.exchange(own)[: len(jobs) - first]  # type: ignore[misc]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _timed(job: Callable[[Event], T], stop: Event) -> tuple[T, float]:
    """Return a job's result, and the processor time it took."""
    started = thread_time()
    return job(stop), thread_time() - started


def _standing(judged: Sequence[Judged]) -> str:
    return f"best out-of-fold loss {min(j.loss for j in judged):.5g}" if judged else "judging candidates"


def blend(judged: Sequence[Judged], members: int, loss: Callable[[FloatArray], float]) -> list[Judged]:
    """Choose ``members`` picks, with repetition, whose mean score has the least out-of-fold loss, greedily.

    Caruana et al., Ensemble selection from libraries of models, 2004.
    """
    picks: list[Judged] = []
    total = np.zeros_like(judged[0].scores)
    for count in range(1, members + 1):
        best = min(judged, key=lambda j: loss((total + j.scores) / count))
        picks.append(best)
        total = total + best.scores
    return picks
