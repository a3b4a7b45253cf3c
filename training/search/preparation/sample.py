"""Hold the rows that a model learns from, on the scale on which it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.kernels.losses import (
    MAX_LOG_RATE,
    POISSON,
    RATE_LOSSES,
    SOFTMAX,
    Objective,
    best_constant,
    losses,
)


@dataclass(frozen=True)
class Sample:
    """Hold rows to learn from.

    Attributes:
        space: their features.
        coordinates: (N, F); without rows once all is prepared.
        target: (N,), standardised numbers, or class codes for a classifier.
        weight: (N,).
        num_classes: 0 unless it is a classifier's.
        objective: what to minimise.
        shift, scale: the finished score is shift + scale * (that of ``target``).
        teacher: (N,) or (N, classes), a stronger model's targets on the scale of ``target``.
        moments: (N,) times by which rows are judged forward, if they are.
    """

    space: FeatureSpace
    coordinates: FloatArray
    target: FloatArray
    weight: FloatArray
    num_classes: int
    objective: Objective
    shift: float = 0.0
    scale: float = 1.0
    teacher: FloatArray | None = None
    moments: FloatArray | None = None

    @property
    def num_outputs(self) -> int:
        """Count the outputs: one per class for softmax, else one."""
        return self.num_classes if self.objective.kind == SOFTMAX else 1

    def start(self) -> FloatArray:
        """Find the scores that fit best where nothing is known of a row, (O,)."""
        return best_constant(*self.objective.training, self.target, self.weight, self.num_classes)

    def loss(self, scores: FloatArray) -> float:
        """Compute the mean loss of scores (N, O) by which models are judged."""
        return float(np.average(losses(*self.objective.judging, scores, self.target), weights=self.weight))

    def residuals(self, scores: FloatArray) -> FloatArray:
        """Return what scores (N, O) leave of the target, on the target's scale: (N, O)."""
        kind, target = self.objective.kind, self.target
        if kind == SOFTMAX:
            return np.eye(scores.shape[1])[target.astype(int)] - softmax(scores, axis=1)
        if kind in RATE_LOSSES:
            rate = np.exp(np.minimum(scores[:, 0], MAX_LOG_RATE))
            power = 1.0 if kind == POISSON else self.objective.training[1]
            return ((target - rate) / (rate ** (0.5 * power) + 1e-9))[:, None]
        expected = scores[:, 0] if self.num_classes == 0 else expit(scores[:, 0])
        return (target - expected)[:, None]
