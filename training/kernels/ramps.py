"""Build curves of single features as a line and ramps, in the fused kernel.

Matrix m of a curve with knots k is k[m] / 2 times the line's parameter, plus the sum of the ramps before it, less half
the sum of all ramps (``training.curves.basis.line_and_ramps``). Summed from knot to knot that takes one pass, where
the dense product takes as many as there are knots.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import fill, load, store


@part
def expand_ramps(params: Any, table: Any, p0: int, first: int, knots: Any, rows: int, blocks: int) -> None:
    """Expand parameters from row p0 on into matrices from row ``first`` on.

    params, table: rows of a vector, ``blocks`` for each; knots: (K,), at least three; rows: K, or K + 1 with a matrix
    for "missing", which is a separate parameter.
    """
    half = np.float32(0.5)
    for b in range(blocks):
        line = load(params, p0 * blocks + b)
        ramps = load(params, (p0 + 1) * blocks + b)
        for p in range(2, len(knots)):
            ramps = ramps + load(params, (p0 + p) * blocks + b)
        here = line * (half * knots[0]) - ramps * half
        store(table, first * blocks + b, here)
        for m in range(1, len(knots)):
            rise = line * (half * (knots[m] - knots[m - 1]))
            here = here + rise + load(params, (p0 + m) * blocks + b)
            store(table, (first + m) * blocks + b, here)
        if rows > len(knots):
            store(table, (first + len(knots)) * blocks + b, load(params, (p0 + len(knots)) * blocks + b))


@part
def reduce_ramps(slopes: Any, first: int, knots: Any, blocks: int) -> None:
    """Reduce slopes of the matrices to slopes of the parameters, in their place: the adjoint of ``expand_ramps``."""
    half = np.float32(0.5)
    for b in range(blocks):
        total = load(slopes, first * blocks + b)
        line = total * knots[0]
        for m in range(1, len(knots)):
            slope = load(slopes, (first + m) * blocks + b)
            total = total + slope
            line = line + slope * knots[m]
        beyond = fill(total, np.float32(0.0))
        for m in range(len(knots) - 1, 0, -1):
            beyond = beyond + load(slopes, (first + m) * blocks + b)
            store(slopes, (first + m) * blocks + b, beyond - total * half)
        store(slopes, first * blocks + b, line * half)
