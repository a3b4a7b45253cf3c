"""Rank stability: whether a row's largest contributions keep their order and signs when its numbers move a little.

This is sampled, not proved: it speaks of so many rows within radii of the row, drawn evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import METHODS, explain
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.predictor import ClassLabel, Predictor

#: Rows drawn near each row: a share of all is known to about a sixteenth.
SAMPLES = 64


@dataclass(frozen=True, eq=False)
class RankStability:
    """How steady the order of N rows' largest contributions is.

    Attributes:
        leading: (N,), each row's largest terms, in order.
        holds: (N,), in which share of the rows drawn these are the largest, in this order and with these signs.
        moves: (N,), the largest change of a contribution among the rows drawn, as a share of the largest contribution.
        samples: how many rows were drawn near each.
    """

    leading: tuple[tuple[str, ...], ...]
    holds: FloatArray
    moves: FloatArray
    samples: int


def rank_stability(
    predictor: Predictor,
    columns: FloatArray,
    radii: Callable[[FloatArray], Mapping[str, float]],
    *,
    method: str = METHODS[0],
    target: ClassLabel | None = None,
    reference: Reference | None = None,
    leading: int = 3,
    seed: int = 0,
    regroup: Callable[[Explanation], Explanation] = lambda explanation: explanation,
    check: Callable[[], None] = lambda: None,
) -> RankStability:
    """Measure the rank stability of the explanations of columns (N, F).

    Args:
        predictor: what is explained.
        columns: the rows.
        radii: a row (F,) -> by feature, how far it moves at most, in its own unit; categories stay.
        method, target, reference: as for ``explain``; of several classes, the one that each row is predicted to be.
        leading: how many contributions are looked at; fewer where a model has fewer terms.
        seed: of the rows drawn; the same ones for each row, so that a row's result does not depend on the others.
        regroup: what is done to explanations before their contributions are ranked.
        check: called before every row; it may raise, to give up.
    """
    names, holds, moves = [], np.empty(len(columns)), np.empty(len(columns))
    for j, row in enumerate(columns):
        check()
        within = radii(row)
        widths = np.array([within.get(name, 0.0) for name in predictor.features.names])
        draws = np.random.default_rng(seed).uniform(-1.0, 1.0, (SAMPLES, len(row)))
        own = target
        if own is None and predictor.task == "multiclass":
            own = predictor.classes[int(predictor.scores(row[None]).argmax())]
        nearby = np.vstack([row, row + widths * draws])
        found = regroup(explain(predictor, nearby, method, own, reference=reference, check=check))
        here, there = found.contributions[0], found.contributions[1:]
        order = np.argsort(-np.abs(here), kind="stable")[:leading]
        ranks = np.argsort(-np.abs(there), axis=1, kind="stable")[:, :leading]
        same = (ranks == order).all(axis=1) & (np.sign(there[:, order]) == np.sign(here[order])).all(axis=1)
        names.append(tuple(found.terms[t] for t in order))
        holds[j] = same.mean()
        largest = np.abs(here).max(initial=0.0)
        moves[j] = np.abs(there - here).max(initial=0.0) / largest if largest > 0.0 else 0.0
    return RankStability(tuple(names), holds, moves, SAMPLES)
