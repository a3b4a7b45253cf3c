"""The additive model (GAM): the convex relative of a spectral model, in the same curves.

It is the special case where every matrix is a multiple of the identity. Fitted to optimality in a moment, it is a
candidate of its own on small tables, a start for others, and its residuals show which pairs of features interact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.design import Design
from eigenserve.training.additive.gram import basis_matrix, gather
from eigenserve.training.additive.newton import Problem
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.kernels.losses import HUBER, SQUARED, losses

#: Ridge penalties on ramps and on lines, categories and missing values.
RAMP_PENALTIES = (4096.0, 256.0, 64.0, 16.0, 4.0, 1.0)
LINE_PENALTIES = (0.3, 3.0)
#: Losses that take Newton steps try all of them below so many rows, and a weaker one for classes that lines tell apart;
#: above, where it takes long, the middle ones for ramps and the first for lines.
NEWTON_CHOICE_ROWS = 2_000
WEAK_LINE_PENALTY = 0.03
#: Rows on which penalties are compared; more would change the choice little.
MAX_CHOICE_ROWS = 10_000
#: Rows that it is fitted to; hundreds of coefficients are then known to a few per cent of the noise of a row.
MAX_FIT_ROWS = 200_000


@dataclass(frozen=True)
class AdditiveModel:
    """A GAM fitted to all rows and to the rows outside each fold.

    Attributes:
        coefficients: (folds + 1, P, O) of the curves' parameters; the last are of all rows.
        offsets: (folds + 1, O).
        out_of_fold: (N, O), each row scored by the fit that has not seen it.
    """

    coefficients: FloatArray
    offsets: FloatArray
    out_of_fold: FloatArray


def fit_additive(
    bases: Sequence[CurveBasis],
    rows: Rows,
    loss: int,
    num_outputs: int,
    fold: NDArray[np.int64],
    late: Callable[[], bool] = lambda: False,
) -> AdditiveModel:
    """Fit a ridge GAM, its penalties chosen by out-of-fold loss.

    Args:
        bases: curves of single features; parameters that bend them bear a penalty of their own.
        rows: where the rows stand, their targets and weights.
        loss: of ``training.kernels.losses``.
        num_outputs: O.
        fold: (N,), 0 ... folds - 1.
        late: true once what is at hand must do.
    """
    loss = SQUARED if loss == HUBER else loss
    rough = np.concatenate([basis.rough for basis in bases])
    penalty, near = _choose_penalty(bases, rows, loss, num_outputs, rough, fold, late)
    part = slice(None, None, -(-len(fold) // MAX_FIT_ROWS))
    sets = np.append(np.arange(int(fold.max()) + 1), -1)  # no row is in the fold -1, so that the last has them all
    problem = _problem(bases, rows, part, loss, num_outputs, fold, sets)
    # The fit to all rows starts as the mean of the others.
    start = np.concatenate([near, near.mean(axis=1, keepdims=True)], axis=1)
    solutions = problem.solve(penalty, start, late=late)
    del problem
    out_of_fold = np.empty((len(fold), num_outputs))
    basis = basis_matrix(bases)
    for f in sets[:-1]:
        held = fold == f
        out_of_fold[held] = gather(rows.starts[held], rows.weights[held], basis @ solutions[:, f])
    stacked = solutions.transpose(1, 0, 2)
    return AdditiveModel(stacked[:, :-1], stacked[:, -1], out_of_fold)


def _problem(
    bases: Sequence[CurveBasis],
    rows: Rows,
    part: slice,
    loss: int,
    outputs: int,
    fold: NDArray[np.int64],
    sets: NDArray[np.int64],
) -> Problem:
    """The fits to some of the rows but those of the fold that each of the sets leaves out."""
    starts, weights = np.ascontiguousarray(rows.starts[part]), np.ascontiguousarray(rows.weights[part])
    weight = rows.sample_weight[part].astype(np.float64)[:, None] * (fold[part, None] != sets)
    design = Design(bases, starts, weights, len(sets) * outputs)
    return Problem(design, rows.target[part].astype(np.float64), weight, loss, outputs)


def _choose_penalty(
    bases: Sequence[CurveBasis],
    rows: Rows,
    loss: int,
    outputs: int,
    rough: NDArray[np.bool_],
    fold: NDArray[np.int64],
    late: Callable[[], bool],
) -> tuple[FloatArray, FloatArray]:
    """(P + 1,) the penalties of the least out-of-fold loss, judged on some of the rows where there are many.

    From strong to weak each starts where the last has ended, until they no longer help.

    Returns:
        The penalties, and the coefficients (P + 1, folds, O) of those rows outside each fold.
    """
    stride = -(-len(fold) // MAX_CHOICE_ROWS)
    part = slice(None, None, stride)
    sets = np.arange(int(fold.max()) + 1)
    problem = _problem(bases, rows, part, loss, outputs, fold, sets)
    held = rows.sample_weight[part].astype(np.float64)
    lines = LINE_PENALTIES
    if loss != SQUARED:
        lines = (*LINE_PENALTIES, WEAK_LINE_PENALTY) if len(fold) < NEWTON_CHOICE_ROWS else LINE_PENALTIES[:1]
    best, chosen, near = np.inf, np.empty(0), np.empty(0)
    for line in lines:
        beta: FloatArray | None = None
        previous, rising = np.inf, 0
        for ramp in RAMP_PENALTIES:
            penalty = np.append(np.where(rough, ramp, line), 1e-6)
            # A strength that suits all rows is felt as a smaller one by a part of them.
            beta = problem.solve(penalty / stride, beta, late=late)
            scores = problem.scores(beta)[np.arange(len(held)), fold[part]]
            total = float((held * losses(loss, 0.0, scores, problem.target)).sum())
            if total < best:
                best, chosen, near = total, penalty, beta
            rising = rising + 1 if total > previous else 0
            previous = total
            if rising == 2 or late():
                break
        if late():
            break
    return chosen, near
