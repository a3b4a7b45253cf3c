"""Predictor: rows in, scores and predictions out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.consistency import check_curves
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.features import FeatureSpace

Task = Literal["regression", "binary", "multiclass", "poisson"]
TASKS: tuple[Task, ...] = get_args(Task)
Link = Literal["identity", "logistic", "softmax", "exp"]
ClassLabel = str | int | float | bool

#: A task's prediction is link_inverse(score).
LINKS: dict[Task, Link] = dict(zip(TASKS, get_args(Link), strict=True))


@dataclass(frozen=True)
class Output:
    """Select a class's score and probability, or the only score and value of a model without classes.

    Attributes:
        index: of the output that scores it.
        sign: -1 for the first of two classes, whose score is the negative of the second's; else 1.
        predict: scores (N, O) -> (N,): the class's probability, or the value.
    """

    index: int
    sign: float
    predict: Callable[[FloatArray], FloatArray]

    def score(self, scores: FloatArray) -> FloatArray:
        """Return the score that is explained, (N,), of scores (N, O)."""
        return self.sign * scores[:, self.index]


@dataclass(frozen=True)
class Predictor:
    """Predict by a feature space, an ensemble and the link of a task.

    Attributes:
        task: regression, binary, multiclass or poisson.
        target: name of the predicted column.
        features: the features it takes.
        ensemble: the members that score.
        classes: labels of a classifier in the order of its outputs; a binary model scores the second one.
        log_link: the score of a regression is the logarithm of its prediction.
    """

    task: Task
    target: str
    features: FeatureSpace
    ensemble: SpectralEnsemble
    classes: tuple[ClassLabel, ...] = ()
    log_link: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be {', '.join(TASKS[:-1])} or {TASKS[-1]}; got {self.task!r}")
        if self.classes and self.task not in ("binary", "multiclass"):
            raise ValueError(
                f"a {self.task} model must have no classes; got {self.classes}. With classes the task is "
                f"{'binary' if len(self.classes) == 2 else 'multiclass'}"
            )
        expected = {"binary": 2, "multiclass": len(self.classes)}.get(self.task, 0)
        if len(self.classes) != expected or (self.task == "multiclass" and expected < 2):
            raise ValueError(f"a {self.task} model must have {expected or 'no'} classes; got {self.classes}")
        if self.log_link and self.task != "regression":
            raise ValueError(f"log_link is only valid for regression; this model's task is {self.task}")
        outputs = len(self.classes) if self.task == "multiclass" else 1
        if self.ensemble.num_outputs != outputs:
            raise ValueError(f"a {self.task} model has {outputs} outputs; got {self.ensemble.num_outputs}")
        check_curves(self.features, self.ensemble)

    @property
    def link(self) -> Link:
        """Return the link of the task, or of a regression by the logarithm."""
        return "exp" if self.log_link else LINKS[self.task]

    def scores(self, columns: FloatArray) -> FloatArray:
        """Return scores (N, O) of columns (N, F) as ``features.encode`` gives them."""
        return self.ensemble.scores(self.features.coordinates(columns))

    def matrices(self, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return T of every head, diag (N, H, n) and off_diag (N, H, n-1), of columns (N, F)."""
        return self.ensemble.pencil.at(self.features.coordinates(columns))

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return (N,) predictions of rows (see ``FeatureSpace.encode``): numbers, or class labels.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
        """
        scores = self.scores(self.features.encode(rows))
        return self.labels(self.probabilities(scores)) if self.classes else self.values(scores)

    def predict_proba(self, rows: Any) -> FloatArray:
        """Return (N, classes) probabilities of rows, in the order of ``classes``.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: the model is not a classifier.
        """
        if not self.classes:
            raise ValueError(f"only classifiers have probabilities; this is a {self.task} model")
        return self.probabilities(self.scores(self.features.encode(rows)))

    def values(self, scores: FloatArray) -> FloatArray:
        """Return predictions (N,) of a model without classes; infinite where they are beyond float64."""
        if self.link != "exp":
            return scores[:, 0]
        with np.errstate(over="ignore"):
            return np.exp(scores[:, 0])

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Return probabilities (N, classes) of scores (N, O)."""
        if self.link == "softmax":
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        # The smaller one is computed as such, not as 1 - p, which would lose its digits. By hand, not by scipy.special:
        # importing it costs a server 30 MB and 0.2 s.
        power = np.exp(-np.abs(scores[:, 0]))
        larger, smaller = 1 / (1 + power), power / (1 + power)
        positive = scores[:, 0] > 0
        return np.stack([np.where(positive, smaller, larger), np.where(positive, larger, smaller)], axis=1)

    def labels(self, probabilities: FloatArray) -> NDArray[Any]:
        """Return the most probable class of each row of (N, classes); of equal ones the first."""
        return np.array(self.classes)[probabilities.argmax(axis=1)]

    def score_of(self, value: float, what: str = "value") -> float:
        """Return the score of a prediction: of a value, or of two classes' second one's probability.

        Raises:
            ValueError: no prediction can be ``what``.
        """
        low, high = {"logistic": (0.0, 1.0), "exp": (0.0, math.inf)}.get(self.link, (-math.inf, math.inf))
        if not low < value < high:
            raise ValueError(f"{what} must be above {low:g} and below {high:g}, as predictions are; got {value!r}")
        if self.link == "logistic":
            return math.log(value) - math.log1p(-value)
        return math.log(value) if self.link == "exp" else float(value)

    def outputs(
        self, columns: FloatArray, target: ClassLabel | None = None, scores: FloatArray | None = None
    ) -> FloatArray:
        """Return for each row of columns (N, F) the combination of outputs (N, O) that scores the class ``target``.

        By default the second of two classes, and the predicted one of several; that takes the rows' ``scores``,
        computed here unless they are given.

        Raises:
            ValueError: an unknown class.
        """
        if target is not None:
            chosen = np.full(len(columns), self.position_of(target))
        elif self.task == "multiclass":
            chosen = (self.scores(columns) if scores is None else scores).argmax(axis=1)
        else:
            chosen = np.ones(len(columns), int)
        if self.task == "multiclass":
            return np.eye(len(self.classes))[chosen]
        return np.where(chosen, 1.0, -1.0)[:, None]

    def position_of(self, label: Any, what: str = "target") -> int:
        """Return the position of a class.

        Raises:
            ValueError: ``what`` is not one of the classes.
        """
        if label not in self.classes:
            allowed = f"one of {', '.join(map(repr, self.classes))}" if self.classes else "left out: no classes"
            raise ValueError(f"{what} must be {allowed}; got {label!r}")
        return self.classes.index(label)

    def output_of(self, columns: FloatArray, target: ClassLabel | None = None) -> Output:
        """Return the output that scores the class ``target``, or by default what ``outputs`` gives, of columns (F,)."""
        combination = self.outputs(columns[None], target)[0]
        index = int(np.abs(combination).argmax())
        if not self.classes:
            return Output(index, 1.0, self.values)
        chosen = index if self.task == "multiclass" else int(combination[0] > 0.0)
        return Output(index, float(combination[index]), lambda scores: self.probabilities(scores)[:, chosen])
