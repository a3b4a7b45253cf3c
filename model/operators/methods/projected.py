"""Solve the projected problem: eigenpairs of the tridiagonal matrix that Lanczos leaves, by our own eigensolver."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from eigenserve.model.eigensolvers import eigh_tridiagonal
from eigenserve.model.operators.arguments import Which
from eigenserve.model.operators.methods.result import order
from eigenserve.model.operators.products import FloatArray


class RitzPairs(NamedTuple):
    """Hold eigenpairs of a projected matrix, the most wanted first: values (p,) and vectors (p, m)."""

    values: FloatArray
    vectors: FloatArray


def tridiagonal_eigenpairs(diag: FloatArray, off_diag: FloatArray, first: int, last: int) -> RitzPairs:
    """Solve for eigenpairs first ... last - 1, ascending, of one tridiagonal matrix: diag (m,), off_diag (m - 1,)."""
    middle = (first + last - 1) // 2
    window = max(middle - first, last - 1 - middle)
    found = eigh_tridiagonal(diag, off_diag, eig_idx=middle, window=window)
    inside = slice(first - (middle - window), last - (middle - window))
    return RitzPairs(found.eigenvalues[inside], found.eigenvectors[inside])


def wanted_pairs(diag: FloatArray, off_diag: FloatArray, count: int, which: Which) -> RitzPairs:
    """Solve for the ``count`` most wanted eigenpairs of a tridiagonal matrix (all of them, if there are fewer)."""
    m = len(diag)
    count = min(count, m)
    if which == "SA":
        pairs = tridiagonal_eigenpairs(diag, off_diag, 0, count)
    elif which == "LA":
        pairs = tridiagonal_eigenpairs(diag, off_diag, m - count, m)
    elif 2 * count >= m:
        pairs = tridiagonal_eigenpairs(diag, off_diag, 0, m)
    else:  # the largest magnitudes are among the outermost of each end
        low = tridiagonal_eigenpairs(diag, off_diag, 0, count)
        high = tridiagonal_eigenpairs(diag, off_diag, m - count, m)
        pairs = RitzPairs(*(np.concatenate(both) for both in zip(low, high, strict=True)))
    chosen = order(pairs.values, which)[:count]
    return RitzPairs(pairs.values[chosen], pairs.vectors[chosen])


def wanted_pairs_dense(matrix: FloatArray, count: int, which: Which) -> RitzPairs:
    """Solve as ``wanted_pairs`` for a symmetric matrix (m, m), brought to tridiagonal form by Householder."""
    reduced, turn = scipy.linalg.hessenberg(matrix, calc_q=True)
    pairs = wanted_pairs(np.diagonal(reduced).copy(), np.diagonal(reduced, 1).copy(), count, which)
    return RitzPairs(pairs.values, pairs.vectors @ turn.T)


class Restart(NamedTuple):
    """Hold a shorter Lanczos factorisation: weights (p, m) of the kept vectors, and its tridiagonal matrix.

    Attributes:
        weights: rows of old basis vectors' weights.
        diag: (p,).
        off_diag: (p,), the last of which couples to the vector that comes next.
    """

    weights: FloatArray
    diag: FloatArray
    off_diag: FloatArray


def thick_restart(pairs: RitzPairs, coupling: float) -> Restart:
    """Keep the Ritz pairs (p) of a factorisation whose residual has the norm ``coupling``.

    Kept Ritz vectors all couple to the next Lanczos vector (Wu and Simon, 2000), which makes the projected
    matrix an arrowhead. Householder reflections among them make it tridiagonal again, with a coupling of the
    last one alone, so that the recurrence goes on as if it had never stopped.
    """
    p = len(pairs.values)
    arrow = np.zeros((p + 1, p + 1))
    arrow[0, 1:] = arrow[1:, 0] = coupling * pairs.vectors[:, -1]
    arrow[1:, 1:] = np.diag(pairs.values)
    # The reduction leaves the first unit vector alone: the tip of the arrow becomes one off-diagonal entry.
    reduced, turn = scipy.linalg.hessenberg(arrow, calc_q=True)
    turn = turn[1:, :0:-1]
    return Restart(
        weights=turn.T @ pairs.vectors,
        diag=np.diagonal(reduced)[:0:-1].copy(),
        off_diag=np.diagonal(reduced, 1)[::-1].copy(),
    )
