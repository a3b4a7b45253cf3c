"""Build members: their shape, their state from the first random matrices on, and what each of them is trained by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.model.matrices.curves import CurveSet, Term
from eigenserve.training.curves.basis import CurveBasis, curve_set
from eigenserve.training.curves.levels import Levels, finer_coefficients, one_level
from eigenserve.training.kernels.layout import (
    BENT,
    BLOCK,
    DENSE,
    IDENTITY,
    MONOTONE,
    RAMPS,
    Float32,
    Member,
    Plan,
    Rows,
    blocks_per_matrix,
    float_rows,
)
from eigenserve.training.search.candidates import Candidate

#: Spread of the entries of a fresh constant matrix about the chain (diagonal 0, off-diagonal 1). The chain's
#: eigenvectors reach over the whole matrix, so every entry gets a gradient (measured on California housing:
#: 1,000 dollars of RMSE better than a random start).
CHAIN_NOISE = 0.1
#: Spread of the multiples of the identity that feature matrices start as, and that of their single entries as a
#: share of it. Wide enough for members to differ, which is what their mean lives on (measured, California housing:
#: six members 200 dollars of RMSE better than at half the spread; twice the spread harms small tables).
IDENTITY_SPREAD = 0.2 / np.sqrt(8.0)
JITTER = 1.0
#: Rise of a fresh monotone curve over all its knots, in standard deviations of the target.
START_RISE = 0.2
#: Rise that all steps of a finished one have at least (or growth that its slope has): far above rounding, far below
#: what matters.
LEAST_RISE = 1e-6

#: Rows that are walked at a time.
WALKED_ROWS = 4_096


@dataclass(frozen=True)
class Blueprint:
    """Describe the shape of a model before it is trained.

    Attributes:
        terms, bases: its terms and their curves.
        plan: the same as the kernels read it, with all curves active.
        levels: which of the curves are finer forms of others.
    """

    terms: tuple[Term, ...]
    bases: tuple[CurveBasis, ...]
    plan: Plan
    levels: Levels

    @property
    def curves(self) -> CurveSet:
        """Stack the curves."""
        return curve_set(self.bases)

    @property
    def trained(self) -> NDArray[np.bool_]:
        """Return parameters that rows can move, (P,), the constant matrix last."""
        return np.concatenate([*(basis.trained for basis in self.bases), [True]])

    def at_level(self, coefficients: FloatArray, level: int) -> FloatArray:
        """Move coefficients (P', O) of the first P' parameters to the curves that this level uses, (P, O)."""
        offsets = self.plan.param_offsets
        moved = np.zeros((int(offsets[-1]), coefficients.shape[1]))
        moved[: len(coefficients)] = coefficients
        for c in np.flatnonzero(self.levels.used(level) & (self.levels.base_of < np.arange(len(self.bases)))):
            base = self.levels.base_of[c]
            here = slice(offsets[base], offsets[base + 1])
            moved[offsets[c] : offsets[c + 1]] = finer_coefficients(self.bases[base], self.bases[c], moved[here])
            moved[here] = 0.0
        return moved


def draw_blueprint(
    terms: tuple[Term, ...],
    bases: Sequence[CurveBasis],
    *,
    dim: int,
    eig_idx: int,
    num_outputs: int,
    loss: int,
    loss_parameter: float,
    levels: Levels | None = None,
) -> Blueprint:
    """Draw the blueprint of members with these terms and curves."""
    flat: list[FloatArray] = []
    basis_offsets, at = [], 0
    for basis in bases:
        basis_offsets.append(at)
        knots = np.array(basis.curve.knots)
        kept = knots if basis.form in (RAMPS, BENT) else np.empty(0)
        if basis.form == DENSE and basis.matrix is not None:
            kept = basis.matrix.ravel()
        flat.append(kept)
        at += len(kept)
    matrices = [*(basis.curve.num_matrices for basis in bases), 1]
    params = [*(basis.num_params for basis in bases), 1]
    plan = Plan(
        active=np.arange(len(bases)),
        matrix_offsets=np.concatenate([[0], np.cumsum(matrices)]),
        param_offsets=np.concatenate([[0], np.cumsum(params)]),
        forms=np.array([*(basis.form for basis in bases), IDENTITY], np.int64),
        basis=np.concatenate([*flat, np.empty(0)]).astype(np.float32),
        basis_offsets=np.array([*basis_offsets, at], np.int64),
        steps=np.array(
            [(b.curve.num_paths, len(b.curve.knots), b.bend or b.sign, b.sign) for b in bases], np.int64
        ).reshape(-1, 4),
        dim=dim,
        num_outputs=num_outputs,
        eig_idx=eig_idx,
        loss=loss,
        loss_parameter=loss_parameter,
    )
    return Blueprint(terms, tuple(bases), plan, levels or one_level(len(bases)))


def training_rows(blueprint: Blueprint, coordinates: FloatArray, target: FloatArray, sample_weight: FloatArray) -> Rows:
    """Find where the rows stand, walked by the code that serves, with their targets and weights."""
    curves, shape = blueprint.curves, (len(coordinates), len(blueprint.bases))
    starts, weights = np.empty(shape, np.int32), np.empty(shape, np.float32)

    def work(start: int, stop: int) -> None:
        # In parts: a walk in float64 with its slopes is 20 bytes a row and curve, what is kept of it 8.
        for first in range(start, stop, WALKED_ROWS):
            part = slice(first, min(stop, first + WALKED_ROWS))
            walk = curves.walk(coordinates[part])
            starts[part], weights[part] = walk.starts, walk.weights

    for_ranges(len(coordinates), WALKED_ROWS, work)
    mean = sample_weight.mean()
    return Rows(starts, weights, target.astype(np.float32), (sample_weight / mean).astype(np.float32))


def identity_params(blueprint: Blueprint, coefficients: FloatArray) -> Float32:
    """Return parameters of the additive model with coefficients (P', O) of the first P' parameters.

    Each matrix is a multiple of the identity, by which it moves the eigenvalue.
    """
    n, outputs = blueprint.plan.dim, blueprint.plan.num_outputs
    params = _fresh_rows(blueprint)
    params.reshape(-1, outputs, blocks_per_matrix(n, 1) * BLOCK)[: len(coefficients), :, :n] = coefficients[:, :, None]
    return params


def unpacked(blueprint: Blueprint, params: Float32) -> Float32:
    """View the kernels' rows of parameters as (P, O, 2n - 1)."""
    plan = blueprint.plan
    return params.reshape(int(plan.param_offsets[-1]), plan.num_outputs, -1)[:, :, : 2 * plan.dim - 1]


def packed(blueprint: Blueprint, values: Float32) -> Float32:
    """Return (P, O, 2n - 1) as the kernels' rows of parameters."""
    params = _fresh_rows(blueprint)
    unpacked(blueprint, params)[:] = values
    return params


def _fresh_rows(blueprint: Blueprint) -> Float32:
    """Return zeros for all parameters; what is never written to takes no memory."""
    plan = blueprint.plan
    return float_rows(int(plan.param_offsets[-1]) * blocks_per_matrix(plan.dim, plan.num_outputs))


def new_member(
    blueprint: Blueprint,
    anchor: Float32,
    offset: FloatArray,
    active: NDArray[np.bool_],
    rng: np.random.Generator,
    spread: FloatArray | None = None,
) -> Member:
    """Make a fresh member near an additive model: the constant matrix a noisy chain, the others jittered.

    Args:
        blueprint: its shape.
        anchor: the additive model (or zero) about which it starts, and to which the penalty draws it.
        offset: (O,), where its scores start.
        active: (P,), which parameters it uses.
        rng: draws the start.
        spread: (C,), how wide the matrices of each curve start, 1 for as wide as usual.
    """
    plan = blueprint.plan
    n, outputs = plan.dim, plan.num_outputs
    drawn = np.flatnonzero(blueprint.trained & active)
    entries = rng.normal(0.0, JITTER * IDENTITY_SPREAD, (len(drawn), outputs, 2 * n - 1))
    entries[:, :, :n] += rng.normal(0.0, IDENTITY_SPREAD, (len(drawn), outputs, 1))
    entries[-1] = rng.normal(0.0, CHAIN_NOISE, entries[-1].shape)
    entries[-1, :, n:] += 1.0
    for basis, first in zip(blueprint.bases, plan.param_offsets[:-2], strict=True):
        if basis.form in (MONOTONE, BENT) and active[first]:
            at = np.searchsorted(drawn, first)
            _start_steps(basis, entries[at : at + basis.num_params], n)
    # A finer curve's ramps start as much smaller as makes its way as wide.
    counts = np.diff(plan.param_offsets)[:-1]
    shrink = np.sqrt(counts[blueprint.levels.base_of] / counts) * (1.0 if spread is None else spread)
    entries[:-1] *= np.repeat(shrink, counts)[drawn[:-1], None, None]
    params = _fresh_rows(blueprint)
    wide = (-1, outputs, blocks_per_matrix(n, 1) * BLOCK)
    params.reshape(wide)[drawn] = anchor.reshape(wide)[drawn]
    params.reshape(wide)[drawn, :, : 2 * n - 1] += entries
    return Member(
        params=params,
        anchor=anchor,
        moment_1=_fresh_rows(blueprint),
        moment_2=_fresh_rows(blueprint),
        offset=np.array(offset, np.float64),
        offset_moments=np.zeros((outputs, 2)),
        steps=np.zeros(1, np.int64),
    )


def _start_steps(basis: CurveBasis, entries: FloatArray, n: int) -> None:
    """Let a monotone curve start as a gentle rise, a bent one as a gentle bend: at L = 0 its slopes would be zero."""
    knots = len(basis.curve.knots)
    steps = np.arange(basis.curve.num_paths * knots) % knots > 0
    rise = START_RISE / (knots - 1)
    if basis.form == BENT:
        # A slope that grows by as much at every knot rises by half of it times the distance.
        rise *= 2.0 / (basis.curve.knots[-1] - basis.curve.knots[0])
    drawn = entries[: len(steps)][steps]
    drawn[..., :n] = np.sqrt(rise) * (1.0 + drawn[..., :n])
    entries[: len(steps)][steps] = drawn


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
