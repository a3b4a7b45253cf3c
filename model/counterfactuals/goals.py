"""Say what a changed row shall be predicted to be, and measure how far scores are from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.predictor import Predictor


@dataclass(frozen=True)
class Goal:
    """Want a prediction that is at least, or at most, a value; or a class.

    ``margin`` is where the search goes by, and at least zero about where the goal is reached; ``reached`` is the
    truth, decided by the prediction itself.

    Attributes:
        predictor: what predicts.
        sign: 1 for at least, -1 for at most.
        value: of the prediction; None for a class.
        threshold: the score that belongs to the value.
        chosen: position of the wanted class.
        more: by how much the score must lie beyond the goal.
    """

    predictor: Predictor
    sign: float = 1.0
    value: float | None = None
    threshold: float = 0.0
    chosen: int = 0
    more: float = 0.0

    def margin(self, scores: FloatArray) -> FloatArray:
        """Map scores (N, O) to margins (N,), in units of the score."""
        if scores.shape[1] == 1:
            return self.sign * (scores[:, 0] - self.threshold) - self.more
        return scores[:, self.chosen] - np.delete(scores, self.chosen, axis=1).max(axis=1) - self.more

    def slopes(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Map bounds of the scores' slopes (N, O) to bounds of the margin's, (N,)."""
        if low.shape[1] == 1:
            ends = np.sort(self.sign * np.stack([low[:, 0], high[:, 0]]), axis=0)
            return ends[0], ends[1]
        others_low, others_high = (np.delete(part, self.chosen, axis=1) for part in (low, high))
        return low[:, self.chosen] - others_high.max(axis=1), high[:, self.chosen] - others_low.min(axis=1)

    def reached(self, scores: FloatArray) -> NDArray[np.bool_]:
        """Map scores (N, O) to whether the prediction is the wanted one, (N,)."""
        predictor = self.predictor
        if self.value is None:
            good = predictor.probabilities(scores).argmax(axis=1) == self.chosen
        else:
            predicted = predictor.probabilities(scores)[:, 1] if predictor.classes else predictor.values(scores)
            good = predicted >= self.value if self.sign > 0.0 else predicted <= self.value
        return np.asarray(good & (self.margin(scores) >= 0.0) if self.more else good)

    def score(self, scores: FloatArray) -> FloatArray:
        """Map scores (N, O) to the score of the wanted class, or the only one, (N,)."""
        if self.predictor.task == "multiclass":
            return scores[:, self.chosen]
        return self.sign * scores[:, 0] if self.value is None else scores[:, 0]


def read_goal(predictor: Predictor, wanted: Mapping[str, Any]) -> Goal:
    """Read a goal from {"above": v}, {"below": v} or {"class": c}.

    Values are on the prediction's scale: of the target, or for two classes the probability of the second.

    Raises:
        ValueError: anything else, or a goal that no prediction of the model can reach.
    """
    if not isinstance(wanted, Mapping) or len(wanted) != 1 or not set(wanted) <= {"above", "below", "class"}:
        raise ValueError('wanted must be one of {"above": value}, {"below": value} and {"class": label}')
    ((kind, value),) = wanted.items()
    if kind == "class":
        chosen = predictor.position_of(value, "class")
        return Goal(predictor, sign=1.0 if predictor.task == "multiclass" or chosen else -1.0, chosen=chosen)
    if predictor.task == "multiclass":
        raise ValueError(f'wanted must be {{"class": label}} for a model of several classes; got "{kind}"')
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{kind} must be a number; got {value!r}")
    number = float(value)
    threshold = predictor.score_of(number, kind)
    return Goal(predictor, sign=1.0 if kind == "above" else -1.0, value=number, threshold=threshold)
