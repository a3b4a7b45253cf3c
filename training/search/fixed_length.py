"""Train with a fixed configuration: no search; members are trained while the configuration is cross-validated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.training.progress import Reporter
from eigenserve.training.search.jobs import run_jobs
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.workbench import TrainedMember, Workbench

#: Separates the random streams of finished members from those of the search.
REFIT = 1000


def train_fixed(
    bench: Workbench,
    steps: int,
    members: int,
    reporter: Reporter,
    journal: Journal | None = None,
    ranks: Ranks | None = None,
) -> tuple[Judged, list[TrainedMember]]:
    """Train the only candidate, judged as a search would, and members of it on all rows, all at once.

    Args:
        bench: with one suitable candidate and no additive model.
        steps: optimiser steps of each member.
        members: how many.
        reporter: receives how far it has come.
        journal: keeps what was judged.
        ranks: processes that share the work.
    """
    (candidate,) = bench.suitable()

    def judge(fold: int, stop: Event) -> TrainedMember:
        key = (0, 0, 0, fold)
        kept = journal.scores(key) if journal is not None else None
        if kept is not None:
            return TrainedMember(np.empty(0, np.float32), np.empty(0), kept)
        found = bench.train(candidate, steps, fold, key, stop)
        if journal is not None:
            journal.keep(key, found.scores)
        return found

    jobs: list[Callable[[Event], TrainedMember]] = [
        partial(bench.train, candidate, steps, None, (REFIT, i)) for i in range(members)
    ]
    jobs += [partial(judge, fold) for fold in range(bench.folds)]
    results: list[TrainedMember] = []
    for found in run_jobs(jobs, ranks):
        results.append(found)
        reporter.advance(len(results), len(jobs), f"training of {steps:,} steps")
    scores: FloatArray = np.full((len(bench.fold), bench.blueprint.plan.num_outputs), np.nan)
    for fold, found in enumerate(results[members:]):
        scores[bench.fold == fold] = found.scores
    return Judged(candidate, steps, scores, bench.loss(scores)), results[:members]
