"""Fit the additive model (GAM): the convex relative of a spectral model, in the same curves.

It is the special case where every matrix is a multiple of the identity. Fitted to optimality in a moment, it is a
separate candidate on small tables, a start for others, and its residuals show which pairs of features interact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.design import Design
from eigenserve.training.additive.gram import basis_matrix, gather
from eigenserve.training.additive.newton import ITERATION_TOLERANCE, Problem
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.kernels.losses import HUBER, SQUARED, losses

#: Ridge penalties on ramps, from strong to weak, and on lines, categories and missing values.
RAMP_PENALTIES = (4096.0, 256.0, 64.0, 16.0, 4.0, 1.0)
LINE_PENALTIES = (0.3, 3.0)
#: Losses that take Newton steps try only the first for lines from so many rows on, and below them a weaker one, too,
#: for classes that lines separate.
NEWTON_CHOICE_ROWS = 2_000
WEAK_LINE_PENALTY = 0.03
#: From the best of them the penalty on lines goes on by this factor while that helps (soybean: loss .157, then .154).
LINE_STEP = 3.0
#: It goes on for a gain of at least this share of the loss (a target that no feature helps to predict gains a little by
#: each step, for ever), and within these, also where classes are separable and no penalty is ever too weak.
LEAST_LINE_GAIN = 1e-3
LEAST_LINE, MOST_LINE = 1e-3, 1e3
#: The penalty on ramps by which curves are lines, and those on lines that a linear model tries, from strong to weak.
STRAIGHT = 1e5
STRAIGHT_LINES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
#: The share of the residual at which the fits of small tables end.
EXACT_TOLERANCE = 1e-10
#: Rows on which penalties are compared; more would change the choice little.
MAX_CHOICE_ROWS = 10_000
#: Rows that it is fitted to; hundreds of coefficients are then known to a few per cent of the noise of a row.
MAX_FIT_ROWS = 200_000
#: Rows times curves times folds times outputs up to which all pairs of penalties are compared; beyond, those on lines
#: are compared by the best on ramps (measured: half the time; soybean's loss .129 becomes .137, larger tables' stays).
EXHAUSTIVE_WORK = 6_000_000
#: Beyond as much, penalties are compared on one fold alone.
ONE_FOLD_WORK = 20_000_000
#: Rows times folds and outputs that are fitted at once: 50 MB for each of the half dozen arrays of such a size.
MAX_ROW_LANES = 6_000_000


@dataclass(frozen=True)
class AdditiveModel:
    """Hold a GAM fitted to all rows and to the rows outside each fold.

    Attributes:
        coefficients: (folds + 1, P, O) of the curves' parameters; the last are of all rows.
        offsets: (folds + 1, O).
        out_of_fold: (N, O), each row scored by the fit that has not seen it.
        penalties: on lines and on ramps.
        factors: (folds + 1, C), by which the penalties of each curve are multiplied; None for ones.
    """

    coefficients: FloatArray
    offsets: FloatArray
    out_of_fold: FloatArray
    penalties: tuple[float, float]
    factors: FloatArray | None = None

    @property
    def solutions(self) -> FloatArray:
        """Return the coefficients with the offsets, (P + 1, folds + 1, O)."""
        return np.concatenate([self.coefficients, self.offsets[:, None]], axis=1).transpose(1, 0, 2)


class _Choice(NamedTuple):
    """Hold penalties on lines and ramps, the out-of-fold loss and the coefficients (P + 1, folds, O) by them."""

    line: float
    ramp: float
    loss: float
    beta: FloatArray


def fit_additive(
    bases: Sequence[CurveBasis],
    rows: Rows,
    objective: tuple[int, float],
    num_outputs: int,
    fold: NDArray[np.int64],
    late: Callable[[], bool] = lambda: False,
    penalties: tuple[float, float] | None = None,
    straight: bool = False,
    near: FloatArray | None = None,
    factors: FloatArray | None = None,
) -> AdditiveModel:
    """Fit a ridge GAM, or a linear model.

    Args:
        bases: curves of single features; parameters that bend them bear a separate penalty.
        rows: where the rows stand, their targets and weights.
        objective: a loss of ``training.kernels.losses`` and its parameter.
        num_outputs: O.
        fold: (N,), 0 ... folds - 1.
        late: true once what is at hand must do.
        penalties: on lines and on ramps; None to choose those of the least out-of-fold loss.
        straight: whether curves must be lines.
        near: (P + 1, folds + 1, O), coefficients near those sought.
        factors: (folds + 1, C), by which the penalties of each curve are multiplied; None for ones.
    """
    objective = (SQUARED, 0.0) if objective[0] == HUBER else objective
    folds = int(fold.max()) + 1
    if penalties is None:
        choice = _choose_penalties(bases, rows, objective, num_outputs, fold, late, straight)
        penalties = choice.line, choice.ramp
        # The fit to all rows starts as the mean of the others.
        near = np.repeat(choice.beta.mean(axis=1, keepdims=True), folds + 1, axis=1)
        if choice.beta.shape[1] == folds:
            near[:, :-1] = choice.beta
    part = slice(None, None, _stride(len(fold), min(MAX_FIT_ROWS, MAX_ROW_LANES // num_outputs)))
    # No row is in the fold -1, so that the last set has them all.
    sets = np.append(np.arange(folds), -1)
    # Of many outputs the sets are fitted one after the other: on few rows all at once would be worse than linear.
    groups = -(-len(fold[part]) * len(sets) * num_outputs // MAX_ROW_LANES)
    # A small table's fit is cheap, so it is exact: rows with weights then give what repeated rows do.
    small = len(fold) < NEWTON_CHOICE_ROWS and len(fold) * len(bases) * len(sets) * num_outputs <= EXHAUSTIVE_WORK
    tolerance = EXACT_TOLERANCE if small else ITERATION_TOLERANCE
    solutions = np.empty((1 + sum(basis.num_params for basis in bases), len(sets), num_outputs))
    for chosen in np.array_split(np.arange(len(sets)), min(len(sets), groups)):
        problem = _problem(bases, rows, part, objective, num_outputs, fold, sets[chosen])
        start = None if near is None else near[:, chosen]
        penalty = ridge_penalty(bases, *penalties, None if factors is None else factors[chosen])
        solutions[:, chosen] = problem.solve(penalty, start, tolerance, late)
        del problem
    out_of_fold = np.empty((len(fold), num_outputs))
    basis = basis_matrix(bases)
    for f in range(folds):
        held = fold == f
        out_of_fold[held] = gather(rows.starts[held], rows.weights[held], basis @ solutions[:, f])
    stacked = solutions.transpose(1, 0, 2)
    return AdditiveModel(stacked[:, :-1], stacked[:, -1], out_of_fold, penalties, factors)


def _stride(rows: int, most: int) -> int:
    return -(-rows // max(1, most))


def ridge_penalty(
    bases: Sequence[CurveBasis], line: float, ramp: float, factors: FloatArray | None = None
) -> FloatArray:
    """Return the penalties (P + 1,), or (P + 1, G) by factors (G, C) of curves: next to none on the offset."""
    each = np.where(np.concatenate([basis.rough for basis in bases]), ramp, line)
    if factors is None:
        return np.append(each, 1e-6)
    of_params = np.repeat(factors.T, [basis.num_params for basis in bases], axis=0)
    return np.concatenate([each[:, None] * of_params, np.full((1, len(factors)), 1e-6)])


def _problem(
    bases: Sequence[CurveBasis],
    rows: Rows,
    part: slice,
    objective: tuple[int, float],
    outputs: int,
    fold: NDArray[np.int64],
    sets: NDArray[np.int64],
) -> Problem:
    """Fit some of the rows but those of the fold that each of the sets leaves out."""
    starts, weights = np.ascontiguousarray(rows.starts[part]), np.ascontiguousarray(rows.weights[part])
    weight = rows.sample_weight[part].astype(np.float64)[:, None] * (fold[part, None] != sets)
    design = Design(bases, starts, weights, len(sets) * outputs)
    return Problem(design, rows.target[part].astype(np.float64), weight, objective[0], outputs, objective[1])


def _choose_penalties(
    bases: Sequence[CurveBasis],
    rows: Rows,
    objective: tuple[int, float],
    outputs: int,
    fold: NDArray[np.int64],
    late: Callable[[], bool],
    straight: bool,
) -> _Choice:
    """Choose the penalties of the least out-of-fold loss, judged on some of the rows where there are many.

    Those on ramps come first, from strong to weak until they no longer help; each starts where the last has ended.
    """
    folds = int(fold.max()) + 1
    work = min(len(fold), MAX_CHOICE_ROWS) * len(bases) * folds * outputs
    if work > ONE_FOLD_WORK:
        folds = 1
    stride = _stride(len(fold), min(MAX_CHOICE_ROWS, MAX_ROW_LANES // (folds * outputs)))
    part = slice(None, None, stride)
    problem = _problem(bases, rows, part, objective, outputs, fold, np.arange(folds))
    held = np.flatnonzero(fold[part] < folds)
    place, weight = fold[part][held], rows.sample_weight[part][held].astype(np.float64)
    lines: tuple[float, ...] = LINE_PENALTIES
    if objective[0] != SQUARED:
        lines = (*LINE_PENALTIES, WEAK_LINE_PENALTY) if len(fold) < NEWTON_CHOICE_ROWS else LINE_PENALTIES[:1]

    def judge(line: float, ramp: float, start: FloatArray | None) -> _Choice:
        # A strength that suits all rows is felt as a smaller one by a part of them.
        beta = problem.solve(ridge_penalty(bases, line, ramp) / stride, start, late=late)
        each = losses(*objective, problem.scores(beta)[held, place], problem.target[held])
        return _Choice(line, ramp, float((weight * each).sum()), beta)

    def path(choices: Iterable[tuple[float, float]]) -> list[_Choice]:
        """Judge penalties, each from where the last has ended, until they have harmed twice in a row."""
        judged: list[_Choice] = []
        for line, ramp in choices:
            judged.append(judge(line, ramp, judged[-1].beta if judged else None))
            if late() or (len(judged) > 2 and judged[-3].loss < judged[-2].loss < judged[-1].loss):
                break
        return judged

    if straight:
        return min(path((line, STRAIGHT) for line in STRAIGHT_LINES), key=lambda choice: choice.loss)
    tried: list[_Choice] = []
    thorough = work <= EXHAUSTIVE_WORK
    for line in lines if thorough else lines[:1]:
        tried += path((line, ramp) for ramp in RAMP_PENALTIES)
        if late():
            break
    best = min(tried, key=lambda choice: choice.loss)
    for line in () if thorough else lines[1:]:
        if not late():
            best = min(best, judge(line, best.ramp, best.beta), key=lambda choice: choice.loss)
    for factor in (LINE_STEP, 1.0 / LINE_STEP) if thorough else ():
        while not late() and LEAST_LINE <= best.line * factor <= MOST_LINE:
            choice, least = judge(best.line * factor, best.ramp, best.beta), best.loss
            best = min(best, choice, key=lambda choice: choice.loss)
            # At a loss of zero no gain is possible, so equality ends it.
            if choice.loss >= least - LEAST_LINE_GAIN * abs(least):
                break
    return best
