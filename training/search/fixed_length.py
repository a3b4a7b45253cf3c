"""Train with a fixed configuration: no search; members are trained while the configuration is cross-validated."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.training.progress import Reporter
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.members import Task
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.tasks import train_tasks
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

    tasks = [Task(candidate, steps, None, (REFIT, i)) for i in range(members)]
    tasks += [Task(candidate, steps, fold, (0, 0, 0, fold)) for fold in range(bench.folds)]
    results: list[TrainedMember] = []

    def progress(share: float) -> None:
        reporter.advance(round(1e6 * share), 1_000_000, f"training of {steps:,} steps")

    for member in train_tasks(bench, tasks, ranks, journal=journal, progress=progress):
        results.append(member)
        progress(len(results) / len(tasks))
    scores: FloatArray = np.full((len(bench.fold), bench.blueprint.plan.num_outputs), np.nan)
    for fold, member in enumerate(results[members:]):
        scores[bench.fold == fold] = member.scores
    return Judged(candidate, steps, scores, bench.loss(scores)), results[:members]
