"""Blend what a search has judged: how good a mean of members would be, and which members to take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.training.search.judged import Judged

#: The share of the loss that coarser curves may cost: a greedy choice of members gains as much by chance. Prediction
#: with 128 knots on each curve takes 1.4 times as long as with 16, with 256 twice (10 features, 16 members).
TOLERATED = 0.001


def mean_loss(repeats: Sequence[Judged], members: int, loss: Callable[[FloatArray], float]) -> float:
    """Estimate the loss of the mean of ``members`` members that were trained alike, from a few of them.

    The loss of a mean of M falls like 1/M to that of infinitely many: exactly for the squared loss, and to second
    order for others. So a candidate is not judged by its variance, which a mean takes away, but by what would remain.
    """
    count = len(repeats)
    alone = float(np.mean([entry.loss for entry in repeats]))
    if count < 2 or members < 2:
        return alone
    together = loss(np.mean([entry.scores for entry in repeats], axis=0))
    # Convex losses make ``together`` the smaller; others must not promise more than they show.
    infinite = min((count * together - alone) / (count - 1), alone)
    return infinite + (alone - infinite) / members


def best_blend(
    judged: Sequence[Judged], members_of: Callable[[int], int], loss: Callable[[FloatArray], float]
) -> list[Judged]:
    """Choose the picks of the size whose blend is best, of the coarsest curves that are nearly as good.

    The members of a model share their size, and each curve has the knots of the finest of them.

    Args:
        judged: what may be picked; additive models go with any size.
        members_of: size -> how many picks.
        loss: of out-of-fold scores (N, O).
    """
    additive = [entry for entry in judged if entry.candidate is None]
    candidates = {entry.candidate for entry in judged if entry.candidate is not None}

    def best(size: int, finest: int) -> tuple[float, list[Judged]]:
        fit = [e for e in judged if e.candidate is not None and e.candidate.dim == size and e.candidate.level <= finest]
        picks = blend([*additive, *fit], members_of(size), loss)
        return loss(np.mean([pick.scores for pick in picks], axis=0)), picks

    sizes = sorted({candidate.dim for candidate in candidates})
    levels = {size: sorted({c.level for c in candidates if c.dim == size}) for size in sizes}
    blends = {size: best(size, levels[size][-1]) for size in sizes}
    size = min(sizes, key=lambda size: blends[size][0])
    least, picks = blends[size]
    for level in levels[size][:-1]:
        value, coarse = best(size, level)
        if value <= least + TOLERATED * abs(least):
            return coarse
    return picks


def blend(judged: Sequence[Judged], members: int, loss: Callable[[FloatArray], float]) -> list[Judged]:
    """Choose ``members`` picks, with repetition, whose mean score has the least out-of-fold loss, greedily.

    Caruana et al., Ensemble selection from libraries of models, 2004.
    """
    picks: list[Judged] = []
    total = np.zeros(judged[0].scores.shape)
    for count in range(1, members + 1):
        best = min(judged, key=lambda j: loss((total + j.scores) / count))
        picks.append(best)
        total = total + best.scores
    return picks
