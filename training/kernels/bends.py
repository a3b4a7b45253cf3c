"""Build convex and concave curves: the slope grows by a positive semidefinite matrix at every knot.

The largest eigenvalue is a convex function of the matrix that never falls when the matrix grows, so it is convex along
such a curve; the smallest eigenvalue is concave along the negative of one. The parameters of a path are a level, the
matrix at its first knot; a slope; and one lower bidiagonal L for each further knot, where the slope grows by L L' (see
``training.kernels.monotone_steps``). If the curve must rise, too, the first slope is an L L' itself; if it must fall,
the same holds from its last knot backwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import part
from eigenserve.training.kernels.monotone_steps import factor_products, reduce_factor


@part(forceinline=True)
def _place(step: int, count: int, backwards: bool) -> int:
    return count - 1 - step if backwards else step


@part
def expand_bends(
    params: Any, table: Any, p0: int, first: int, knots: Any, shape: Any, n: int, outputs: int, width: int
) -> None:
    """Expand parameters from row p0 on into matrices from row ``first`` on.

    params, table: flat float32, ``outputs * width`` numbers for each; shape: (paths, knots, 1 for convex or -1 for
    concave, 1 or -1 if the score must rise or fall along it, else 0).
    """
    paths, count, sign = shape[0], shape[1], np.float32(shape[2])
    backwards, definite = shape[2] * shape[3] < 0, shape[3] != 0
    slope = np.empty(2 * n - 1, np.float32)
    for path in range(paths):
        for o in range(outputs):
            for i in range(2 * n - 1):
                slope[i] = np.float32(0.0)
            for step in range(count):
                at = _place(step, count, backwards)
                source = ((p0 + path * count + at) * outputs + o) * width
                target = ((first + path * count + at) * outputs + o) * width
                if step == 0:
                    for i in range(2 * n - 1):
                        table[target + i] = sign * params[source + i]
                    continue
                if step == 1 and not definite:
                    for i in range(2 * n - 1):
                        slope[i] = params[source + i]
                else:
                    above = np.float32(0.0)
                    for i in range(n):
                        diag = params[source + i]
                        slope[i] += diag * diag + above * above
                        if i < n - 1:
                            above = params[source + n + i]
                            slope[n + i] += diag * above
                previous = _place(step - 1, count, backwards)
                before = ((first + path * count + previous) * outputs + o) * width
                gap = sign * np.float32(abs(knots[at] - knots[previous]))
                for i in range(2 * n - 1):
                    table[target + i] = table[before + i] + gap * slope[i]


@part
def reduce_bends(
    params: Any, slopes: Any, p0: int, first: int, knots: Any, shape: Any, n: int, outputs: int, width: int
) -> None:
    """Reduce slopes of the matrices to slopes of the parameters, in their place: the adjoint of ``expand_bends``."""
    paths, count, sign = shape[0], shape[1], np.float32(shape[2])
    backwards, definite = shape[2] * shape[3] < 0, shape[3] != 0
    stride = outputs * width
    for path in range(paths):
        row = first + path * count
        # What moves a matrix moves all beyond it; what moves a slope moves them by their distances.
        for step in range(count - 2, -1, -1):
            here, next_ = _place(step, count, backwards), _place(step + 1, count, backwards)
            for i in range(stride):
                slopes[(row + here) * stride + i] += slopes[(row + next_) * stride + i]
        for step in range(count - 1, 0, -1):
            here, previous = _place(step, count, backwards), _place(step - 1, count, backwards)
            gap = np.float32(abs(knots[here] - knots[previous]))
            for i in range(stride):
                slopes[(row + here) * stride + i] *= gap
                if step < count - 1:
                    beyond = _place(step + 1, count, backwards)
                    slopes[(row + here) * stride + i] += slopes[(row + beyond) * stride + i]
        for step in range(count):
            here = _place(step, count, backwards)
            for o in range(outputs):
                source = ((p0 + path * count + here) * outputs + o) * width
                at = ((row + here) * outputs + o) * width
                if step == 0 or (step == 1 and not definite):
                    for i in range(2 * n - 1):
                        slopes[at + i] *= sign
                    continue
                reduce_factor(params, slopes, source, at, n, sign)


def bend_matrices(params: FloatArray, knots: FloatArray, bend: int, rise: int, least: float) -> FloatArray:
    """Build the matrices of ``expand_bends`` in float64, for a finished model.

    Args:
        params: (paths * knots, ..., 2n - 1).
        knots: (K,).
        bend, rise: as in ``expand_bends``.
        least: a multiple of the identity added to every growth of the slope, so that rounding cannot make one negative.

    Returns:
        (paths * knots, ..., 2n - 1): diagonals and off-diagonals.
    """
    paths = params.reshape(-1, len(knots), *params.shape[1:])
    if bend * rise < 0:
        paths, knots = paths[:, ::-1], knots[::-1]
    growth = factor_products(paths, least)
    if rise == 0:
        growth[:, 1] = paths[:, 1]
    gaps = np.abs(np.diff(knots)).reshape(-1, *(1 for _ in params.shape[1:]))
    matrices = np.empty_like(growth)
    matrices[:, 0] = paths[:, 0]
    matrices[:, 1:] = paths[:, :1] + np.cumsum(gaps * np.cumsum(growth[:, 1:], axis=1), axis=1)
    if bend * rise < 0:
        matrices = matrices[:, ::-1]
    return np.asarray(bend * matrices).reshape(params.shape)
