"""Prove that all rows within a radius of a changed row reach a goal."""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.intervals import score_moves
from eigenserve.model.certificates.reach import EPS, default_radii
from eigenserve.model.counterfactuals.goals import Goal


def proved_margin(goal: Goal, columns: FloatArray, radius: float) -> float:
    """Return what the goal's margin is proved to be at least, for all rows within a radius of columns (F,).

    The radius is in training standard deviations of every number, see ``default_radii``; categories stay. Of several
    classes, what the wanted one loses and another gains is bounded together. Negative where nothing is proved.
    """
    moves = score_moves(goal.predictor, columns, default_radii(goal.predictor.features, columns, radius), 1.0)
    if len(moves.score) == 1:
        fall = sum((m.max() for m in (moves.down if goal.sign > 0.0 else moves.up)), start=moves.slack[0])
        margin = goal.sign * (moves.score[0] - goal.threshold)
    else:
        k = goal.chosen
        closer = [up + down[:, [k]] for up, down in zip(moves.up, moves.down, strict=True)]
        falls = sum((m.max(axis=0) for m in closer), start=moves.slack + moves.slack[k])
        # The least margin: the other class that may come nearest.
        others = np.delete(np.arange(len(moves.score)), k)
        nearest = (moves.score[k] - moves.score[others] - falls[others]).argmin()
        fall, margin = falls[others[nearest]], moves.score[k] - moves.score[others[nearest]]
    # The link is monotone, but for its rounding: a prediction next to the goal is not counted as proved.
    rounding = 64.0 * EPS * (np.abs(moves.score).max() + abs(goal.threshold))
    left = margin - fall * (1.0 + 8.0 * EPS) - rounding
    return float(left) if np.isfinite(left) else -np.inf
