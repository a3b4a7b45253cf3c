"""Lay out members, rows and scratch in memory for the kernels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.eigensolvers.tiles.training import SCRATCH_TILES, TRAINING_LANES, aligned_tile, padded_rows

Float32 = NDArray[np.float32]

#: Floats in a row of parameters: one value of the vector type, so a matrix of up to dim 16 is one row.
BLOCK = TRAINING_LANES
#: How the matrices of a curve come from its parameters: by a matrix, as they are, as the steps of a monotone curve
#: (``training.kernels.monotone_steps``), as a line and ramps (``training.kernels.ramps``) or as a convex or concave one
#: (``training.kernels.bends``).
DENSE, IDENTITY, MONOTONE, RAMPS, BENT = range(5)


class Rows(NamedTuple):
    """Hold training rows as the kernels read them.

    Attributes:
        starts, weights: (N, C) int32 and float32, where each row stands on each curve.
        target: (N,) float32.
        sample_weight: (N,) float32, of mean one.
        soft: (N, O) float32 probabilities of classes to learn instead of ``target``; (0, 0) where there are none.
    """

    starts: NDArray[np.int32]
    weights: Float32
    target: Float32
    sample_weight: Float32
    soft: Float32 = np.zeros((0, 0), np.float32)


class Plan(NamedTuple):
    """Hold what is common to all members of a fit.

    Curve c has the matrices matrix_offsets[c]:matrix_offsets[c+1] and the parameters
    param_offsets[c]:param_offsets[c+1]; ``forms[c]`` says how the first come from the second. By a matrix: it is
    ``basis[basis_offsets[c]:]``, reshaped. As a line and ramps, or bent: the knots are there. As the steps of a
    monotone curve: ``steps[c]`` has its shape: paths, knots, sign; bent: paths, knots, bend, sign. One more parameter
    and matrix, the last, is the constant matrix, which has no curve. ``active`` lists the curves in use: the others'
    parameters are zero and stay so.
    """

    active: NDArray[np.int64]
    matrix_offsets: NDArray[np.int64]
    param_offsets: NDArray[np.int64]
    forms: NDArray[np.int64]
    basis: Float32
    basis_offsets: NDArray[np.int64]
    steps: NDArray[np.int64]
    dim: int
    num_outputs: int
    eig_idx: int
    loss: int
    loss_parameter: float


class Member(NamedTuple):
    """Hold what is trained, with its optimiser's state.

    Attributes:
        params: (P * blocks, BLOCK).
        anchor: what the penalty draws ``params`` to: zero, or an additive model's.
        offset: (O,).
    """

    params: Float32
    anchor: Float32
    moment_1: Float32
    moment_2: Float32
    offset: NDArray[np.float64]
    offset_moments: NDArray[np.float64]
    steps: NDArray[np.int64]


class Workspace(NamedTuple):
    """Hold memory of the kernels for one member: its matrices and their slopes (zero between
    steps), those of a batch, and a tile."""

    table: Float32
    table_slopes: Float32
    matrices: Float32
    diag: Float32
    off_diag: Float32
    eigenvalues: Float32
    vectors: Float32
    scratch: Float32


def float_rows(count: int) -> Float32:
    """Allocate zeroed (count, BLOCK) float32 on a cache line's boundary."""
    rows: Float32 = aligned_tile(1, count)[0]
    return rows


def workspace(plan: Plan, batch: int) -> Workspace:
    """Allocate memory for batches of up to ``batch`` rows."""
    blocks = blocks_per_matrix(plan.dim, plan.num_outputs)
    matrices, tile = int(plan.matrix_offsets[-1]) * blocks, padded_rows(plan.dim)
    return Workspace(
        table=float_rows(matrices),
        table_slopes=float_rows(matrices),
        matrices=float_rows(batch * blocks),
        diag=float_rows(tile),
        off_diag=float_rows(tile),
        eigenvalues=float_rows(1),
        vectors=float_rows(tile),
        scratch=aligned_tile(SCRATCH_TILES, tile),
    )


def blocks_per_matrix(dim: int, num_outputs: int) -> int:
    """Count rows of BLOCK floats for the matrices of all outputs."""
    return num_outputs * math.ceil((2 * dim - 1) / BLOCK)
