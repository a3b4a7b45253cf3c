"""Fit the additive model (GAM): the convex relative of a spectral model, in the same curves.

It is the special case where every matrix is a multiple of the identity. Fitted to optimality in a moment, it is a
candidate of its own on small tables, a start for others, and its residuals show which pairs of features interact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, softmax

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.gram import basis_matrix, gather, gram
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import Rows
from eigenserve.training.kernels.losses import (
    HUBER,
    LOGISTIC,
    MAX_LOG_RATE,
    POISSON,
    SOFTMAX,
    SQUARED,
    best_constant,
    losses,
)

#: Ridge penalties on ramps and on lines, categories and missing values.
RAMP_PENALTIES = (1.0, 4.0, 16.0, 64.0, 256.0, 4096.0)
LINE_PENALTIES = (0.3, 3.0)
#: Losses that take Newton steps try all of them below so many rows, and a weaker one for classes that lines separate;
#: above, where it takes long, the middle ones for ramps and the first for lines.
NEWTON_CHOICE_ROWS = 2_000
WEAK_LINE_PENALTY = 0.03
#: Newton steps (the squared loss needs one), and the change at which they stop.
MAX_NEWTON_STEPS = 12
NEWTON_TOLERANCE = 1e-2
#: No score moves further in one step of a loss that is not squared.
MAX_SCORE_MOVE = 4.0
#: Rows on which penalties are compared; more would change the choice little.
MAX_CHOICE_ROWS = 10_000
#: Rows that it is fitted to; hundreds of coefficients are then known to a few per cent of the noise of a row.
MAX_FIT_ROWS = 200_000


@dataclass(frozen=True)
class AdditiveModel:
    """Hold a GAM fitted to all rows and to the rows outside each fold.

    Attributes:
        coefficients: (folds + 1, P, O) of the curves' parameters; the last are of all rows.
        offsets: (folds + 1, O).
        out_of_fold: (N, O), each row scored by the fit that has not seen it.
    """

    coefficients: FloatArray
    offsets: FloatArray
    out_of_fold: FloatArray


def fit_additive(
    bases: Sequence[CurveBasis], rows: Rows, loss: int, num_outputs: int, fold: NDArray[np.int64]
) -> AdditiveModel:
    """Fit a ridge GAM, its penalties chosen by out-of-fold loss.

    Args:
        bases: curves of single features; parameters that bend them bear a penalty of their own.
        rows: where the rows stand, their targets and weights.
        loss: of ``training.kernels.losses``.
        num_outputs: O.
        fold: (N,), 0 ... folds - 1.
    """
    part = slice(None, None, -(-len(fold) // MAX_FIT_ROWS))
    problem = _Problem(
        np.ascontiguousarray(rows.starts[part]),
        np.ascontiguousarray(rows.weights[part]),
        rows.target[part].astype(np.float64),
        rows.sample_weight[part].astype(np.float64),
        basis_matrix(bases),
        SQUARED if loss == HUBER else loss,
        num_outputs,
    )
    fitted = fold[part]
    everything = np.arange(len(fitted))
    penalty = _choose_penalty(problem, np.concatenate([basis.rough for basis in bases]), fitted)
    whole = problem.solve(everything, penalty)
    out_of_fold = np.empty((len(fold), num_outputs))
    solutions = []
    for f in range(int(fold.max()) + 1):
        solutions.append(problem.solve(np.flatnonzero(fitted != f), penalty, whole))
        held = fold == f
        out_of_fold[held] = gather(rows.starts[held], rows.weights[held], problem.basis @ solutions[-1])
    stacked = np.stack([*solutions, whole])
    return AdditiveModel(stacked[:, :-1], stacked[:, -1], out_of_fold)


def _choose_penalty(problem: _Problem, rough: NDArray[np.bool_], fold: NDArray[np.int64]) -> FloatArray:
    """Choose the penalties (P + 1,) of the least out-of-fold loss, judged on some of the rows where there are many."""
    stride = -(-len(fold) // MAX_CHOICE_ROWS)
    part = np.arange(0, len(fold), stride)
    exact = problem.loss == SQUARED
    if exact:
        choices = product(LINE_PENALTIES, RAMP_PENALTIES)
    elif len(fold) < NEWTON_CHOICE_ROWS:
        choices = product((*LINE_PENALTIES, WEAK_LINE_PENALTY), RAMP_PENALTIES)
    else:
        choices = product(LINE_PENALTIES[:1], RAMP_PENALTIES[1:5])
    best, chosen = np.inf, np.empty(0)
    start: FloatArray | None = None
    for line, ramp in choices:
        penalty = np.append(np.where(rough, ramp, line), 1e-6)
        total = 0.0
        # A strength that suits all rows is felt as a smaller one by a part of them.
        start = None if exact else problem.solve(part, penalty / stride, start)
        for f in range(int(fold.max()) + 1):
            beta = problem.solve(part[fold[part] != f], penalty / stride, start)
            held = part[fold[part] == f]
            loss = losses(problem.loss, 0.0, problem.scores(held, beta), problem.target[held])
            total += float((problem.weight[held] * loss).sum())
        if total < best:
            best, chosen = total, penalty
    return chosen


@dataclass(frozen=True)
class _Problem:
    """Solve a generalised linear model in the parameters of curves, with a ridge penalty."""

    starts: NDArray[np.int32]
    weights: NDArray[np.float32]
    target: FloatArray
    weight: FloatArray
    basis: FloatArray
    loss: int
    num_outputs: int

    def scores(self, rows: NDArray[np.int64], beta: FloatArray) -> FloatArray:
        return gather(self.starts[rows], self.weights[rows], self.basis @ beta)

    def solve(self, rows: NDArray[np.int64], penalty: FloatArray, start: FloatArray | None = None) -> FloatArray:
        """Solve for coefficients (P + 1, O) on some rows, the offset last."""
        if start is None:
            beta = np.zeros((len(penalty), self.num_outputs))
            beta[-1] = best_constant(self.loss, 0.0, self.target[rows], self.weight[rows], self.num_outputs)
        else:
            beta = start.copy()
        for _ in range(MAX_NEWTON_STEPS):
            change = 0.0
            for o in range(self.num_outputs):
                scores = gather(self.starts, self.weights, self.basis @ beta)
                slopes, curvature = self._derivatives(scores, o)
                step = self._newton_step(rows, slopes, curvature, penalty, beta[:, o])
                if self.loss != SQUARED:
                    # Far from the optimum a whole step may overshoot to where exp() has no curvature left.
                    move = np.abs(gather(self.starts, self.weights, self.basis @ step[:, None])).max()
                    step *= min(1.0, MAX_SCORE_MOVE / move) if move > 0 else 1.0
                beta[:, o] -= step
                change = max(change, float(np.abs(step).max()))
            if self.loss == SQUARED or change < NEWTON_TOLERANCE:
                break
        return beta

    def _derivatives(self, scores: FloatArray, o: int) -> tuple[FloatArray, FloatArray]:
        if self.loss == SQUARED:
            return scores[:, 0] - self.target, np.ones(len(scores))
        if self.loss == POISSON:
            rate = np.exp(np.minimum(scores[:, 0], MAX_LOG_RATE))
            return rate - self.target, rate
        if self.loss == LOGISTIC:
            p = expit(scores[:, 0])
            return p - self.target, p * (1.0 - p)
        assert self.loss == SOFTMAX
        p = softmax(scores, axis=1)[:, o]
        return p - (self.target == o), p * (1.0 - p)

    def _newton_step(
        self,
        rows: NDArray[np.int64],
        slopes: FloatArray,
        curvature: FloatArray,
        penalty: FloatArray,
        beta: FloatArray,
    ) -> FloatArray:
        # A floor under the curvature keeps steps finite where all probabilities are certain.
        bend = self.weight * np.maximum(curvature, 1e-4)
        pull = (self.weight * slopes)[:, None]
        total, moment = gram(self.starts, self.weights, rows, bend, pull, len(self.basis) - 1)
        hessian = self.basis.T @ total @ self.basis
        hessian[np.diag_indices(len(hessian))] += penalty
        return np.asarray(cho_solve(cho_factor(hessian), self.basis.T @ moment[:, 0] + penalty * beta))
