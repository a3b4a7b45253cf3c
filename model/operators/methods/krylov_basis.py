"""Keep the orthonormal vectors of a Krylov space, in bounded memory and where memory allows."""

from __future__ import annotations

import torch
from torch import Tensor

#: Columns that are recombined together. 64 vectors of this length are 4 MiB: cache, not a second basis.
CHUNK_COLUMNS = 8192
#: A vector that orthogonalisation shortens by more than this has lost digits and is done again: "twice is
#: enough" (Parlett, The Symmetric Eigenvalue Problem, section 6.9; Daniel, Gragg, Kaufman, Stewart 1976).
KEPT_SHARE = 0.7071


class KrylovBasis:
    """Keep up to ``capacity`` orthonormal vectors (n,) as rows of one array.

    Only vectors travel to and from the device of the operator; all work on the basis is done where it lies.

    Attributes:
        count: vectors that there are.
    """

    def __init__(self, capacity: int, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.empty(capacity, size, dtype=dtype, device=device)
        self.count = 0

    @property
    def vectors(self) -> Tensor:
        """View the vectors (count, n)."""
        return self._rows[: self.count]

    @property
    def capacity(self) -> int:
        """Return how many vectors it can hold."""
        return len(self._rows)

    def append(self, vectors: Tensor) -> None:
        """Add vectors (b, n), or one (n,)."""
        vectors = vectors.reshape(-1, self._rows.shape[1])
        self._rows[self.count : self.count + len(vectors)] = vectors
        self.count += len(vectors)

    def orthogonalize(self, vector: Tensor) -> Tensor:
        """Return the part of a vector (n,) orthogonal to the basis (classical Gram-Schmidt, again if needed)."""
        before = float(torch.linalg.vector_norm(vector))
        for _ in range(3):
            vector = torch.addmv(vector, self.vectors.T, self.vectors @ vector, alpha=-1.0)
            after = float(torch.linalg.vector_norm(vector))
            if after > KEPT_SHARE * before:
                break
            before = after
        return vector

    def combine(self, weights: Tensor) -> Tensor:
        """Combine vectors linearly: weights (p, count) -> (p, n)."""
        return weights.to(self._rows) @ self.vectors

    def compress(self, weights: Tensor) -> None:
        """Replace the basis by ``combine(weights)``, weights (p, count) with p <= count, in place."""
        weights = weights.to(self._rows)
        for first in range(0, self._rows.shape[1], CHUNK_COLUMNS):
            columns = slice(first, first + CHUNK_COLUMNS)
            self._rows[: len(weights), columns] = weights @ self.vectors[:, columns]
        self.count = len(weights)
