"""Find the k outermost eigenpairs of a symmetric operator, by thick-restart Lanczos."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eigenserve.model.operators.arguments import Which, check_which, random_vectors, real, seeded, whole
from eigenserve.model.operators.methods.krylov_basis import KrylovBasis
from eigenserve.model.operators.methods.projected import RitzPairs, thick_restart, wanted_pairs
from eigenserve.model.operators.methods.result import EigenResult, Progress, as_result, is_converged
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.products import FloatArray, Products

#: Steps up to which the basis is kept whole and fully orthogonal by default; longer runs restart.
DEFAULT_BASIS = 50


def lanczos(
    operator: SymmetricOperator,
    k: int = 10,
    max_iter: int | None = None,
    tol: float = 1e-4,
    reorthogonalize: bool | None = None,
    which: Which = "LM",
    seed: int = 0,
    *,
    max_basis: int | None = None,
    basis_device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> EigenResult:
    """Find the k most wanted eigenpairs by the Lanczos recurrence from a random start.

    Stops at the first step after which every wanted Ritz pair has |beta_m s_mi| <= tol |theta_i| (beta_m: the
    norm of the residual vector; s_mi: the last entry of the i-th eigenvector of the tridiagonal matrix),
    which in exact arithmetic is ||A v - theta v||; see ``is_converged`` for eigenvalues near zero.

    A basis that reaches ``max_basis`` vectors is restarted from its best Ritz vectors, so memory stays at
    that many vectors however long the run. One run finds one vector per distinct eigenvalue: copies of a
    multiple eigenvalue come only by rounding, late or never (``block_lanczos`` finds them).

    Args:
        operator: the matrix.
        k: how many.
        max_iter: products at most; by default max(50, 20 k), or the operator's size if that is less.
        tol: of the residuals, relative.
        reorthogonalize: make each new vector orthogonal to the whole basis. By default yes, for up to 50
            steps and then by restarts. False is the bare recurrence, without restarts: in rounded arithmetic
            it returns converged eigenvalues again, as ghosts with vectors that are not orthonormal (Paige,
            1976).
        which: LM, LA or SA.
        seed: of the start; the same on every device.
        max_basis: vectors kept; by default 50, or 2 k + 10 if that is more.
        basis_device: where to keep them, the operator's device by default. With "cpu" only one vector at a
            time travels to and from the operator. The eigenvectors are returned there.
        progress: called after each step.

    Raises:
        TypeError: no operator, or no numbers where numbers are due.
        ValueError: a request that cannot be met, a matrix that is not finite, or restarts without
            orthogonality.

    Source: Lanczos (1950); Paige (1972) for the order of the operations; Wu and Simon (2000), SIAM J. Matrix
    Anal. Appl. 22, for the restart.
    """
    products = Products(operator, basis_device)
    n = products.size
    k, tol = whole("k", k, 1, n), real("tol", tol, 0.0)
    max_iter = whole("max_iter", min(n, max(DEFAULT_BASIS, 20 * k)) if max_iter is None else max_iter, k)
    check_which(which)
    if max_basis is not None:
        max_basis = whole("max_basis", max_basis, min(k + 2, n))
    if reorthogonalize is False:
        if max_basis is not None and max_basis < max_iter:
            raise ValueError("restarts need reorthogonalize: leave max_basis out, or let it be max_iter")
        max_basis = max_iter
    elif max_basis is None:
        max_basis = max(DEFAULT_BASIS, 2 * k + 10)
    run = _Run(products, min(max_basis, max_iter, n), seed, reorthogonalize is not False)
    while True:
        run.step()
        if run.count < k and products.count < max_iter:
            continue
        pairs = wanted_pairs(run.diag, run.off_diag[:-1], k, which)
        residuals = np.abs(run.off_diag[-1] * pairs.vectors[:, -1])
        converged = is_converged(pairs.values, residuals, run.scale, tol)
        if progress is not None:
            progress(products.count, max_iter, int(converged.sum()))
        if len(pairs.values) == k and (converged.all() or run.count == n):
            break
        if products.count >= max_iter:
            break
        if run.count == run.basis.capacity:
            # Half of the free places for the pairs next in line: they are what the next cycle builds on.
            run.restart(wanted_pairs(run.diag, run.off_diag[:-1], k + (run.count - k) // 2, which))
    vectors = run.basis.combine(torch.from_numpy(pairs.vectors))
    return as_result(products, pairs.values, vectors, residuals, converged, run.scale)


class _Run:
    """Grow a Lanczos factorisation A V' = V' T + beta w e_m': V the basis, T = (diag, off_diag)."""

    def __init__(self, products: Products, capacity: int, seed: int, reorthogonalize: bool) -> None:
        self.products, self.reorthogonalize = products, reorthogonalize
        self.basis = KrylovBasis(capacity, products.size, products.dtype, products.device)
        self.generator = seeded(seed)
        self.diag: FloatArray = np.empty(0)
        #: As long as ``diag``: the last entry couples to the vector that comes next.
        self.off_diag: FloatArray = np.empty(0)
        self.scale = 0.0
        self._next = self._random()

    @property
    def count(self) -> int:
        """Count the vectors in the basis."""
        return len(self.diag)

    def step(self) -> None:
        """Take one product: the basis grows by the next vector."""
        vector = self._next
        self.basis.append(vector)
        product = self.products.matvec(vector)
        if self.count:
            product = product - self.off_diag[-1] * self.basis.vectors[-2]
        alpha = float(vector @ product)
        product = product - alpha * vector
        if self.reorthogonalize:
            product = self.basis.orthogonalize(product)
        beta = float(torch.linalg.vector_norm(product))
        self.scale = max(self.scale, abs(alpha) + beta)
        # Below this the residual is rounding: the space is invariant, and goes on in a random direction.
        if beta <= self.products.rounding(self.scale):
            beta = 0.0
            if self.basis.count < self.products.size:
                self._next = self._random()
        else:
            self._next = product / beta
        self.diag = np.append(self.diag, alpha)
        self.off_diag = np.append(self.off_diag, beta)

    def restart(self, pairs: RitzPairs) -> None:
        """Go on from these Ritz pairs alone."""
        kept = thick_restart(pairs, float(self.off_diag[-1]))
        self.basis.compress(torch.from_numpy(kept.weights))
        self.diag, self.off_diag = kept.diag, kept.off_diag

    def _random(self) -> Tensor:
        """Draw a random unit vector orthogonal to the basis."""
        vector = random_vectors(1, self.products.size, self.products.dtype, self.generator)[0]
        vector = vector.to(self.products.device)
        if self.basis.count:
            vector = self.basis.orthogonalize(vector)
        return vector / torch.linalg.vector_norm(vector)
