"""Train the members of a finished model on all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.training.progress import Reporter, Silent
from eigenserve.training.search.assemble import build_ensemble
from eigenserve.training.search.fixed_length import REFIT
from eigenserve.training.search.jobs import OutOfTimeError, run_jobs
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.members import identity_params
from eigenserve.training.search.ranks import Ranks
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
        jobs = [
            partial(bench.train, candidate, steps, None, (REFIT, i), late=late)
            for i, (candidate, steps) in enumerate(trained)
        ]
        additive = len(picks) - len(trained)
        try:
            for member in run_jobs(jobs, ranks, lambda: bool(members or additive) and late()):
                members.append((member.params, member.offset))
                reporter.advance(len(members), len(jobs), "training the members on all rows")
        except OutOfTimeError:
            reporter.say(f"the budget is spent: the model has {len(members)} of {len(jobs)} members")
            spectral = [pick for pick in picks if pick.candidate is not None]
            picks = [pick for pick in picks if pick.candidate is None] + spectral[: len(members)]
    weights = [1.0 / len(picks)] * len(members)
    for model in bench.additive_models:
        share = sum(pick.additive is model for pick in picks) / len(picks)
        if share > 0:
            members.append((identity_params(blueprint, model.coefficients[-1]), model.offsets[-1]))
            weights.append(share)
    return build_ensemble(blueprint, members, np.array(weights), bench.rows, scale, shift)
