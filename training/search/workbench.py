"""Hold what members are trained on, and the ways to train them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.gam import AdditiveModel
from eigenserve.training.curves.caps import Cap
from eigenserve.training.kernels.epoch import member_scores, train_epoch
from eigenserve.training.kernels.layout import Float32, Plan, Rows, workspace
from eigenserve.training.kernels.losses import losses
from eigenserve.training.kernels.schedule import one_cycle
from eigenserve.training.search.members import Blueprint, identity_params, new_member, unpacked

#: Groups of curves that candidates switch and penalise as one.
MAIN, COARSE, FINE = range(3)


@dataclass(frozen=True)
class Candidate:
    """Describe one way to train members.

    Attributes:
        penalties: L2 strength on the curves of single features, coarse pairs and fine pairs; None leaves a group out.
        additive_start: members start at, and are drawn to, the additive model instead of zero.
    """

    penalties: tuple[float | None, float | None, float | None]
    additive_start: bool


#: The plain affine pencil of the literature has few parameters and no penalty.
PLAIN = (Candidate((0.0, None, None), additive_start=False),)
#: Strong and weak penalties, with and without pairs: no fixed setting suited all of the tables it was tried on.
CANDIDATES = tuple(
    Candidate(penalties, start)
    for penalties, start in (
        ((2.0, None, None), True),
        ((8.0, None, None), True),
        ((1.0, None, None), False),
        ((4.0, None, None), False),
        ((2.0, 2.0, None), True),
        ((8.0, 8.0, None), True),
        ((2.0, 2.0, None), False),
        ((0.5, 0.5, 0.5), False),
        ((1.0, None, 1.0), False),
        ((2.0, None, 2.0), False),
        ((2.0, 2.0, 2.0), False),
        ((4.0, 4.0, 4.0), True),
    )
)


class TrainedMember(NamedTuple):
    """Hold a member's parameters, its offset (O,) and its scores (rows of the fold left out, O)."""

    params: Float32
    offset: FloatArray
    scores: FloatArray


@dataclass(frozen=True)
class Workbench:
    """Hold what every candidate is trained on.

    Attributes:
        blueprint: all curves.
        groups: (C,), MAIN, COARSE or FINE for each curve.
        rows: where the rows stand.
        fold: (N,), 0 ... folds - 1, or -1 for a row that is always trained on and never judged.
        candidates: ways to train that come into question.
        additive: the additive model, whose parameters are the first of the blueprint's; None without one.
        start: (O,), scores to start from without it.
        judging: the loss by which candidates are compared, and its parameter.
        batch, learning_rate, seed: of the training.
        caps: on the strength of features.
    """

    blueprint: Blueprint
    groups: NDArray[np.int64]
    rows: Rows
    fold: NDArray[np.int64]
    candidates: Sequence[Candidate]
    additive: AdditiveModel | None
    start: FloatArray
    judging: tuple[int, float]
    batch: int
    learning_rate: float
    seed: int
    caps: tuple[Cap, ...] = ()

    @property
    def folds(self) -> int:
        """Count the folds."""
        return int(self.fold.max()) + 1

    def suitable(self) -> list[Candidate]:
        """Return the candidates whose curves exist, and whose start."""
        present = [bool((self.groups == group).any()) for group in (MAIN, COARSE, FINE)]
        return [
            candidate
            for candidate in self.candidates
            if all(present[group] for group, p in enumerate(candidate.penalties) if p is not None)
            and (self.additive is not None or not candidate.additive_start)
        ]

    def train(
        self, candidate: Candidate, steps: int, fold: int | None, key: tuple[int, ...], stop: Event
    ) -> TrainedMember:
        """Train a member outside one fold, or on all rows.

        Args:
            candidate: how.
            steps: optimiser steps.
            fold: the fold left out; None for none.
            key: separates its random stream from those of other members.
            stop: set when it should give up.

        Raises:
            CancelledError: ``stop`` was set.
        """
        plan, penalty, active = self._plan(candidate)
        train = np.flatnonzero(self.fold != fold) if fold is not None else np.arange(len(self.fold))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        anchor, offset = self._anchor(candidate, fold)
        member = new_member(self.blueprint, anchor, offset, active, rng)
        space = workspace(plan, self.batch)
        rates = one_cycle(steps, self.learning_rate)
        penalty = penalty / np.float32(len(train))
        batch = min(self.batch, len(train))
        per_epoch = len(train) // batch
        for first in range(0, steps, per_epoch):
            if stop.is_set():
                raise CancelledError
            order = rng.permutation(train)
            train_epoch(plan, self.rows, order, batch, rates[first : first + per_epoch], penalty, member, space)
            for cap in self.caps:
                cap.project(unpacked(self.blueprint, member.params))
        held = np.flatnonzero(self.fold == fold) if fold is not None else np.empty(0, np.int64)
        scores = np.empty((len(held), plan.num_outputs))
        member_scores(plan, self.rows, held, member.params, member.offset, space, scores)
        return TrainedMember(member.params, member.offset, scores)

    def loss(self, scores: FloatArray) -> float:
        """Compute the mean loss of out-of-fold scores (N, O), by which candidates are compared."""
        held = self.fold >= 0
        each = losses(*self.judging, scores[held], self.rows.target[held].astype(np.float64))
        return float((self.rows.sample_weight[held] * each).mean())

    def step_seconds(self, candidate: Candidate) -> float:
        """Estimate how long an optimiser step takes on one core.

        A model of the cost, not a clock, so that a budget gives the same fit each time. Measured: 0.1
        microseconds per eigenpair, 4 nanoseconds per curve of a row, 6 per row of parameters (at 2.6 GHz).
        """
        plan, _, active = self._plan(candidate)
        per_row = 0.1 + 0.004 * len(plan.active)
        return 1e-6 * plan.num_outputs * (self.batch * per_row + 0.006 * float(active.sum()))

    def _plan(self, candidate: Candidate) -> tuple[Plan, Float32, NDArray[np.bool_]]:
        """Make the kernels' plan, penalties per parameter, and which parameters are active."""
        plan = self.blueprint.plan
        strengths = np.array([np.nan if p is None else p for p in candidate.penalties])[self.groups]
        curve_of_param = np.repeat(np.arange(len(self.groups)), np.diff(plan.param_offsets)[:-1])
        penalty = np.append(strengths[curve_of_param], 0.0)  # the constant matrix, the chain, goes free
        used = np.flatnonzero(np.isfinite(strengths))
        return plan._replace(active=used), np.nan_to_num(penalty).astype(np.float32), np.isfinite(penalty)

    def _anchor(self, candidate: Candidate, fold: int | None) -> tuple[Float32, FloatArray]:
        if not candidate.additive_start or self.additive is None:
            return identity_params(self.blueprint, np.zeros((0, self.blueprint.plan.num_outputs))), self.start
        at = -1 if fold is None else fold
        return identity_params(self.blueprint, self.additive.coefficients[at]), self.additive.offsets[at]
