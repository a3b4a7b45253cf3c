"""Newton's method for additive models: all folds and outputs at once, each step by preconditioned conjugate gradients.

A step solves (design' bend design + penalty) step = gradient without forming the matrix: memory and time are in
proportion to rows, curves and parameters. The preconditioner is the part of the matrix within each curve, which is a
small block for a number and a diagonal for a table of categories (block Jacobi; Saad, Iterative methods for sparse
linear systems, 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.design import Design
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.losses import (
    GAMMA,
    LOGISTIC,
    MAX_LOG_RATE,
    POISSON,
    SOFTMAX,
    SQUARED,
    TWEEDIE,
    best_constant,
)

#: Newton steps (the squared loss needs one); they stop where the next promises less than this share of the loss, times
#: the tolerance.
MAX_NEWTON_STEPS = 12
LEAST_PROMISE = 0.1
#: Steps before which the preconditioner is made: curvatures change little after the first.
REFRESHED = (0, 2)
#: No score moves further in one step of a loss that is not squared.
MAX_SCORE_MOVE = 4.0
#: A step that does not lower the loss is halved at most so often.
MAX_HALVINGS = 4
#: Iterations of conjugate gradients for one step, and the share of the residual's norm at which they stop: measured on
#: ten tables, out-of-fold losses are then within 0.1% of those of exact steps, and within 0.02% on most.
MAX_ITERATIONS = 100
ITERATION_TOLERANCE = 1e-2
#: That of the first step, where it is not the last.
FIRST_TOLERANCE = 0.1
#: A floor under the curvature keeps steps finite where all probabilities are certain.
LEAST_CURVATURE = 1e-4
#: Numbers in the preconditioner's blocks: 64 MB. Beyond, all outputs share one.
MAX_BLOCK_NUMBERS = 8_000_000


@dataclass(frozen=True)
class Problem:
    """Solve a generalised linear model in the parameters of curves with a ridge penalty, for several sets of rows.

    Attributes:
        design: the rows on their curves; its lanes are the sets' outputs, (G, O) row-major.
        target: (N,).
        weight: (N, G), how much each row counts in each set: zero where it is left out.
        loss: of ``training.kernels.losses``.
        outputs: O.
        parameter: of the loss.
    """

    design: Design
    target: FloatArray
    weight: FloatArray
    loss: int
    outputs: int
    parameter: float = 0.0

    @property
    def sets(self) -> int:
        """G."""
        return self.weight.shape[1]

    def start(self) -> FloatArray:
        """Return the best constants, (P + 1, G, O)."""
        beta = np.zeros((self.design.params, self.sets, self.outputs))
        for g in range(self.sets):
            beta[-1, g] = best_constant(self.loss, 0.0, self.target, self.weight[:, g], self.outputs)
        return beta

    def scores(self, beta: FloatArray) -> FloatArray:
        """Return the scores (N, G, O)."""
        flat = self.design.scores(beta.reshape(len(beta), -1))
        return flat.reshape(len(flat), self.sets, self.outputs)

    def solve(
        self,
        penalty: FloatArray,
        start: FloatArray | None = None,
        tolerance: float = ITERATION_TOLERANCE,
        late: Callable[[], bool] = lambda: False,
    ) -> FloatArray:
        """Solve for the coefficients (P + 1, G, O), the offset last.

        Args:
            penalty: (P + 1,), or (P + 1, G) where the sets differ.
            start: coefficients near those sought.
            tolerance: of conjugate gradients, as a share of the residual.
            late: true once what is at hand must do.
        """
        beta = self.start() if start is None else start.copy()
        scores = self.scores(beta)
        value = self._objective(scores, beta, penalty)
        precondition: Callable[[FloatArray], FloatArray] = _unchanged
        for count in range(MAX_NEWTON_STEPS):
            slopes, bend = self._derivatives(scores)
            if count in REFRESHED:
                precondition = self._preconditioner(bend, penalty)
            gradient = self._pull(slopes) + _ridge(penalty) * beta
            # Far from the optimum an exact step is wasted (Dembo, Eisenstat, Steihaug, Inexact Newton methods, 1982).
            share = tolerance if self.loss == SQUARED else max(tolerance, FIRST_TOLERANCE * 0.3**count)
            step = self._step(gradient, bend, penalty, precondition, share, late)
            if self.loss == SQUARED:
                return beta - step
            promise = _dot(gradient, step)
            moved = self.scores(step)
            # Far from the optimum a whole step may overshoot to where exp() has no curvature left.
            size = np.minimum(1.0, MAX_SCORE_MOVE / np.maximum(np.abs(moved).max(axis=(0, 2)), 1e-300))
            for _ in range(MAX_HALVINGS):
                trial, trial_scores = beta - size[:, None] * step, scores - size[:, None] * moved
                now = self._objective(trial_scores, trial, penalty)
                worse = now > value + 1e-9 * np.abs(value)
                if not worse.any():
                    break
                size = np.where(worse, 0.5 * size, size)
            beta, scores, value = trial, trial_scores, now
            if (promise < LEAST_PROMISE * tolerance * np.abs(value)).all() or late():
                break
        return beta

    def _objective(self, scores: FloatArray, beta: FloatArray, penalty: FloatArray) -> FloatArray:
        """Return (G,) half the penalty and the weighted sum of losses, up to what does not depend on ``beta``."""
        if self.loss == SQUARED:
            return np.zeros(self.sets)
        first = scores[:, :, 0]
        if self.loss == POISSON:
            each = np.exp(np.minimum(first, MAX_LOG_RATE)) - self.target[:, None] * first
        elif self.loss in (GAMMA, TWEEDIE):
            falling, rising = self._costs(scores)
            each = falling[:, :, 0] + rising[:, :, 0]
        elif self.loss == LOGISTIC:
            each = np.logaddexp(0.0, first) - self.target[:, None] * first
        else:
            highest = scores.max(axis=2)
            each = highest + np.log(np.exp(scores - highest[:, :, None]).sum(axis=2))
            each -= scores[np.arange(len(scores)), :, self.target.astype(int)]
        return np.asarray((self.weight * each).sum(axis=0) + 0.5 * _dot(_ridge(penalty) * beta, beta))

    def _derivatives(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weighted slopes (N, G, O), and the bend: weighted curvatures, or of classes their probabilities."""
        assert self.loss in (SQUARED, POISSON, LOGISTIC, SOFTMAX, GAMMA, TWEEDIE)
        if self.loss == SOFTMAX:
            chances = softmax(scores, axis=2)
            slopes = chances.copy()
            slopes[np.arange(len(slopes)), :, self.target.astype(int)] -= 1.0
            return self.weight[:, :, None] * slopes, chances
        target, weight = self.target[:, None, None], self.weight[:, :, None]
        if self.loss == SQUARED:
            return weight * (scores - target), np.broadcast_to(weight, scores.shape)
        if self.loss == POISSON:
            rate = np.exp(np.minimum(scores, MAX_LOG_RATE))
            return weight * (rate - target), weight * np.maximum(rate, LEAST_CURVATURE)
        if self.loss in (GAMMA, TWEEDIE):
            # The deviance falls like e^(1 - p)s and rises like e^(2 - p)s, or s itself for p = 2.
            falling, rising = self._costs(scores)
            down, up = self.parameter - 1.0, 2.0 - self.parameter
            slopes = (up * rising if up > 0.0 else 1.0) - down * falling
            return weight * slopes, weight * np.maximum(up**2 * rising + down**2 * falling, LEAST_CURVATURE)
        p = expit(scores)
        return weight * (p - target), weight * np.maximum(p * (1.0 - p), LEAST_CURVATURE)

    def _costs(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the two parts of the deviance of scores (N, G, 1), the one that falls and the one that rises."""
        held = np.clip(scores, -MAX_LOG_RATE, MAX_LOG_RATE)
        down, up = self.parameter - 1.0, 2.0 - self.parameter
        return self.target[:, None, None] * np.exp(-down * held) / down, np.exp(up * held) / up if up > 0.0 else held

    def _pull(self, slopes: FloatArray) -> FloatArray:
        flat = self.design.pull(slopes.reshape(len(slopes), -1))
        return flat.reshape(len(flat), self.sets, self.outputs)

    def _step(
        self,
        gradient: FloatArray,
        bend: FloatArray,
        penalty: FloatArray,
        precondition: Callable[[FloatArray], FloatArray],
        tolerance: float,
        late: Callable[[], bool],
    ) -> FloatArray:
        """Find the Newton step (P + 1, G, O), by conjugate gradients that run side by side."""
        groups = self.sets if self.loss == SOFTMAX else 0
        wide = self.design.padded(bend.reshape(len(bend), -1))
        ridge = _ridge(penalty)
        step = np.zeros_like(gradient)
        left = gradient.copy()
        along = towards = precondition(left)
        size = _dot(left, towards)
        enough = tolerance**2 * size
        for _ in range(MAX_ITERATIONS):
            if not (size > enough).any() or late():
                break
            flat = self.design.product(along.reshape(len(along), -1), wide, groups, self.weight)
            image = flat.reshape(along.shape) + ridge * along
            if groups:
                image += LEAST_CURVATURE * ridge * along
            # A set that has converged stands still, and one whose curvature is lost in rounding.
            energy = _dot(along, image)
            moves = (size > enough) & (energy > 0.0)
            if not moves.any():
                break
            share = np.divide(size, energy, out=np.zeros_like(size), where=moves)[:, None]
            step += share * along
            left -= share * image
            towards = precondition(left)
            before, size = size, _dot(left, towards)
            along = towards + np.divide(size, before, out=np.zeros_like(size), where=moves)[:, None] * along
        return step

    def _preconditioner(self, bend: FloatArray, penalty: FloatArray) -> Callable[[FloatArray], FloatArray]:
        """Return a product with the inverse of the Hessian's blocks of single curves, of all sets together."""
        numbers = sum(b.num_params**2 for b in self.design.bases if b.matrix is not None)
        shared = numbers * self.outputs > MAX_BLOCK_NUMBERS
        if self.loss == SOFTMAX:
            curvature = np.einsum("ng,ngo->no", self.weight, bend * (1.0 - bend)) / self.sets
        else:
            curvature = bend.mean(axis=1)
        if shared:
            curvature = curvature.mean(axis=1, keepdims=True)
        shared_penalty = np.exp(np.log(penalty).reshape(len(penalty), -1).mean(axis=1))
        return _block_inverses(self.design.bases, *self.design.tridiagonals(curvature), shared_penalty)


def _ridge(penalty: FloatArray) -> FloatArray:
    """Shape penalties like coefficients: (P + 1, 1 or G, 1)."""
    return penalty.reshape(len(penalty), -1, 1)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Multiply two sets of coefficients: (G,)."""
    return np.einsum("pgo,pgo->g", a, b)


def _unchanged(vectors: FloatArray) -> FloatArray:
    return vectors


def _block_inverses(
    bases: Sequence[CurveBasis], diag: FloatArray, off_diag: FloatArray, penalty: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Return a function that multiplies (P + 1, G, O) by the inverse of each curve's block of the Hessian.

    diag, off_diag: (R + 1, O) or (R + 1, 1), of the matrices' blocks, which are tridiagonal.
    """
    scale = np.zeros((len(penalty), diag.shape[1]))
    #: Blocks of one size are multiplied together.
    places: dict[int, list[NDArray[np.int64]]] = {}
    blocks: dict[int, list[FloatArray]] = {}
    row = param = 0
    for basis in bases:
        rows, params = slice(row, row + basis.curve.num_matrices), np.arange(param, param + basis.num_params)
        row, param = rows.stop, param + basis.num_params
        if basis.matrix is None and len(basis.curve.knots) == 1:
            scale[params] = 1.0 / (diag[rows] + penalty[params, None])
            continue
        steps = np.arange(rows.stop - rows.start)
        if basis.matrix is None:
            block = np.zeros((diag.shape[1], len(steps), len(steps)))
            block[:, steps, steps] = diag[rows].T
            block[:, steps[:-1], steps[1:]] = block[:, steps[1:], steps[:-1]] = off_diag[rows][:-1].T
        else:
            neighbours = off_diag[rows][:-1].T[:, :, None]
            image = diag[rows].T[:, :, None] * basis.matrix
            image[:, :-1] += neighbours * basis.matrix[1:]
            image[:, 1:] += neighbours * basis.matrix[:-1]
            block = basis.matrix.T @ image
        block[:, np.arange(len(params)), np.arange(len(params))] += penalty[params]
        places.setdefault(len(params), []).append(params)
        blocks.setdefault(len(params), []).append(np.asarray(np.linalg.inv(block), np.float64))
    scale[-1] = 1.0 / (diag[-1] + penalty[-1])
    stacked = [(np.stack(places[size]), np.stack(blocks[size])) for size in places]

    def apply(vectors: FloatArray) -> FloatArray:
        out = scale[:, None, :] * vectors
        for at, inverses in stacked:
            # (curves, O or 1, K, K) @ (curves, O, K, G)
            out[at] = (inverses @ vectors[at].transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
        return out

    return apply
