"""Pass over rows on their curves: sums of the matrices that each touches, and the transposes of these sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eigenserve.model import kernels
from eigenserve.model.kernels.compiled import kernel, part
from eigenserve.model.kernels.lanes import load, rows_of, store
from eigenserve.model.kernels.source_digest import source_digest
from eigenserve.training.kernels import ramps
from eigenserve.training.kernels.layout import DENSE, RAMPS
from eigenserve.training.kernels.ramps import expand_ramps, reduce_ramps

#: What the kernels here are compiled from.
KERNEL_SOURCES = (Path(kernels.__path__[0]), Path(ramps.__file__), Path(__file__))


@part(forceinline=True)
def _row_scores(starts: Any, weights: Any, j: Any, table: Any, constant: Any, b: Any, blocks: Any) -> Any:
    total = load(table, constant + b)
    for c in range(starts.shape[1]):
        here = np.int64(starts[j, c]) * blocks + b
        w = np.float64(weights[j, c])
        first = load(table, here)
        total = total + first
        if w != 0.0:
            total = total + (load(table, here + blocks) - first) * w
    return total


@part(forceinline=True)
def _add_row(starts: Any, weights: Any, j: Any, value: Any, sums: Any, constant: Any, b: Any, blocks: Any) -> None:
    store(sums, constant + b, load(sums, constant + b) + value)
    for c in range(starts.shape[1]):
        here = np.int64(starts[j, c]) * blocks + b
        w = np.float64(weights[j, c])
        if w != 0.0:
            share = value * w
            store(sums, here + blocks, load(sums, here + blocks) + share)
            store(sums, here, load(sums, here) + (value - share))
        else:
            store(sums, here, load(sums, here) + value)


def _cached(sources: int) -> tuple[Any, ...]:
    """Compile the kernels to disk; they capture ``sources`` (see model.kernels.source_digest)."""

    @kernel
    def expand(shapes: Any, numbers: Any, params: Any, table: Any, blocks: Any) -> None:
        if sources < 0:
            return
        p0 = first = 0
        for form, count, matrices, at, end in shapes:
            if form == RAMPS:
                expand_ramps(params, table, p0, first, numbers[at:end], matrices, blocks)
            elif form == DENSE:
                for r in range(matrices * blocks):
                    m, b = r // blocks, r % blocks
                    total = load(params, p0 * blocks + b) * numbers[at + m * count]
                    for p in range(1, count):
                        total = total + load(params, (p0 + p) * blocks + b) * numbers[at + m * count + p]
                    store(table, first * blocks + r, total)
            else:
                for r in range(count * blocks):
                    store(table, first * blocks + r, load(params, p0 * blocks + r))
            p0, first = p0 + count, first + matrices

    @kernel
    def reduce(shapes: Any, numbers: Any, table: Any, params: Any, blocks: Any) -> None:
        if sources < 0:
            return
        p0 = first = 0
        for form, count, matrices, at, end in shapes:
            if form == DENSE:
                for r in range(count * blocks):
                    p, b = r // blocks, r % blocks
                    total = load(table, first * blocks + b) * numbers[at + p]
                    for m in range(1, matrices):
                        total = total + load(table, (first + m) * blocks + b) * numbers[at + m * count + p]
                    store(params, p0 * blocks + r, total)
            else:
                if form == RAMPS:
                    reduce_ramps(table, first, numbers[at:end], blocks)
                for r in range(count * blocks):
                    store(params, p0 * blocks + r, load(table, first * blocks + r))
            p0, first = p0 + count, first + matrices

    @kernel
    def gather(starts: Any, weights: Any, table: Any, out: Any, blocks: Any) -> None:
        if sources < 0:
            return
        places, target = rows_of(table, 0), rows_of(out, 0)
        constant = len(table) - blocks
        for j in range(len(starts)):
            for b in range(blocks):
                store(target, j * blocks + b, _row_scores(starts, weights, j, places, constant, b, blocks))

    @kernel
    def scatter(starts: Any, weights: Any, slopes: Any, sums: Any, blocks: Any) -> None:
        if sources < 0:
            return
        source, target = rows_of(slopes, 0), rows_of(sums, 0)
        constant = len(sums) - blocks
        for j in range(len(starts)):
            for b in range(blocks):
                _add_row(starts, weights, j, load(source, j * blocks + b), target, constant, b, blocks)

    @kernel
    def product(starts: Any, weights: Any, curvature: Any, table: Any, sums: Any, blocks: Any) -> None:
        if sources < 0:
            return
        places, bend, target = rows_of(table, 0), rows_of(curvature, 0), rows_of(sums, 0)
        constant = len(table) - blocks
        for j in range(len(starts)):
            for b in range(blocks):
                value = _row_scores(starts, weights, j, places, constant, b, blocks) * load(bend, j * blocks + b)
                _add_row(starts, weights, j, value, target, constant, b, blocks)

    @kernel
    def class_product(
        starts: Any, weights: Any, chances: Any, shares: Any, outputs: Any, table: Any, sums: Any, blocks: Any
    ) -> None:
        if sources < 0:
            return
        places, target = rows_of(table, 0), rows_of(sums, 0)
        constant = len(table) - blocks
        row = np.zeros((blocks, sums.shape[1]))
        flat, lanes = row.reshape(-1), rows_of(row, 0)
        for j in range(len(starts)):
            for b in range(blocks):
                store(lanes, b, _row_scores(starts, weights, j, places, constant, b, blocks))
            for group in range(shares.shape[1]):
                first = group * outputs
                mean = 0.0
                for o in range(first, first + outputs):
                    mean += chances[j, o] * flat[o]
                for o in range(first, first + outputs):
                    flat[o] = shares[j, group] * chances[j, o] * (flat[o] - mean)
            for b in range(blocks):
                _add_row(starts, weights, j, load(lanes, b), target, constant, b, blocks)

    @kernel
    def tridiagonals(starts: Any, weights: Any, bend: Any, diag: Any, off_diag: Any) -> None:
        if sources < 0:
            return
        constant = len(diag) - 1
        for j in range(len(starts)):
            for g in range(bend.shape[1]):
                diag[constant, g] += bend[j, g]
            for c in range(starts.shape[1]):
                r, w = starts[j, c], np.float64(weights[j, c])
                for g in range(bend.shape[1]):
                    diag[r, g] += (1.0 - w) * (1.0 - w) * bend[j, g]
                    if w != 0.0:
                        diag[r + 1, g] += w * w * bend[j, g]
                        off_diag[r, g] += w * (1.0 - w) * bend[j, g]

    return expand, reduce, gather, scatter, product, class_product, tridiagonals


expand, reduce, gather, scatter, product, class_product, tridiagonals = _cached(source_digest(*KERNEL_SOURCES))
