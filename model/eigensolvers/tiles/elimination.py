"""Solve with one shifted tridiagonal matrix, real or complex, by elimination with partial pivoting."""

from typing import Any

import numpy as np

from eigenserve.model.kernels.compiled import part

HUGE_COMPONENT, TO_SHRINK_IT = 1e100, 1e-100


@part
def solve_shifted(d: Any, e: Any, factor: float, shift: Any, x: Any, least: Any = None) -> None:
    """Overwrite x with (factor T - shift I)^-1 x.

    d (n,), e (.., n - 1): the entries of T; shift and x (n,): real or complex. Without `least` the shift must keep
    pivots from zero. With it pivots are lifted to it, and off-diagonals below it split the matrix: as pivots they would
    outweigh every other direction. Only the direction of x is right then: it shrinks before a run of tiny pivots
    overflows.
    """
    n = x.shape[0]
    pivots, upper, upper2 = np.empty_like(x), np.zeros_like(x), np.zeros_like(x)
    pivot = factor * d[0] - shift
    right = _significant(factor * e[0], least) if n > 1 else 0.0
    for i in range(n - 1):
        below = _significant(factor * e[i], least)
        diagonal = factor * d[i + 1] - shift
        following = _significant(factor * e[i + 1], least) if i + 2 < n else 0.0
        if abs(below) > abs(pivot):
            ratio = pivot / below
            pivots[i], upper[i], upper2[i] = below, diagonal, following
            pivot = right - ratio * diagonal
            right = -ratio * following
            x[i], x[i + 1] = x[i + 1], x[i] - ratio * x[i + 1]
        else:
            pivot = _lifted(pivot, least)
            ratio = below / pivot
            pivots[i], upper[i], upper2[i] = pivot, right, 0.0
            pivot = diagonal - ratio * right
            right = following
            x[i + 1] -= ratio * x[i]
    pivots[n - 1] = _lifted(pivot, least)
    for step in range(n):
        i = n - 1 - step
        total = x[i]
        if i + 1 < n:
            total -= upper[i] * x[i + 1]
        if i + 2 < n:
            total -= upper2[i] * x[i + 2]
        x[i] = total / pivots[i]
        if least is not None and abs(x[i]) > HUGE_COMPONENT:
            for j in range(n):
                x[j] *= TO_SHRINK_IT


@part
def _significant(e: float, least: Any) -> float:
    return 0.0 if least is not None and abs(e) < least else e


@part
def _lifted(pivot: Any, least: Any) -> Any:
    return least if least is not None and abs(pivot) < least else pivot
