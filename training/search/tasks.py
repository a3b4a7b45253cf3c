"""Train what a search or a finished model needs: by threads, a member each, or on a device, all as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Event

import numpy as np

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.training.search.jobs import OutOfTimeError, run_jobs
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.members import Task
from eigenserve.training.search.on_device.devices import CPU
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.workbench import TrainedMember, Workbench


def _never() -> bool:
    return False


def train_tasks(
    bench: Workbench,
    tasks: Sequence[Task],
    ranks: Ranks | None = None,
    late: Callable[[], bool] = _never,
    cut: Callable[[], bool] = _never,
    journal: Journal | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Iterator[TrainedMember]:
    """Yield trained members in the order of their tasks; those outside a fold with their scores alone.

    Args:
        bench: what they are trained on, and where.
        tasks: the members.
        ranks: processes that share them.
        late: true once they should be given up.
        cut: true once what is trained must do.
        journal: keeps the scores of members outside a fold, and has those of an earlier run.
        progress: receives the share of the steps done, where members are not finished one by one.

    Raises:
        OutOfTimeError: late.
        UserError: a device, and several processes.
    """
    if bench.device == CPU:
        yield from run_jobs([partial(_trained, bench, task, cut, journal) for task in tasks], ranks, late)
        return
    if ranks is not None and ranks.size > 1:
        raise UserError(f"device {bench.device} trains in one process; got {ranks.size}: use cpu with torchrun")
    from eigenserve.training.search.on_device.run import train_batches

    def go_on(share: float) -> bool:
        progress(share)
        if late():
            raise OutOfTimeError
        return not cut()

    finished = {task: member for task in tasks if (member := _kept(task, journal)) is not None}
    for task, member in train_batches(bench, [task for task in tasks if task not in finished], go_on):
        finished[task] = _finished(task, member, cut, journal)
    yield from (finished[task] for task in tasks)


def _trained(
    bench: Workbench, task: Task, cut: Callable[[], bool], journal: Journal | None, stop: Event
) -> TrainedMember:
    member = _kept(task, journal)
    return _finished(task, bench.train(*task, stop, cut), cut, journal) if member is None else member


def _kept(task: Task, journal: Journal | None) -> TrainedMember | None:
    scores = journal.scores(task.key) if journal is not None and task.fold is not None else None
    return None if scores is None else _judged(scores, task.steps)


def _finished(task: Task, member: TrainedMember, cut: Callable[[], bool], journal: Journal | None) -> TrainedMember:
    if task.fold is None:
        return member
    # What the clock cut short is not worth keeping.
    if journal is not None and not cut():
        journal.keep(task.key, member.scores)
    return _judged(member.scores, member.steps)


def _judged(scores: FloatArray, steps: int) -> TrainedMember:
    """Return a member without its parameters: hundreds wait for their length to end."""
    return TrainedMember(np.empty(0, np.float32), np.empty(0), scores, steps)
