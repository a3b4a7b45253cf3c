"""One member's epoch, fused: gather, eigenpairs, loss, scatter, AdamW. Serial, without the GIL.

A member is trained by one thread alone, so its result does not depend on how many threads there are, and its
matrices (a few hundred kB in float32) stay in that core's cache. The parameters of one matrix lie in a row of
BLOCK floats, or several, padded with zeros: diagonal first, then off-diagonal, for each output.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.eigensolvers.simd import fill, load, square_root, store
from model.eigensolvers.training_tile import LANES, SCRATCH_ROWS, training_eigenpairs_tile
from training.losses import loss_slopes

Float32 = NDArray[np.float32]

#: Floats in a row of parameters: one value of the vector type, so a matrix of up to dim 16 is one row.
BLOCK = LANES
BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.99, 1e-8


class Rows(NamedTuple):
    """Training rows as the kernels read them: starts (N, C) int32, weights (N, C) and target (N,) float32."""

    starts: NDArray[np.int32]
    weights: Float32
    target: Float32


class Plan(NamedTuple):
    """What is common to all members of a fit.

    Curve c has the matrices matrix_offsets[c]:matrix_offsets[c+1] and the parameters
    param_offsets[c]:param_offsets[c+1]; the first are ``basis[basis_offsets[c]:]``, reshaped, times the
    second. One more parameter and matrix, the last, is the constant matrix.
    """

    matrix_offsets: NDArray[np.int64]
    param_offsets: NDArray[np.int64]
    basis: Float32
    basis_offsets: NDArray[np.int64]
    dim: int
    num_outputs: int
    eig_idx: int
    loss: int
    huber_delta: float


class Member(NamedTuple):
    """What is trained, with its optimiser's state: ``params`` (P * blocks, BLOCK) and ``offset`` (O,)."""

    params: Float32
    moment_1: Float32
    moment_2: Float32
    offset: NDArray[np.float64]
    offset_moments: NDArray[np.float64]
    steps: NDArray[np.int64]


def blocks_per_matrix(dim: int, num_outputs: int) -> int:
    """Rows of BLOCK floats for the matrices of all outputs."""
    return num_outputs * math.ceil((2 * dim - 1) / BLOCK)


@njit(inline="never", error_model="numpy")
def _expand(plan, params, blocks, table):
    """Parameters -> the matrices of every curve."""
    for c in range(len(plan.matrix_offsets) - 1):
        first, last = plan.matrix_offsets[c], plan.matrix_offsets[c + 1]
        p0, p1 = plan.param_offsets[c], plan.param_offsets[c + 1]
        at = plan.basis_offsets[c]
        if at < 0:
            for r in range((last - first) * blocks):
                store(table, first * blocks + r, load(params, p0 * blocks + r))
            continue
        for r in range(first, last):
            for b in range(blocks):
                total = load(params, p0 * blocks + b) * plan.basis[at]
                for p in range(1, p1 - p0):
                    total = total + load(params, (p0 + p) * blocks + b) * plan.basis[at + p]
                store(table, r * blocks + b, total)
            at += p1 - p0


@njit(inline="never", error_model="numpy")
def _reduce(plan, slopes, blocks, zero, grad):
    """Slopes of the matrices -> slopes of the parameters: the transpose of ``_expand``."""
    for c in range(len(plan.matrix_offsets) - 1):
        first, last = plan.matrix_offsets[c], plan.matrix_offsets[c + 1]
        p0, p1 = plan.param_offsets[c], plan.param_offsets[c + 1]
        at = plan.basis_offsets[c]
        if at < 0:
            for r in range((last - first) * blocks):
                store(grad, p0 * blocks + r, load(slopes, first * blocks + r))
            continue
        for p in range(p1 - p0):
            for b in range(blocks):
                total = zero
                for r in range(last - first):
                    total = total + load(slopes, (first + r) * blocks + b) * plan.basis[at + r * (p1 - p0) + p]
                store(grad, (p0 + p) * blocks + b, total)


@njit(inline="never", error_model="numpy")
def _gather(rows, order, start, stop, table, blocks, out):
    """Sum of the matrices on which each row stands, (rows, blocks)."""
    constant = len(table) // blocks - 1
    for j in range(start, stop):
        row = order[j]
        for b in range(blocks):
            total = load(table, constant * blocks + b)
            for c in range(rows.starts.shape[1]):
                here = np.int64(rows.starts[row, c]) * blocks + b
                first = load(table, here)
                total = total + first
                weight = rows.weights[row, c]
                if weight != np.float32(0.0):
                    total = total + (load(table, here + blocks) - first) * weight
            store(out, (j - start) * blocks + b, total)


@njit(inline="never", error_model="numpy")
def _scatter(rows, order, start, stop, slopes, blocks, table_slopes):
    """Add each row's slopes to those of the matrices on which it stands."""
    constant = (len(table_slopes) // blocks - 1) * blocks
    for j in range(start, stop):
        row = order[j]
        for b in range(blocks):
            slope = load(slopes, (j - start) * blocks + b)
            store(table_slopes, constant + b, load(table_slopes, constant + b) + slope)
            for c in range(rows.starts.shape[1]):
                here = np.int64(rows.starts[row, c]) * blocks + b
                weight = rows.weights[row, c]
                if weight != np.float32(0.0):
                    store(table_slopes, here + blocks, load(table_slopes, here + blocks) + slope * weight)
                    store(table_slopes, here, load(table_slopes, here) + slope * (np.float32(1.0) - weight))
                else:
                    store(table_slopes, here, load(table_slopes, here) + slope)


@njit(inline="never", error_model="numpy")
def _eigenpairs(plan, count, blocks, matrices, tile, scores, slopes):
    """Matrices of ``count`` rows -> their eigenvalues (count, O) and, in place of them, d(eigenvalue)/d(entry)."""
    n = plan.dim
    per_output = blocks // plan.num_outputs
    width = per_output * BLOCK
    flat = matrices.reshape(-1)
    diag, off_diag, scratch, eigenvalues, vectors = tile
    for o in range(plan.num_outputs):
        for first in range(0, count, LANES):
            lanes = min(LANES, count - first)
            for lane in range(LANES):
                # Idle lanes repeat the last matrix: any valid one will do.
                at = ((first + min(lane, lanes - 1)) * plan.num_outputs + o) * width
                for i in range(n):
                    diag[i, lane] = flat[at + i]
                for i in range(1, n):
                    off_diag[i, lane] = flat[at + n + i - 1]
            training_eigenpairs_tile(diag, off_diag, n, plan.eig_idx, scratch, eigenvalues, vectors)
            for lane in range(lanes):
                scores[first + lane, o] = eigenvalues[lane]
                if slopes:
                    at = ((first + lane) * plan.num_outputs + o) * width
                    for i in range(n):
                        flat[at + i] = vectors[i, lane] * vectors[i, lane]
                    for i in range(n - 1):
                        flat[at + n + i] = np.float32(2.0) * vectors[i, lane] * vectors[i + 1, lane]


@njit(inline="never", error_model="numpy")
def _adam(member, grad, penalty, blocks, rate, bias_1, bias_2):
    """One AdamW step on the rows of parameters; ``penalty`` (P, 2): added slope, and decay, per unit of weight."""
    b1, b2 = np.float32(BETA_1), np.float32(BETA_2)
    one, step = np.float32(1.0), np.float32(rate / bias_1)
    scale, epsilon = np.float32(1.0 / bias_2), np.float32(ADAM_EPSILON)
    for p in range(len(penalty)):
        ridge, keep = np.float32(penalty[p, 0]), np.float32(1.0 - rate * penalty[p, 1])
        for r in range(p * blocks, (p + 1) * blocks):
            value = load(member.params, r)
            slope = load(grad, r) + value * ridge
            first = load(member.moment_1, r) * b1 + slope * (one - b1)
            second = load(member.moment_2, r) * b2 + slope * slope * (one - b2)
            store(member.moment_1, r, first)
            store(member.moment_2, r, second)
            store(member.params, r, value * keep - first * step / (square_root(second * scale) + epsilon))


@njit(inline="never", error_model="numpy")
def _adam_offset(member, grad, rate, bias_1, bias_2):
    for o in range(len(grad)):
        m, v = member.offset_moments[o]
        m = BETA_1 * m + (1.0 - BETA_1) * grad[o]
        v = BETA_2 * v + (1.0 - BETA_2) * grad[o] * grad[o]
        member.offset_moments[o, 0], member.offset_moments[o, 1] = m, v
        member.offset[o] -= rate / bias_1 * m / (math.sqrt(v / bias_2) + ADAM_EPSILON)


@njit(inline="never", error_model="numpy")
def _tile(n):
    """Memory for one tile of the eigensolver."""
    return (
        np.zeros((n, LANES), np.float32),
        np.zeros((n, LANES), np.float32),
        np.zeros((SCRATCH_ROWS, n, LANES), np.float32),
        np.zeros(LANES, np.float32),
        np.zeros((n, LANES), np.float32),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def train_epoch(plan, rows, sample_weight, order, batch, rates, penalty, member):
    """One pass over the rows in ``order``, a step for each whole batch; returns nothing, changes ``member``.

    sample_weight: (N,) float32, of mean one. rates: the learning rate of each step. penalty: (P, 2) float32.
    """
    outputs, n = plan.num_outputs, plan.dim
    blocks = len(member.params) // len(penalty)
    table = np.zeros((plan.matrix_offsets[-1] * blocks, BLOCK), np.float32)
    table_slopes = np.zeros_like(table)
    grad = np.zeros_like(member.params)
    matrices = np.zeros((batch * blocks, BLOCK), np.float32)
    flat = matrices.reshape(-1)
    width = blocks // outputs * BLOCK
    scores = np.zeros((batch, outputs))
    slopes = np.zeros(outputs)
    offset_grad = np.zeros(outputs)
    tile = _tile(n)
    zero = fill(load(table, 0), np.float32(0.0))
    for s in range(len(rates)):
        start, stop = s * batch, (s + 1) * batch
        _expand(plan, member.params, blocks, table)
        _gather(rows, order, start, stop, table, blocks, matrices)
        _eigenpairs(plan, batch, blocks, matrices, tile, scores, True)
        offset_grad[:] = 0.0
        for j in range(batch):
            row = order[start + j]
            scores[j] += member.offset
            loss_slopes(plan.loss, plan.huber_delta, scores[j], np.float64(rows.target[row]), slopes)
            share = sample_weight[row] / batch
            for o in range(outputs):
                slope = slopes[o] * share
                offset_grad[o] += slope
                at = (j * outputs + o) * width
                for i in range(2 * n - 1):
                    flat[at + i] *= np.float32(slope)
        table_slopes[:] = 0.0
        _scatter(rows, order, start, stop, matrices, blocks, table_slopes)
        _reduce(plan, table_slopes, blocks, zero, grad)
        member.steps[0] += 1
        bias_1 = 1.0 - BETA_1 ** member.steps[0]
        bias_2 = 1.0 - BETA_2 ** member.steps[0]
        _adam(member, grad, penalty, blocks, rates[s], bias_1, bias_2)
        _adam_offset(member, offset_grad, rates[s], bias_1, bias_2)


@njit(nogil=True, cache=True, error_model="numpy")
def member_scores(plan, rows, order, params, offset, scores):
    """Scores (len(order), O) of one member on the rows in ``order``, in the precision of training."""
    outputs = plan.num_outputs
    blocks = len(params) // plan.param_offsets[-1]
    table = np.zeros((plan.matrix_offsets[-1] * blocks, BLOCK), np.float32)
    _expand(plan, params, blocks, table)
    chunk = 8 * LANES
    matrices = np.zeros((chunk * blocks, BLOCK), np.float32)
    tile = _tile(plan.dim)
    for start in range(0, len(order), chunk):
        stop = min(start + chunk, len(order))
        _gather(rows, order, start, stop, table, blocks, matrices)
        _eigenpairs(plan, stop - start, blocks, matrices, tile, scores[start:stop], False)
        for j in range(start, stop):
            scores[j] += offset
