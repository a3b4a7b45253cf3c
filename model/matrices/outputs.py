"""Select the one number of a model that is looked at, as a score and as a prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eigenserve.model.arrays import FloatArray


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
        """Map scores (N, O) to the score that is looked at, (N,)."""
        return self.sign * scores[:, self.index]

    def heads(self, members: int) -> slice:
        """Select the heads of a pencil with so many members that score it."""
        return slice(self.index * members, (self.index + 1) * members)
