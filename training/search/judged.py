"""Hold what a search knows of a candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.gam import AdditiveModel
from eigenserve.training.search.candidates import Candidate


@dataclass(frozen=True)
class Judged:
    """Hold a candidate trained for some steps, with the scores (N, O) it gives to rows it has not seen.

    Attributes:
        candidate: how it was trained; None for an additive model, which is a member as it is.
        steps: optimiser steps of its training.
        scores: of rows out of fold; none where they are no longer needed.
        loss: of the scores.
        additive: the additive model.
        cut: steps that the longest of its folds got where the clock cut them all short; 0 where it did not.
    """

    candidate: Candidate | None
    steps: int
    scores: FloatArray
    loss: float
    additive: AdditiveModel | None = None
    cut: int = 0

    @property
    def steps_on_all_rows(self) -> int:
        """Return the steps of a member that is to be as good as those of its folds."""
        return self.cut or self.steps


def described(picks: Sequence[Judged]) -> list[dict[str, Any]]:
    """Describe the members, for the card."""
    counts = Counter((pick.candidate, pick.steps_on_all_rows, pick.loss) for pick in picks)
    return [
        {
            "members": count,
            "steps": steps,
            "out_of_fold_loss": loss,
            "kind": "additive" if candidate is None else "spectral",
            **({} if candidate is None else asdict(candidate)),
        }
        for (candidate, steps, loss), count in counts.items()
    ]
