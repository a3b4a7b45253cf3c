"""Judged: what a search knows of a candidate."""

from __future__ import annotations

from dataclasses import dataclass

from eigenserve.model.arrays import FloatArray
from eigenserve.training.search.candidates import Candidate


@dataclass(frozen=True)
class Judged:
    """Hold a candidate trained for some steps, with the scores (N, O) it gives to rows it has not seen.

    ``candidate`` None is an additive model itself.
    """

    candidate: Candidate | None
    steps: int
    scores: FloatArray
    loss: float
