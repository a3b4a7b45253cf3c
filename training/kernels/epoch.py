"""Run one member's epoch, fused: gather, eigenpairs, loss, scatter, Adam. Serial, without the GIL.

A member is trained by one thread alone, so its result does not depend on how many threads there are, and its
matrices (a few hundred kB in float32) stay in that core's cache. The parameters of one matrix lie in a row of
BLOCK floats, or several, padded with zeros: diagonal first, then off-diagonal, for each output.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.training import TRAINING_LANES, training_eigenpairs_tile
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.lanes import fill, load, square_root, store
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest
from eigenserve.training.kernels.bends import expand_bends, reduce_bends
from eigenserve.training.kernels.layout import BENT, BLOCK, DENSE, IDENTITY, MONOTONE, RAMPS
from eigenserve.training.kernels.losses import loss_slopes
from eigenserve.training.kernels.monotone_steps import expand_steps, reduce_steps
from eigenserve.training.kernels.ramps import expand_ramps, reduce_ramps

BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.99, 1e-8


@part(forceinline=True)
def _curve(plan: Any, a: int) -> Any:
    """Locate the a-th curve in use: (its position, first matrix, first parameter, parameters); then the constant."""
    c = plan.active[a] if a < len(plan.active) else len(plan.matrix_offsets) - 2
    p0 = plan.param_offsets[c]
    return c, plan.matrix_offsets[c], p0, plan.param_offsets[c + 1] - p0


@part
def _expand(plan: Any, params: Any, blocks: Any, table: Any, whole: bool) -> None:
    """Expand parameters to matrices, of all curves in use if ``whole``, else only where the two differ."""
    for a in range(len(plan.active) + 1):
        c, first, p0, count = _curve(plan, a)
        form = plan.forms[c]
        if form == RAMPS:
            expand_ramps(params, table, p0, first, _knots(plan, c), count, blocks)
        elif form == DENSE:
            at = plan.basis_offsets[c]
            for r in range(first, plan.matrix_offsets[c + 1]):
                for b in range(blocks):
                    total = load(params, p0 * blocks + b) * plan.basis[at]
                    for p in range(1, count):
                        total = total + load(params, (p0 + p) * blocks + b) * plan.basis[at + p]
                    store(table, r * blocks + b, total)
                at += count
        else:
            if whole:
                for r in range(count * blocks):
                    store(table, first * blocks + r, load(params, p0 * blocks + r))
            if form != IDENTITY:
                width = blocks // plan.num_outputs * BLOCK
                flat, out = params.reshape(-1), table.reshape(-1)
                n, outputs, shape = plan.dim, plan.num_outputs, plan.steps[c]
                if form == MONOTONE:
                    expand_steps(flat, out, p0, first, shape, n, outputs, width)
                else:
                    expand_bends(flat, out, p0, first, _knots(plan, c), shape, n, outputs, width)


@part(forceinline=True)
def _knots(plan: Any, c: Any) -> Any:
    """Count knots of a curve of a line and ramps, or of bends."""
    at = plan.basis_offsets[c]
    return plan.basis[at : at + plan.steps[c, 1]]


@part
def _gather(plan: Any, rows: Any, order: Any, start: Any, stop: Any, table: Any, blocks: Any, out: Any) -> None:
    """Sum the matrices on which each row stands, (rows, blocks)."""
    constant = len(table) // blocks - 1
    for j in range(start, stop):
        row = order[j]
        for b in range(blocks):
            total = load(table, constant * blocks + b)
            for c in plan.active:
                here = np.int64(rows.starts[row, c]) * blocks + b
                first = load(table, here)
                total = total + first
                weight = rows.weights[row, c]
                if weight != np.float32(0.0):
                    total = total + (load(table, here + blocks) - first) * weight
            store(out, (j - start) * blocks + b, total)


@part
def _scatter(
    plan: Any, rows: Any, order: Any, start: Any, stop: Any, slopes: Any, blocks: Any, table_slopes: Any
) -> None:
    """Add each row's slopes to those of the matrices on which it stands."""
    constant = (len(table_slopes) // blocks - 1) * blocks
    for j in range(start, stop):
        row = order[j]
        for b in range(blocks):
            slope = load(slopes, (j - start) * blocks + b)
            store(table_slopes, constant + b, load(table_slopes, constant + b) + slope)
            for c in plan.active:
                here = np.int64(rows.starts[row, c]) * blocks + b
                weight = rows.weights[row, c]
                if weight != np.float32(0.0):
                    store(table_slopes, here + blocks, load(table_slopes, here + blocks) + slope * weight)
                    store(table_slopes, here, load(table_slopes, here) + slope * (np.float32(1.0) - weight))
                else:
                    store(table_slopes, here, load(table_slopes, here) + slope)


@part
def _eigenpairs(plan: Any, space: Any, count: Any, blocks: Any, scores: Any, slopes: Any) -> None:
    """Solve for eigenvalues of ``count`` rows; with ``slopes``, the matrices become d(eigenvalue)/d(entry)."""
    n, outputs = plan.dim, plan.num_outputs
    width = blocks // outputs * BLOCK
    flat = space.matrices.reshape(-1)
    for o in range(outputs):
        for first in range(0, count, TRAINING_LANES):
            lanes = min(TRAINING_LANES, count - first)
            for lane in range(lanes):
                at = ((first + lane) * outputs + o) * width
                for i in range(n):
                    space.diag[i, lane] = flat[at + i]
                for i in range(1, n):
                    space.off_diag[i, lane] = flat[at + n + i - 1]
            training_eigenpairs_tile(
                space.diag, space.off_diag, n, plan.eig_idx, space.scratch, space.eigenvalues, space.vectors
            )
            for lane in range(lanes):
                scores[first + lane, o] = space.eigenvalues[0, lane]
                if slopes:
                    at = ((first + lane) * outputs + o) * width
                    for i in range(n):
                        flat[at + i] = space.vectors[i, lane] * space.vectors[i, lane]
                    for i in range(n - 1):
                        product = space.vectors[i, lane] * space.vectors[i + 1, lane]
                        flat[at + n + i] = product + product


@part
def _step(plan: Any, member: Any, space: Any, penalty: Any, blocks: Any, rate: Any, bias_1: Any, bias_2: Any) -> None:
    """Take one Adam step on the parameters in use; the penalty draws each to its anchor.

    A curve that is its own parameters (or as many L) takes the step, writes the new matrices and zero slopes in the
    same pass over memory.
    """
    b1, b2 = np.float32(BETA_1), np.float32(BETA_2)
    one, step = np.float32(1.0), np.float32(rate / bias_1)
    scale, epsilon = np.float32(1.0 / bias_2), np.float32(ADAM_EPSILON)
    zero = fill(load(space.table, 0), np.float32(0.0))
    for a in range(len(plan.active) + 1):
        c, first, p0, count = _curve(plan, a)
        form = plan.forms[c]
        matrices = plan.matrix_offsets[c + 1] - first
        if form in (MONOTONE, BENT):
            width = blocks // plan.num_outputs * BLOCK
            flat, slopes = member.params.reshape(-1), space.table_slopes.reshape(-1)
            n, outputs, shape = plan.dim, plan.num_outputs, plan.steps[c]
            if form == MONOTONE:
                reduce_steps(flat, slopes, p0, first, shape, n, outputs, width)
            else:
                reduce_bends(flat, slopes, p0, first, _knots(plan, c), shape, n, outputs, width)
        elif form == RAMPS:
            reduce_ramps(space.table_slopes, first, _knots(plan, c), blocks)
        for p in range(count):
            ridge = np.float32(penalty[p0 + p])
            for b in range(blocks):
                r = (p0 + p) * blocks + b
                if form != DENSE:
                    slope = load(space.table_slopes, (first + p) * blocks + b)
                else:
                    at, slope = plan.basis_offsets[c], zero
                    for m in range(matrices):
                        here = load(space.table_slopes, (first + m) * blocks + b)
                        slope = slope + here * plan.basis[at + m * count + p]
                value = load(member.params, r)
                slope = slope + (value - load(member.anchor, r)) * ridge
                mean = load(member.moment_1, r) * b1 + slope * (one - b1)
                square = load(member.moment_2, r) * b2 + slope * slope * (one - b2)
                value = value - mean * step / (square_root(square * scale) + epsilon)
                store(member.moment_1, r, mean)
                store(member.moment_2, r, square)
                store(member.params, r, value)
                if form in (IDENTITY, MONOTONE, BENT):
                    store(space.table, (first + p) * blocks + b, value)
        for m in range(matrices * blocks):
            store(space.table_slopes, first * blocks + m, zero)


@part
def _adam_offset(member: Any, grad: Any, rate: Any, bias_1: Any, bias_2: Any) -> None:
    for o in range(len(grad)):
        m = BETA_1 * member.offset_moments[o, 0] + (1.0 - BETA_1) * grad[o]
        v = BETA_2 * member.offset_moments[o, 1] + (1.0 - BETA_2) * grad[o] * grad[o]
        member.offset_moments[o, 0], member.offset_moments[o, 1] = m, v
        member.offset[o] -= rate / bias_1 * m / (math.sqrt(v / bias_2) + ADAM_EPSILON)


@part
def _train_epoch(
    plan: Any,
    rows: Any,
    order: Any,
    batch: Any,
    rates: Any,
    penalty: Any,
    member: Any,
    space: Any,
) -> None:
    """Pass once over the rows in ``order``, a step for each whole batch; changes ``member``.

    rates: the learning rate of each step. penalty: (P,) float32, the strength of the L2 penalty that draws each
    parameter to its anchor.
    """
    outputs, n = plan.num_outputs, plan.dim
    blocks = len(member.params) // len(penalty)
    flat = space.matrices.reshape(-1)
    width = blocks // outputs * BLOCK
    scores = np.zeros((batch, outputs))
    slopes = np.zeros(outputs)
    offset_grad = np.zeros(outputs)
    for s in range(len(rates)):
        start, stop = s * batch, (s + 1) * batch
        _expand(plan, member.params, blocks, space.table, s == 0)
        _gather(plan, rows, order, start, stop, space.table, blocks, space.matrices)
        _eigenpairs(plan, space, batch, blocks, scores, True)
        # Number by number: Numba compiles the checks of sums of arrays for seconds.
        for o in range(outputs):
            offset_grad[o] = 0.0
        for j in range(batch):
            row = order[start + j]
            for o in range(outputs):
                scores[j, o] += member.offset[o]
            loss_slopes(plan.loss, plan.loss_parameter, scores[j], np.float64(rows.target[row]), slopes)
            if len(rows.soft) > 0:  # probabilities - indicator becomes probabilities - given probabilities
                slopes[np.int64(rows.target[row])] += 1.0
                for o in range(outputs):
                    slopes[o] -= rows.soft[row, o]
            share = rows.sample_weight[row] / batch
            for o in range(outputs):
                slope = slopes[o] * share
                offset_grad[o] += slope
                at = (j * outputs + o) * width
                for i in range(2 * n - 1):
                    flat[at + i] *= np.float32(slope)
        _scatter(plan, rows, order, start, stop, space.matrices, blocks, space.table_slopes)
        member.steps[0] += 1
        bias_1 = 1.0 - BETA_1 ** member.steps[0]
        bias_2 = 1.0 - BETA_2 ** member.steps[0]
        _step(plan, member, space, penalty, blocks, rates[s], bias_1, bias_2)
        _adam_offset(member, offset_grad, rates[s], bias_1, bias_2)


@part
def _member_scores(plan: Any, rows: Any, order: Any, params: Any, offset: Any, space: Any, scores: Any) -> None:
    """Score the rows in ``order`` by one member, (len(order), O), in the precision of training."""
    blocks = len(params) // plan.param_offsets[-1]
    _expand(plan, params, blocks, space.table, True)
    chunk = len(space.matrices) // blocks
    for start in range(0, len(order), chunk):
        stop = min(start + chunk, len(order))
        _gather(plan, rows, order, start, stop, space.table, blocks, space.matrices)
        _eigenpairs(plan, space, stop - start, blocks, scores[start:stop], False)
        for j in range(start, stop):
            for o in range(len(offset)):
                scores[j, o] += offset[o]


def _cached(sources: int) -> tuple[Any, Any]:
    """Compile the two entry points to disk; they capture ``sources`` (see model.kernels.source_digest)."""

    @kernel
    def train_epoch(
        plan: Any, rows: Any, order: Any, batch: Any, rates: Any, penalty: Any, member: Any, space: Any
    ) -> None:
        if sources >= 0:
            _train_epoch(plan, rows, order, batch, rates, penalty, member, space)

    @kernel
    def member_scores(plan: Any, rows: Any, order: Any, params: Any, offset: Any, space: Any, scores: Any) -> None:
        if sources >= 0:
            _member_scores(plan, rows, order, params, offset, space, scores)

    return train_epoch, member_scores


train_epoch, member_scores = _cached(source_digest(*SOLVER_SOURCES, Path(__file__).parent))
