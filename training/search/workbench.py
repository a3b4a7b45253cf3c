"""Hold what members are trained on, and the ways to train them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import cached_property
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
from eigenserve.training.planning.costs import step_seconds
from eigenserve.training.search.candidates import COARSE, FINE, MAIN, Candidate, neighbours
from eigenserve.training.search.members import Blueprint, Course, identity_params, new_member, unpacked
from eigenserve.training.search.on_device.devices import CPU

#: Seconds of training between looks at the clock.
LOOK_S = 0.25


class TrainedMember(NamedTuple):
    """Hold a member's parameters, its offset (O,), its scores (rows of the fold left out, O), and its steps."""

    params: Float32
    offset: FloatArray
    scores: FloatArray
    steps: int


@dataclass(frozen=True)
class Workbench:
    """Hold what every candidate is trained on.

    Attributes:
        blueprint: all curves.
        groups: (C,), MAIN, COARSE or FINE for each curve.
        rows: where the rows stand.
        fold: (N,), 0 ... folds - 1, or -1 for a row that is always trained on and never judged.
        candidates: ways to train that come into question.
        additive_models: models whose parameters are the first of the blueprint's; members may start from the best.
        start: (O,), scores to start from without it.
        judging: the loss by which candidates are compared, and its parameter.
        batch, learning_rate, seed: of the training.
        sizes: of matrices that come into question, ascending.
        caps: on the strength of features.
        max_candidates: that a search starts from.
        needs_pairs: leave out candidates without pairs, since the user named some.
        device: where members are trained, of ``FitSettings``.
    """

    blueprint: Blueprint
    groups: NDArray[np.int64]
    rows: Rows
    fold: NDArray[np.int64]
    candidates: Sequence[Candidate]
    additive_models: tuple[AdditiveModel, ...]
    start: FloatArray
    judging: tuple[int, float]
    batch: int
    learning_rate: float
    seed: int
    sizes: tuple[int, ...]
    caps: tuple[Cap, ...] = ()
    max_candidates: int = 100
    teacher: FloatArray | None = None
    needs_pairs: bool = False
    device: str = CPU

    @property
    def folds(self) -> int:
        """Count the folds."""
        return int(self.fold.max()) + 1

    @cached_property
    def additive(self) -> AdditiveModel | None:
        """Return the best of the additive models without pairs, out of fold."""
        return self._best(self.singles)

    @cached_property
    def singles(self) -> int:
        """Count the parameters of additive models without pairs: those of the first curves of single features."""
        first = int(np.argmax(np.append(self.groups, COARSE) != MAIN))
        return int(self.blueprint.plan.param_offsets[first])

    def _best(self, most_params: int) -> AdditiveModel | None:
        models = [model for model in self.additive_models if model.coefficients.shape[1] <= most_params]
        return min(models, key=lambda model: self.loss(model.out_of_fold), default=None)

    @cached_property
    def _factors(self) -> FloatArray | None:
        """Return the factors of penalties of all curves, (folds + 1, C), by the additive model that has some."""
        known = [model for model in self.additive_models if model.factors is not None]
        chosen = min(known, key=lambda model: self.loss(model.out_of_fold), default=None)
        if chosen is None or chosen.factors is None:
            return None
        wide = np.ones((len(chosen.factors), len(self.groups)))
        wide[:, : chosen.factors.shape[1]] = chosen.factors
        return wide[:, self.blueprint.levels.base_of]

    def suitable(self) -> list[Candidate]:
        """List the candidates to start from whose curves exist, and whose start: as many as may be, of all kinds."""
        suited = [candidate for candidate in self.candidates if self._suits(candidate)]
        if self.additive is not None and self.additive.factors is not None:
            suited = [replace(candidate, selective=candidate.additive_start) for candidate in suited]
        count = min(len(suited), self.max_candidates)
        return [suited[round(i)] for i in np.linspace(0, len(suited) - 1, count)]

    def neighbours(self, candidate: Candidate) -> list[Candidate]:
        """List the candidates that differ from this one in one respect, and whose curves exist, and whose start."""
        return [
            n
            for n in neighbours(
                candidate,
                self.blueprint.levels.count,
                self.sizes,
                taught=self.teacher is not None,
                selects=self._factors is not None,
            )
            if self._suits(n)
        ]

    def _suits(self, candidate: Candidate) -> bool:
        present = [bool((self.groups == group).any()) for group in (MAIN, COARSE, FINE)]
        return (
            all(present[group] for group, p in enumerate(candidate.penalties) if p is not None)
            and (self.additive is not None or not candidate.additive_start)
            and not (self.needs_pairs and candidate.penalties[1:] == (None, None))
        )

    def sized(self, dim: int) -> Blueprint:
        """Return the blueprint of members of this size; their eigenvalue is the middle one unless only one is open."""
        plan = self.blueprint.plan
        if dim == plan.dim:
            return self.blueprint
        return replace(self.blueprint, plan=plan._replace(dim=dim, eig_idx=dim // 2))

    def train(
        self,
        candidate: Candidate,
        steps: int,
        fold: int | None,
        key: tuple[int, ...],
        stop: Event,
        late: Callable[[], bool] = lambda: False,
    ) -> TrainedMember:
        """Train a member outside one fold, or on all rows.

        Args:
            candidate: how.
            steps: optimiser steps.
            fold: the fold left out; None for none.
            key: separates its random stream from those of other members.
            stop: set when it should give up.
            late: true once what is trained must do.

        Raises:
            CancelledError: ``stop`` was set.
        """
        course = self.course(candidate, steps, fold, key)
        plan, member, rates, batch = course.plan, course.member, course.rates, course.batch
        space, per_epoch = workspace(plan, self.batch), course.steps_per_epoch
        per_look = max(1, int(LOOK_S / self.step_seconds(candidate)))
        for first, order in course.epochs():
            for at in range(0, min(per_epoch, steps - first), per_look):
                if stop.is_set():
                    raise CancelledError
                part = rates[first + at : first + min(at + per_look, per_epoch)]
                train_epoch(plan, course.rows, order[at * batch :], batch, part, course.penalty, member, space)
                if late():
                    break
            for cap in self.caps:
                cap.project(unpacked(course.blueprint, member.params))
            if late():
                break
        scores = np.empty((len(course.held), plan.num_outputs))
        member_scores(plan, self.rows, course.held, member.params, member.offset, space, scores)
        return TrainedMember(member.params, member.offset, scores, int(member.steps[0]))

    def course(self, candidate: Candidate, steps: int, fold: int | None, key: tuple[int, ...]) -> Course:
        """Prepare the training of a member, as ``train`` takes it."""
        blueprint = self.sized(candidate.dim)
        plan, penalty, active = self._plan(candidate, fold)
        outside = self.fold != fold if fold is not None else np.ones(len(self.fold), bool)
        train = np.flatnonzero(outside)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        anchor, offset = self._anchor(candidate, fold)
        return Course(
            blueprint=blueprint,
            plan=plan,
            member=new_member(blueprint, anchor, offset, active, rng, self._spread(candidate, fold)),
            rows=self._taught(candidate.teacher),
            train=train,
            held=np.flatnonzero(~outside),
            batch=min(self.batch, len(train)),
            rates=one_cycle(steps, candidate.rate * self.learning_rate),
            penalty=penalty / np.float32(len(train)),
            active=active,
            rng=rng,
        )

    def _taught(self, share: float) -> Rows:
        """Return the rows with the teacher's targets mixed into theirs."""
        if self.teacher is None or share == 0.0:
            return self.rows
        if self.teacher.ndim == 1:
            mixed = (1.0 - share) * self.rows.target + share * self.teacher
            return self.rows._replace(target=mixed.astype(np.float32))
        soft = share * self.teacher
        soft[np.arange(len(soft)), self.rows.target.astype(np.int64)] += 1.0 - share
        return self.rows._replace(soft=soft.astype(np.float32))

    def loss(self, scores: FloatArray) -> float:
        """Compute the mean loss of out-of-fold scores (N, O), by which candidates are compared."""
        return float(self.row_losses(scores).mean())

    def row_losses(self, scores: FloatArray) -> FloatArray:
        """Return the weighted losses of out-of-fold scores (N, O) of the rows that were held out."""
        held = self.fold >= 0
        each = losses(*self.judging, scores[held], self.rows.target[held].astype(np.float64))
        return np.asarray(self.rows.sample_weight[held] * each)

    def step_seconds(self, candidate: Candidate) -> float:
        """Estimate how long an optimiser step takes on one core where costs were measured.

        A model of the cost, not a clock, so that a budget gives the same fit each time.
        """
        plan, _, active = self._plan(candidate)
        params, rows = float(active.sum()), len(self.fold)
        return step_seconds(plan.num_outputs, len(plan.active), params, rows, self.batch, candidate.dim)

    def _plan(self, candidate: Candidate, fold: int | None = None) -> tuple[Plan, Float32, NDArray[np.bool_]]:
        """Make the kernels' plan, penalties per parameter, and which parameters are active.

        A finer curve has more and smaller ramps, so its penalty is as many times stronger: what both can say costs
        them the same.
        """
        plan, levels = self.sized(candidate.dim).plan, self.blueprint.levels
        strengths = np.array([np.nan if p is None else p for p in candidate.penalties])[self.groups]
        strengths[~levels.used(candidate.level)] = np.nan
        if candidate.selective and self._factors is not None:
            strengths = strengths * self._factors[-1 if fold is None else fold]
        counts = np.diff(plan.param_offsets)[:-1]
        curve_of_param = np.repeat(np.arange(len(self.groups)), counts)
        penalty = np.append((strengths * counts / counts[levels.base_of])[curve_of_param], 0.0)  # the chain goes free
        used = np.flatnonzero(np.isfinite(strengths))
        return plan._replace(active=used), np.nan_to_num(penalty).astype(np.float32), np.isfinite(penalty)

    def _spread(self, candidate: Candidate, fold: int | None) -> FloatArray:
        """Return how wide the matrices of each curve start, (C,): those that say little start near their anchor."""
        if not candidate.selective or self._factors is None:
            return np.ones(len(self.groups))
        return np.minimum(1.0, 1.0 / self._factors[-1 if fold is None else fold])

    def _anchor(self, candidate: Candidate, fold: int | None) -> tuple[Float32, FloatArray]:
        blueprint = self.sized(candidate.dim)
        start = self.additive if candidate.penalties[COARSE] is None else self._best(len(self.blueprint.trained))
        if not candidate.additive_start or start is None:
            return identity_params(blueprint, np.zeros((0, blueprint.plan.num_outputs))), self.start
        at = -1 if fold is None else fold
        coefficients = blueprint.at_level(start.coefficients[at], candidate.level)
        return identity_params(blueprint, coefficients), start.offsets[at]
