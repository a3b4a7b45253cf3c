"""Build monotone curves: every step from knot to knot is sign * L L', positive semidefinite in its complete form.

A symmetric tridiagonal matrix is positive semidefinite exactly if it is L L' with L lower bidiagonal, and a larger
matrix (in that order) has no smaller eigenvalue. So such a curve makes the score monotone along it, whichever
eigenvalue is the score, and no monotone curve is out of reach.

The parameters of a path are a level, the matrix at its first knot, and one L for each step: the diagonal of L where
the diagonal of a matrix would be, its subdiagonal where the off-diagonal would be.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import part


@part
def expand_steps(params: Any, table: Any, p0: int, first: int, shape: Any, n: int, outputs: int, width: int) -> None:
    """Expand parameters from row p0 on into matrices from row ``first`` on.

    params, table: flat float32, ``outputs * width`` numbers for each; shape: (paths, knots, sign).
    """
    paths, knots, sign = shape[0], shape[1], np.float32(shape[2])
    for row in range(paths * knots):
        for o in range(outputs):
            source = ((p0 + row) * outputs + o) * width
            target = ((first + row) * outputs + o) * width
            if row % knots == 0:
                for i in range(2 * n - 1):
                    table[target + i] = params[source + i]
                continue
            before = target - outputs * width
            above = np.float32(0.0)
            for i in range(n):
                diag = params[source + i]
                table[target + i] = table[before + i] + sign * (diag * diag + above * above)
                if i < n - 1:
                    above = params[source + n + i]
                    table[target + n + i] = table[before + n + i] + sign * diag * above


@part(forceinline=True)
def reduce_factor(params: Any, slopes: Any, source: int, at: int, n: int, sign: Any) -> None:
    """Reduce slopes of the matrix sign * L L' at ``at`` to slopes of L, which is at ``source``, in their place."""
    for i in range(n):
        diag = params[source + i]
        slope = np.float32(2.0) * diag * slopes[at + i]
        if i < n - 1:
            below, cross = params[source + n + i], slopes[at + n + i]
            slope += below * cross
            slopes[at + n + i] = sign * (np.float32(2.0) * below * slopes[at + i + 1] + diag * cross)
        slopes[at + i] = sign * slope


@part
def reduce_steps(params: Any, slopes: Any, p0: int, first: int, shape: Any, n: int, outputs: int, width: int) -> None:
    """Reduce slopes of the matrices to slopes of the parameters, in their place: the adjoint of ``expand_steps``."""
    paths, knots, sign = shape[0], shape[1], np.float32(shape[2])
    stride = outputs * width
    for path in range(paths):
        last = path * knots + knots - 1
        # A step moves its own matrix and all beyond it; the level moves them all.
        for row in range(last - 1, last - knots, -1):
            for i in range(stride):
                slopes[(first + row) * stride + i] += slopes[(first + row + 1) * stride + i]
        for row in range(path * knots + 1, last + 1):
            for o in range(outputs):
                source = ((p0 + row) * outputs + o) * width
                at = ((first + row) * outputs + o) * width
                reduce_factor(params, slopes, source, at, n, sign)


def step_matrices(params: FloatArray, knots: int, sign: int, least_rise: float) -> FloatArray:
    """Build the matrices of ``expand_steps`` in float64, for a finished model.

    Args:
        params: (paths * knots, ..., 2n - 1).
        knots: of each path.
        sign: 1 or -1.
        least_rise: a multiple of the identity added to every step, so that rounding cannot make one negative.

    Returns:
        (paths * knots, ..., 2n - 1): diagonals and off-diagonals.
    """
    paths = (sign * factor_products(params, least_rise)).reshape(-1, knots, *params.shape[1:])
    paths[:, 0] = params.reshape(paths.shape)[:, 0]
    return np.cumsum(paths, axis=1).reshape(params.shape)


def factor_products(factors: FloatArray, least: float) -> FloatArray:
    """Multiply L L' and add ``least`` times the identity, for factors L and products (..., 2n - 1)."""
    n = (factors.shape[-1] + 1) // 2
    diag, below = factors[..., :n], factors[..., n:]
    products = np.concatenate([diag**2, diag[..., : n - 1] * below], axis=-1)
    products[..., 1:n] += below**2
    products[..., :n] += least
    return products
