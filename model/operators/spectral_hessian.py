"""Apply the Hessian of a spectral model's loss in closed form, from eigenvectors found once.

With s the scores, u the eigenvector of a head's matrix T and T' the direction's matrix at a row:

    lambda' = u' T' u,   s' = offset' + sum over members of w lambda',   u' = -(T - lambda I)^+ T' u
    Hv      = sum over rows of  (L s') w u u'  +  l w (u' u^t + u u'^t),   l, L: the loss's slope and Hessian

The pseudo-inverses do not change between products, so each is a sparse product, a small matrix product per
row and head, and the sparse product's transpose. Without the second term it is the Gauss-Newton matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from eigenserve.model.autograd.tridiagonal import eigh_tridiagonal
from eigenserve.model.eigensolvers.pseudo_inverse import DAMPING
from eigenserve.model.operators.hessian import loss_curvature
from eigenserve.model.operators.matrices import SparseMatrix
from eigenserve.model.operators.operator import SymmetricOperator
from eigenserve.model.operators.spectral_loss import Batch, SpectralLoss

#: Pseudo-inverses are kept between products up to this size and computed again beyond it. California's
#: 17,000 rows, 8 heads of dimension 15, take 0.24 GB.
CACHE_BYTES = 2**31


class _Factors(NamedTuple):
    """Hold what products need of a batch: selection (B, R + 1) and its transpose, sparse; vectors (B, H, n);
    inverses (B, H, n, n), none for Gauss-Newton; the loss's slope by each eigenvalue (B, H) and by the
    scores (B, O); the scores."""

    selection: SparseMatrix
    transposed: SparseMatrix
    vectors: Tensor
    inverses: Tensor | None
    slopes: Tensor
    score_slopes: Tensor
    scores: Tensor


class SpectralHessian(SymmetricOperator):
    """Apply the Hessian of a ``SpectralLoss`` at its parameters, or its Gauss-Newton matrix.

    Where an eigenvalue is repeated it has no second derivative; its eigenvector's derivative is damped as in
    ``model.autograd`` (a gap g counts as (g^2 + delta^2) / g), so directions in which it would jump count as
    zero, and which of its eigenvectors is taken is not specified.

    Attributes:
        smallest_gap: over all rows and heads with simple eigenvalues, relative to the largest entry of the
            matrix; curvature that comes from gaps near 1e-8 or below is damped.
    """

    def __init__(self, loss: SpectralLoss, *, gauss_newton: bool = False) -> None:
        self.loss, self.gauss_newton = loss, gauss_newton
        self.size = len(loss.parameters)
        self.dtype, self.device = loss.parameters.dtype, loss.parameters.device
        numbers = 0 if gauss_newton else loss.num_rows * loss.num_heads * loss.dim**2
        self._kept: list[_Factors] | None = None
        self.smallest_gap = float("inf")
        if 8 * numbers <= CACHE_BYTES:
            self._kept = [self._factors(batch) for batch in loss.batches]

    def matvec(self, vector: Tensor) -> Tensor:
        """See ``SymmetricOperator``."""
        result = torch.zeros_like(vector)
        tables, offset = self.loss.tables(vector)
        out_tables, out_offset = self.loss.tables(result)
        for i, batch in enumerate(self.loss.batches):
            factors = self._factors(batch) if self._kept is None else self._kept[i]
            slopes, score_slopes = self._directional(factors, batch, tables, offset)
            out_offset += score_slopes.sum(dim=0)
            out_tables += factors.transposed.times(slopes.flatten(1)).view_as(out_tables)
        return result

    def value_and_slope(self) -> tuple[float, Tensor]:
        """Return the mean loss and its gradient (P,)."""
        result, value = torch.zeros_like(self.loss.parameters), 0.0
        out_tables, out_offset = self.loss.tables(result)
        for i, batch in enumerate(self.loss.batches):
            factors = self._factors(batch) if self._kept is None else self._kept[i]
            value += float(self.loss.score_loss(factors.scores, batch))
            u, slopes = factors.vectors, factors.slopes[..., None]
            by_entry = torch.cat([slopes * u * u, 2.0 * slopes * u[..., :-1] * u[..., 1:]], dim=2)
            out_tables += factors.transposed.times(by_entry.flatten(1)).view_as(out_tables)
            out_offset += factors.score_slopes.sum(dim=0)
        return value, result

    def _directional(self, factors: _Factors, batch: Batch, tables: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiate, in the direction given, the loss's slopes by matrices (B, H, 2n - 1) and scores."""
        loss, u = self.loss, factors.vectors
        count, heads, n = u.shape
        # Memory traffic is what a product costs: the array of the matrices becomes that of the slopes.
        moved = factors.selection.times(tables.flatten(1)).view(count, heads, -1)
        diag, off_diag = moved[..., :n], moved[..., n:]
        image = diag * u
        image[..., :-1] += off_diag * u[..., 1:]
        image[..., 1:] += off_diag * u[..., :-1]
        change = loss.combine((u * image).sum(dim=2), offset)
        bent = loss_curvature(loss.score_loss, factors.scores, batch, change)
        left = (bent[..., None] * loss.member_weights).view(count, heads, 1) * u
        if factors.inverses is not None:
            turned = torch.matmul(factors.inverses, image[..., None])[..., 0]
            left -= 2.0 * factors.slopes[..., None] * turned
        torch.mul(left, u, out=diag)
        torch.add(left[..., :-1] * u[..., 1:], left[..., 1:] * u[..., :-1], out=off_diag)
        return moved, bent

    def _factors(self, batch: Batch) -> _Factors:
        loss = self.loss
        tables, offset = loss.tables(loss.parameters)
        selection = _selection(batch, len(tables))
        rows, transposed = (SparseMatrix(m, self.dtype, self.device) for m in (selection, selection.T))
        matrices = rows.times(tables.flatten(1)).view(-1, *tables.shape[1:])
        diag, off_diag = matrices[..., : loss.dim], matrices[..., loss.dim :]
        inverses = None
        if self.gauss_newton:
            pairs: Any = eigh_tridiagonal(diag, off_diag, eig_idx=loss.eig_idx)
            values, vectors = pairs.eigenvalues[..., 0], pairs.eigenvectors[..., 0, :]
        else:
            values, vectors, inverses = self._pseudo_inverses(diag, off_diag)
        scores = loss.combine(values, offset).requires_grad_()
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(loss.score_loss(scores, batch), scores)
        by_head = (slopes[..., None] * loss.member_weights).flatten(1)
        return _Factors(rows, transposed, vectors, inverses, by_head, slopes, scores.detach())

    def _pseudo_inverses(self, diag: Tensor, off_diag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return eigenvalues (B, H), eigenvectors (B, H, n) and pseudo-inverses (B, H, n, n) of T - lambda I."""
        n, k = self.loss.dim, self.loss.eig_idx
        pairs: Any = eigh_tridiagonal(diag, off_diag, eig_idx=n // 2, window=n // 2)
        values, vectors = pairs.eigenvalues[..., :n], pairs.eigenvectors[..., :n, :]
        size = torch.cat([diag, off_diag], dim=2).abs().amax(dim=2, keepdim=True)
        gaps = values - values[..., k : k + 1]
        others = torch.arange(n, device=gaps.device) != k
        relative = torch.where(others & (size > 0), gaps.abs() / size, torch.inf)
        relative = torch.where(relative > DAMPING, relative, torch.inf)
        self.smallest_gap = min(self.smallest_gap, float(relative.min()))
        damped = gaps**2 + (DAMPING * size) ** 2
        weights = torch.where(others & (damped > 0), gaps / damped, 0.0)
        inverses = torch.matmul(vectors.mT * weights[..., None, :], vectors)
        return values[..., k], vectors[..., k, :].contiguous(), inverses


def _selection(batch: Batch, num_matrices: int) -> scipy.sparse.csr_array:
    """Return the weight of each matrix at each row, (B, R + 1); the last, the constant, counts once."""
    starts, weights = batch.starts.cpu().numpy(), batch.weights.cpu().numpy()
    count, curves = starts.shape
    rows = np.repeat(np.arange(count), curves)
    columns = np.concatenate([starts.ravel(), starts.ravel() + 1, np.full(count, num_matrices - 1)])
    shares = np.concatenate([1.0 - weights.ravel(), weights.ravel(), np.ones(count)])
    places = (np.concatenate([rows, rows, np.arange(count)]), columns)
    selection = scipy.sparse.csr_array((shares, places), shape=(count, num_matrices))
    selection.eliminate_zeros()
    return selection
