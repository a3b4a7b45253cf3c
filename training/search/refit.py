"""Train the members of a finished model on all rows."""

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
from eigenserve.training.search.on_device.devices import CPU
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.tasks import train_tasks
from eigenserve.training.search.workbench import TrainedMember, Workbench


def refit(
    bench: Workbench,
    picks: Sequence[Judged],
    scale: float,
    shift: float,
    reporter: Reporter | None = None,
    done: Sequence[TrainedMember] | None = None,
    ranks: Ranks | None = None,
    late: Callable[[], bool] = lambda: False,
) -> SpectralEnsemble:
    """Train a member for each pick on all rows, for as many steps as it was picked with, and join them.

    Picks of an additive model share one member. ``done`` are the members, if they are trained already. Once ``late``,
    those that are trained must do.
    """
    reporter = reporter or Silent()
    trained = [(pick.candidate, pick.steps) for pick in picks if pick.candidate is not None]
    blueprint = bench.sized(trained[0][0].dim) if trained else bench.blueprint
    members = [(member.params, member.offset) for member in done or ()]
    if done is None:
        tasks = [Task(candidate, steps, None, (REFIT, i)) for i, (candidate, steps) in enumerate(trained)]
        additive = len(picks) - len(trained)

        def progress(share: float) -> None:
            reporter.advance(round(1e6 * share), 1_000_000, "training the members on all rows")

        def given_up() -> bool:
            # Members of one batch end together: as they are, not one of them.
            return bench.device == CPU and bool(members or additive) and late()

        try:
            for member in train_tasks(bench, tasks, ranks, given_up, late, progress=progress):
                members.append((member.params, member.offset))
                progress(len(members) / len(tasks))
        except OutOfTimeError:
            reporter.say(f"the budget is spent: the model has {len(members)} of {len(tasks)} members")
            spectral = [pick for pick in picks if pick.candidate is not None]
            picks = [pick for pick in picks if pick.candidate is None] + spectral[: len(members)]
    weights = [1.0 / len(picks)] * len(members)
    for model in bench.additive_models:
        share = sum(pick.additive is model for pick in picks) / len(picks)
        if share > 0:
            members.append((identity_params(blueprint, model.coefficients[-1]), model.offsets[-1]))
            weights.append(share)
    return build_ensemble(blueprint, members, np.array(weights), bench.rows, scale, shift)
