"""The additive model (GAM): the convex relative of a spectral model, in the same curves.

It is the special case where every matrix is a multiple of the identity. Fitted to optimality in a moment, it is a
candidate of its own on small tables, a start for others, and its residuals show which pairs of features interact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, softmax

from model.features import FloatArray
from training.basis import CurveBasis
from training.kernel import Rows
from training.losses import HUBER, LOGISTIC, MAX_LOG_RATE, POISSON, SOFTMAX, SQUARED, losses

#: Ridge penalties on ramps and on lines, categories and missing values.
RAMP_PENALTIES = (1.0, 4.0, 16.0, 64.0, 256.0, 4096.0)
LINE_PENALTIES = (0.3, 3.0)
#: Newton steps (the squared loss needs one), and the change at which they stop.
MAX_NEWTON_STEPS = 12
NEWTON_TOLERANCE = 1e-3
#: Rows on which penalties are compared; more would change the choice little.
MAX_CHOICE_ROWS = 10_000


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


def design_matrix(
    bases: Sequence[CurveBasis], rows: Rows, chosen: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """(N, P): how much each parameter adds to each row."""
    parts, at = [], 0
    for c, basis in enumerate(bases):
        starts = rows.starts[:, c] if chosen is None else rows.starts[chosen, c]
        weights = (rows.weights[:, c] if chosen is None else rows.weights[chosen, c])[:, None]
        matrix = np.vstack([basis.matrix, np.zeros((1, basis.matrix.shape[1]))]).astype(np.float32)
        parts.append((1.0 - weights) * matrix[starts - at] + weights * matrix[starts - at + 1])
        at += len(basis.matrix)
    return np.concatenate(parts, axis=1)


def fit_additive(
    design: NDArray[np.float32],
    rough: NDArray[np.bool_],
    rows: Rows,
    loss: int,
    num_outputs: int,
    fold: NDArray[np.int64],
) -> AdditiveModel:
    """Fit a ridge GAM, its penalties chosen by out-of-fold loss.

    Args:
        design: (N, P) of the main curves.
        rough: (P,), parameters that bend a curve (ramps) and bear the stronger penalty.
        rows: targets and weights.
        loss: of ``training.losses``.
        num_outputs: O.
        fold: (N,), 0 ... folds - 1.
    """
    loss = SQUARED if loss == HUBER else loss
    problem = _Problem(design, rows.target.astype(np.float64), rows.sample_weight.astype(np.float64), loss, num_outputs)
    stride = -(-len(design) // MAX_CHOICE_ROWS)
    part = np.arange(0, len(design), stride)
    small = problem.rows(part)
    lines = LINE_PENALTIES if loss == SQUARED else LINE_PENALTIES[:1]
    ramps = RAMP_PENALTIES if loss == SQUARED else RAMP_PENALTIES[1:5]
    best, chosen = np.inf, (0.0, 0.0)
    for line in lines:
        for ramp in ramps:
            # The strength that fits many rows is felt as a smaller one by a part of them.
            penalty = np.append(np.where(rough, ramp, line) / stride, 1e-6)
            score = small.out_of_fold_loss(penalty, fold[part])
            if score < best:
                best, chosen = score, (line, ramp)
    penalty = np.append(np.where(rough, chosen[1], chosen[0]), 1e-6)
    whole = problem.solve(penalty)
    folds = int(fold.max()) + 1
    solutions = [problem.rows(np.flatnonzero(fold != f)).solve(penalty, whole) for f in range(folds)]
    out_of_fold = np.empty((len(design), num_outputs))
    for f, solution in enumerate(solutions):
        held = fold == f
        out_of_fold[held] = problem.rows(np.flatnonzero(held)).scores(solution)
    stacked = np.stack([*solutions, whole])
    return AdditiveModel(stacked[:, :-1], stacked[:, -1], out_of_fold)


@dataclass(frozen=True)
class _Problem:
    """A generalised linear model: minimise the weighted loss of design @ beta plus a ridge penalty."""

    design: NDArray[np.float32]
    target: FloatArray
    weight: FloatArray
    loss: int
    num_outputs: int

    def rows(self, chosen: NDArray[np.int64]) -> _Problem:
        return _Problem(self.design[chosen], self.target[chosen], self.weight[chosen], self.loss, self.num_outputs)

    def scores(self, beta: FloatArray) -> FloatArray:
        return self.design @ beta[:-1].astype(np.float32) + beta[-1]

    def out_of_fold_loss(self, penalty: FloatArray, fold: NDArray[np.int64]) -> float:
        total = 0.0
        start = self.solve(penalty) if self.loss != SQUARED else None
        for f in range(int(fold.max()) + 1):
            held = self.rows(np.flatnonzero(fold == f))
            beta = self.rows(np.flatnonzero(fold != f)).solve(penalty, start)
            total += float((held.weight * losses(self.loss, 0.0, held.scores(beta), held.target)).sum())
        return total

    def solve(self, penalty: FloatArray, start: FloatArray | None = None) -> FloatArray:
        """Coefficients (P + 1, O), the offset last."""
        beta = np.zeros((len(penalty), self.num_outputs)) if start is None else start.copy()
        for _ in range(MAX_NEWTON_STEPS):
            change = 0.0
            for o in range(self.num_outputs):
                slopes, curvature = self._derivatives(self.scores(beta), o)
                step = self._newton_step(slopes, curvature, penalty, beta[:, o])
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
        self, slopes: FloatArray, curvature: FloatArray, penalty: FloatArray, beta: FloatArray
    ) -> FloatArray:
        # A floor under the curvature keeps steps finite where all probabilities are certain.
        bend = (self.weight * np.maximum(curvature, 1e-4)).astype(np.float32)
        pull = self.weight * slopes
        scaled = self.design * bend[:, None]
        size = len(penalty)
        hessian = np.empty((size, size))
        hessian[:-1, :-1] = self.design.T @ scaled
        hessian[-1, :-1] = hessian[:-1, -1] = scaled.sum(axis=0, dtype=np.float64)
        hessian[-1, -1] = bend.sum(dtype=np.float64)
        hessian[np.diag_indices(size)] += penalty
        gradient = np.append(self.design.T @ pull.astype(np.float32), pull.sum()) + penalty * beta
        return np.asarray(cho_solve(cho_factor(hessian), gradient))
