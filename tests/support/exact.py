"""Sturm counts in exact integer arithmetic: the proof, not an approximation, of where an eigenvalue lies."""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np


def count_below(diag: Sequence[float], off_diag: Sequence[float], shift: Fraction) -> int:
    """How many eigenvalues of the float64 matrix are below `shift`, exactly."""
    entries = [Fraction(float(x)) for x in (*diag, *off_diag)]
    scale = lcm(shift.denominator, *(x.denominator for x in entries))
    n = len(diag)
    d = [int((x - shift) * scale) for x in entries[:n]]
    e = [int(x * scale) for x in entries[n:]]
    count, before, p, positive = 0, 0, 1, True
    for i in range(n):
        if i and e[i - 1] == 0:
            before, p, positive = 0, 1, True
        before, p = p, d[i] * p - (e[i - 1] ** 2 * before if i else 0)
        # A zero minor takes the sign before it, as it would just below the shift.
        now = p > 0 if p else positive
        count += now != positive
        positive = now
    return count


def norm(diag: np.ndarray, off_diag: np.ndarray) -> float:
    """A lower bound of ||T||_2, within a factor 1.3 or so: the largest 2-norm of a row."""
    rows = np.zeros((3, len(diag)))
    rows[0] = diag
    rows[1, 1:] = off_diag
    rows[2, :-1] = off_diag
    size = np.abs(rows).max()
    return float(size * np.sqrt(((rows / size) ** 2).sum(0).max())) if size else 0.0


def proves(diag: np.ndarray, off_diag: np.ndarray, eig_idx: int, value: float, tolerance: float) -> bool:
    """Whether eigenvalue `eig_idx` lies within `tolerance`, and half a denormal, of `value`."""
    reach = Fraction(tolerance) + Fraction(1, 2**1075)
    below = count_below(diag, off_diag, Fraction(float(value)) - reach)
    return below <= eig_idx < count_below(diag, off_diag, Fraction(float(value)) + reach)
