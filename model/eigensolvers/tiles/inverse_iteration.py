"""Turn a vector towards the eigenvectors near a shift, by one solve with the shifted matrix.

For what the twisted factorisation leaves: vectors of clusters, and those whose residual is not yet rounding.
"""

from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.elimination import solve_shifted
from eigenserve.model.kernels.compiled import part

SMALL_PIVOT = 2.0**-52


@part
def sharpen(d: Any, e: Any, value: float, vector: Any) -> None:
    """Run one inverse iteration: a unit vector near an eigenvector for `value` gets the residual of a stable solve.

    d (n,), e (.., n - 1): entries of a scaled matrix, the largest in [1, 2).
    """
    solve_shifted(d, e, 1.0, value, vector, SMALL_PIVOT)
    normalise(vector)


@part
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
