"""Hold one member's training: where it starts, and what every step takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.training.kernels.layout import Float32, Member, Plan, Rows
from eigenserve.training.search.candidates import Candidate
from eigenserve.training.search.members import Blueprint


class Task(NamedTuple):
    """Name a member to train, by the arguments of ``Workbench.train``."""

    candidate: Candidate
    steps: int
    fold: int | None
    key: tuple[int, ...]


@dataclass(frozen=True)
class Course:
    """Hold what one member is trained by, the same for every device.

    Attributes:
        blueprint, plan: of the member; the plan has its curves only.
        member: as it starts; the kernels change it.
        rows: where rows stand, and what is learnt.
        train, held: the rows trained on, and those of the fold left out.
        batch: rows in a step.
        rates: learning rate of each step.
        penalty: (P,), per row.
        active: (P,), the parameters in use.
        rng: shuffles the rows.
    """

    blueprint: Blueprint
    plan: Plan
    member: Member
    rows: Rows
    train: NDArray[np.int64]
    held: NDArray[np.int64]
    batch: int
    rates: FloatArray
    penalty: Float32
    active: NDArray[np.bool_]
    rng: np.random.Generator

    @property
    def steps_per_epoch(self) -> int:
        """Count the steps of a pass over the rows."""
        return len(self.train) // self.batch

    def epochs(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield the first step of every pass, and the order of its rows."""
        for first in range(0, len(self.rates), self.steps_per_epoch):
            yield first, self.rng.permutation(self.train)
