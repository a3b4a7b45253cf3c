"""Say what a changed row shall be predicted to be, and measure how far scores are from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray


class Predictor(Protocol):
    """Describe what goals need to know of a model."""

    @property
    def task(self) -> str: ...  # noqa: D102

    @property
    def link(self) -> str: ...  # noqa: D102

    @property
    def classes(self) -> tuple[Any, ...]: ...  # noqa: D102

    def values(self, scores: FloatArray) -> FloatArray: ...  # noqa: D102

    def probabilities(self, scores: FloatArray) -> FloatArray: ...  # noqa: D102


@dataclass(frozen=True)
class Goal:
    """Want a prediction that is at least, or at most, a value; or a class.

    ``margin`` is where the search goes by, and at least zero about where the goal is reached; ``reached`` is the
    truth, decided by the prediction itself.

    Attributes:
        model: that predicts.
        sign: 1 for at least, -1 for at most.
        value: of the prediction; None for a class.
        threshold: the score that belongs to the value.
        chosen: position of the wanted class.
    """

    model: Predictor
    sign: float = 1.0
    value: float | None = None
    threshold: float = 0.0
    chosen: int = 0

    def margin(self, scores: FloatArray) -> FloatArray:
        """Map scores (N, O) to margins (N,), in units of the score."""
        if scores.shape[1] == 1:
            return self.sign * (scores[:, 0] - self.threshold)
        return scores[:, self.chosen] - np.delete(scores, self.chosen, axis=1).max(axis=1)

    def slopes(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Map bounds of the scores' slopes (N, O) to bounds of the margin's, (N,)."""
        if low.shape[1] == 1:
            ends = np.sort(self.sign * np.stack([low[:, 0], high[:, 0]]), axis=0)
            return ends[0], ends[1]
        others_low, others_high = (np.delete(part, self.chosen, axis=1) for part in (low, high))
        return low[:, self.chosen] - others_high.max(axis=1), high[:, self.chosen] - others_low.min(axis=1)

    def reached(self, scores: FloatArray) -> NDArray[np.bool_]:
        """Map scores (N, O) to whether the prediction is the wanted one, (N,)."""
        model = self.model
        if self.value is None:
            return np.asarray(model.probabilities(scores).argmax(axis=1) == self.chosen)
        found = model.probabilities(scores)[:, 1] if model.classes else model.values(scores)
        return np.asarray(found >= self.value if self.sign > 0.0 else found <= self.value)

    def score(self, scores: FloatArray) -> FloatArray:
        """Map scores (N, O) to the score of the wanted class, or the only one, (N,)."""
        if self.model.task == "multiclass":
            return scores[:, self.chosen]
        return self.sign * scores[:, 0] if self.value is None else scores[:, 0]


def read_goal(model: Predictor, wanted: Mapping[str, Any]) -> Goal:
    """Read a goal from {"above": v}, {"below": v} or {"class": c}.

    Values are on the prediction's scale: of the target, or for two classes the probability of the second.

    Raises:
        ValueError: anything else, or a goal that no prediction of the model can reach.
    """
    if not isinstance(wanted, Mapping) or len(wanted) != 1 or not set(wanted) <= {"above", "below", "class"}:
        raise ValueError('wanted must be one of {"above": value}, {"below": value} and {"class": label}')
    ((kind, value),) = wanted.items()
    if kind == "class":
        if value not in model.classes:
            allowed = f"one of {', '.join(map(repr, model.classes))}" if model.classes else "left out: no classes"
            raise ValueError(f"class must be {allowed}; got {value!r}")
        chosen = model.classes.index(value)
        return Goal(model, sign=1.0 if model.task == "multiclass" or chosen else -1.0, chosen=chosen)
    if model.task == "multiclass":
        raise ValueError(f'wanted must be {{"class": label}} for a model of several classes; got "{kind}"')
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{kind} must be a number; got {value!r}")
    number = float(value)
    low, high = {"logistic": (0.0, 1.0), "exp": (0.0, math.inf)}.get(model.link, (-math.inf, math.inf))
    if not low < number < high:
        raise ValueError(f"{kind} must be above {low:g} and below {high:g}, as predictions are; got {value!r}")
    threshold = {"logistic": lambda p: math.log(p) - math.log1p(-p), "exp": math.log}.get(model.link, float)(number)
    return Goal(model, sign=1.0 if kind == "above" else -1.0, value=number, threshold=threshold)
