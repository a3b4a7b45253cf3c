"""Inverse iteration for one matrix: a solve with the shifted matrix turns a vector towards the eigenvectors nearby.

For what the twisted factorisation leaves: vectors of clusters, and those whose residual is not yet rounding.
"""

from typing import Any

import numpy as np
from numba import njit

SMALL_PIVOT = 2.0**-52


@njit(error_model="numpy")
def sharpen(d: Any, e: Any, value: float, vector: Any) -> None:
    """One inverse iteration: a unit vector near an eigenvector for `value` gets the residual of a stable solve.

    d (n,), e (.., n - 1): entries of a scaled matrix, the largest in [1, 2).
    """
    solve_shifted(d, e, value, vector)
    normalise(vector)


@njit(error_model="numpy")
def normalise(vector: Any) -> None:
    """Scale a vector of any size to unit norm."""
    largest = 0.0
    for i in range(vector.shape[0]):
        largest = max(largest, abs(vector[i]))
    total = 0.0
    for i in range(vector.shape[0]):
        vector[i] /= largest
        total += vector[i] * vector[i]
    scale = 1.0 / np.sqrt(total)
    for i in range(vector.shape[0]):
        vector[i] *= scale


@njit(error_model="numpy")
def _significant(e: float) -> float:
    """Off-diagonals below rounding split the matrix: as pivots they would outweigh every other direction."""
    return e if abs(e) >= SMALL_PIVOT else 0.0


@njit(error_model="numpy")
def solve_shifted(d: Any, e: Any, shift: float, x: Any) -> None:
    """x <- (T - shift I)^-1 x by elimination with pivoting; vanishing pivots are lifted to rounding."""
    n = x.shape[0]
    pivots, upper, upper2 = np.empty(n), np.zeros(n), np.zeros(n)
    pivot = d[0] - shift
    right = _significant(e[0]) if n > 1 else 0.0
    for i in range(n - 1):
        below = _significant(e[i])
        diagonal = d[i + 1] - shift
        following = _significant(e[i + 1]) if i + 2 < n else 0.0
        if abs(below) > abs(pivot):
            ratio = pivot / below
            pivots[i], upper[i], upper2[i] = below, diagonal, following
            pivot = right - ratio * diagonal
            right = -ratio * following
            x[i], x[i + 1] = x[i + 1], x[i] - ratio * x[i + 1]
        else:
            if abs(pivot) < SMALL_PIVOT:
                pivot = SMALL_PIVOT
            ratio = below / pivot
            pivots[i], upper[i], upper2[i] = pivot, right, 0.0
            pivot = diagonal - ratio * right
            right = following
            x[i + 1] -= ratio * x[i]
    pivots[n - 1] = pivot if abs(pivot) >= SMALL_PIVOT else SMALL_PIVOT
    for step in range(n):
        i = n - 1 - step
        total = x[i]
        if i + 1 < n:
            total -= upper[i] * x[i + 1]
        if i + 2 < n:
            total -= upper2[i] * x[i + 2]
        x[i] = total / pivots[i]
        if abs(x[i]) > 1e100:
            # Rescale before a run of tiny pivots overflows: only the direction counts.
            for j in range(n):
                x[j] *= 1e-100
