"""Compute gradients of eigenvalues from eigenvectors, in one pass and without temporaries.

The readable form is four torch products; each allocates an array as large as the matrices, and fresh memory
costs more than the arithmetic.
"""

from pathlib import Path
from typing import Any

from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest


def _cached(sources: int) -> Any:
    @kernel
    def gradients(weights: Any, vectors: Any, grad_diag: Any, grad_off: Any) -> None:
        """Sum over places: grad_diag (M, n) of w v_i^2, grad_off (M, n - 1) of 2 w v_i v_{i+1}.

        weights (M, places), vectors (M, places, n).
        """
        if sources < 0:  # only so that the digest is captured
            return
        count, places, n = vectors.shape
        for matrix in range(count):
            for place in range(places):
                weight = weights[matrix, place]
                vector = vectors[matrix, place]
                if place == 0:
                    for i in range(n):
                        grad_diag[matrix, i] = weight * vector[i] * vector[i]
                    for i in range(n - 1):
                        grad_off[matrix, i] = 2.0 * weight * vector[i] * vector[i + 1]
                else:
                    for i in range(n):
                        grad_diag[matrix, i] += weight * vector[i] * vector[i]
                    for i in range(n - 1):
                        grad_off[matrix, i] += 2.0 * weight * vector[i] * vector[i + 1]

    return gradients


eigenvalue_gradients = _cached(source_digest(*SOLVER_SOURCES, Path(__file__)))
