"""Train the members of a finished model on all rows, and join them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.training.progress import Reporter, Silent
from eigenserve.training.search.assemble import build_ensemble
from eigenserve.training.search.fixed_length import REFIT
from eigenserve.training.search.jobs import OutOfTimeError
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.members import Task, identity_params
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.tasks import train_tasks
from eigenserve.training.search.workbench import TrainedMember, Workbench


def train_picks(
    bench: Workbench,
    picks: Sequence[Judged],
    reporter: Reporter | None = None,
    ranks: Ranks | None = None,
    late: Callable[[], bool] = lambda: False,
) -> tuple[list[Judged], list[TrainedMember]]:
    """Train a member for each pick on all rows, for as many steps as its folds got; an additive model needs none.

    Once ``late``, what is trained must do, in nearly the same mixture; at least one is trained to its end, which takes
    no longer than one of its folds did. A member that ends in the middle of its course would be far worse than those
    that it was picked by.

    Returns:
        The picks that the model has, and the members of those that are not additive models, in their order.
    """
    reporter = reporter or Silent()
    additive = [pick for pick in picks if pick.candidate is None]
    spectral = [pick for pick in picks if pick.candidate is not None]
    tasks = [
        Task(pick.candidate, pick.steps_on_all_rows, None, (REFIT, i))
        for i, pick in enumerate(spectral)
        if pick.candidate is not None
    ]
    members: list[TrainedMember] = []

    def progress(share: float) -> None:
        reporter.advance(round(1e6 * share), 1_000_000, "training the members on all rows")

    try:
        for member in train_tasks(bench, tasks, ranks, lambda: bool(members) and late(), progress=progress):
            members.append(member)
            progress(len(members) / len(tasks))
    except OutOfTimeError:
        reporter.say(f"the budget is spent: the model has {len(members)} of {len(tasks)} members")
        additive = additive[: round(len(additive) * len(members) / len(spectral))]
    return [*additive, *spectral[: len(members)]], members


def joined_picks(
    bench: Workbench, picks: Sequence[Judged], members: Sequence[TrainedMember], scale: float, shift: float
) -> SpectralEnsemble:
    """Join the members of picks to a model that is their mean; picks of an additive model share one member.

    Args:
        bench: what they were trained on.
        picks, members: as ``train_picks`` returns them.
        scale, shift: of the target.
    """
    dims = [pick.candidate.dim for pick in picks if pick.candidate is not None]
    blueprint = bench.sized(dims[0]) if dims else bench.blueprint
    trained = [(member.params, member.offset) for member in members]
    weights = [1.0 / len(picks)] * len(trained)
    for model in bench.additive_models:
        share = sum(pick.additive is model for pick in picks) / len(picks)
        if share > 0:
            trained.append((identity_params(blueprint, model.coefficients[-1]), model.offsets[-1]))
            weights.append(share)
    return build_ensemble(blueprint, trained, np.array(weights), bench.rows, scale, shift)
