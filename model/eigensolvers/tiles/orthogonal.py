"""Make windows of eigenvectors orthonormal where eigenvalues crowd.

A twisted factorisation knows one eigenvalue at a time: of two that agree to rounding it may return the same
vector twice. So within a window each vector is made orthogonal to its close predecessors; where nothing is
left of it, inverse iteration in their complement finds another (as LAPACK's dstein does). One matrix at a
time: clusters are rare.
"""

from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.inverse_iteration import normalise, sharpen
from eigenserve.model.kernels.compiled import part

# Two unit vectors with residuals of a few eps ||T|| overlap by a few eps ||T|| / gap: 1e-13 from this gap on
# (dstein's criterion; the entries of T are at most 2 here).
CLOSE = 1e-3
# Below a tenth of the vector what is left is not better than what was subtracted.
LOST = 0.01  # squared
ROUNDS = 4  # inverse iterations; the second is enough unless the start vector happens to lack the wanted one


@part
def orthogonalise(d: Any, e: Any, values: Any, vectors: Any) -> None:
    """Make the eigenvectors of one scaled matrix orthonormal in place.

    d (n,), e (.., n - 1): entries, the largest in [1, 2); values (count,) ascending; vectors (count, n)
    unit vectors.
    """
    count = vectors.shape[0]
    for place in range(1, count):
        leader = place
        while leader > 0 and values[place] - values[leader - 1] < CLOSE:
            leader -= 1
        if leader == place:
            continue
        left = _remove(vectors, leader, place)
        if left < LOST:
            _inverse_iteration(d, e, values[place], vectors, leader, place)
        elif left < 1.0:
            _remove(vectors, leader, place)
        normalise(vectors[place])


@part
def _remove(vectors: Any, leader: int, place: int) -> float:
    """Subtract from vectors[place] its parts along leader ... place - 1; returns what is left, squared."""
    n = vectors.shape[1]
    for other in range(leader, place):
        overlap = 0.0
        for i in range(n):
            overlap += vectors[other, i] * vectors[place, i]
        for i in range(n):
            vectors[place, i] -= overlap * vectors[other, i]
    left = 0.0
    for i in range(n):
        left += vectors[place, i] * vectors[place, i]
    return left


@part
def _inverse_iteration(d: Any, e: Any, shift: float, vectors: Any, leader: int, place: int) -> None:
    """Overwrite vectors[place] by an eigenvector for `shift` orthogonal to leader ... place - 1."""
    n = vectors.shape[1]
    x = vectors[place]
    # Any start with a part along every eigenvector will do; the same one every time, for the same bits
    # every time.
    state = np.uint64(place + 1)
    for i in range(n):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        x[i] = 0.5 + np.float64(state >> np.uint64(12)) * 2.0**-52
    for _ in range(ROUNDS):
        _remove(vectors, leader, place)
        normalise(x)
        sharpen(d, e, shift, x)
        _remove(vectors, leader, place)
        normalise(x)
    _remove(vectors, leader, place)
