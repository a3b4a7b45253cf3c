"""Compute the loss of a trained spectral model as a function of its matrices, on torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eigenserve.model.arrays import FloatArray
from eigenserve.model.autograd.tridiagonal import eigvalsh_tridiagonal
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.operators.hessian import GaussNewtonOperator, HessianOperator

#: Losses of rows: scores (N, O) and targets (N,) -> (N,).
RowLoss = Callable[[Tensor, Tensor], Tensor]
#: Rows in a batch: 4 MB of matrices for eight heads of dimension 15. Measured: from 256 to 4,096 a product
#: takes the same time, so this bounds memory.
BATCH_ROWS = 2048


class Batch(NamedTuple):
    """Hold where rows stand on the curves, starts and weights (B, C) as in ``Walk``; target and share (B,).

    The shares of all rows add up to one.
    """

    starts: Tensor
    weights: Tensor
    target: Tensor
    share: Tensor


@dataclass(frozen=True)
class SpectralLoss:
    """Compute the mean loss of an ensemble's scores over N rows, with all its matrices and offsets as one vector.

    The vector is the matrices (R + 1, H, 2 n - 1), that of the constants last, each as diagonal and
    off-diagonal; then the offsets (O,).

    Attributes:
        parameters: (P,) float64, where the trained model stands.
        batches: the rows.
        row_loss: of the scores.
        num_rows: N.
        num_heads, dim, eig_idx: H, n and which eigenvalue.
        member_weights: (G,).
    """

    parameters: Tensor
    batches: tuple[Batch, ...]
    row_loss: RowLoss
    num_rows: int
    num_heads: int
    dim: int
    eig_idx: int
    member_weights: Tensor

    @property
    def num_outputs(self) -> int:
        """Count the outputs O."""
        return self.num_heads // len(self.member_weights)

    def tables(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """View a vector (P,) as its matrices (R + 1, H, 2 n - 1) and offsets (O,)."""
        matrices, offset = vector[: -self.num_outputs], vector[-self.num_outputs :]
        return matrices.view(-1, self.num_heads, 2 * self.dim - 1), offset

    def scores(self, parameters: Tensor, batch: Batch) -> Tensor:
        """Return the scores (B, O) of rows, differentiable in ``parameters`` (P,)."""
        tables, offset = self.tables(parameters)
        weights = batch.weights[:, :, None, None]
        steps = (1.0 - weights) * tables[batch.starts] + weights * tables[batch.starts + 1]
        matrices = tables[-1] + steps.sum(dim=1)
        diag, off_diag = matrices[..., : self.dim], matrices[..., self.dim :]
        eigenvalues = eigvalsh_tridiagonal(diag, off_diag, eig_idx=self.eig_idx)
        return self.combine(eigenvalues, offset)

    def combine(self, eigenvalues: Tensor, offset: Tensor) -> Tensor:
        """Combine eigenvalues (B, H) and offsets (O,) into scores (B, O)."""
        by_member = eigenvalues.view(len(eigenvalues), self.num_outputs, -1)
        return offset + by_member @ self.member_weights

    def score_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """Return the share of the mean loss that a batch with these scores has, a number."""
        return self.row_loss(scores, batch.target) @ batch.share

    def loss(self, parameters: Tensor, batch: Batch) -> Tensor:
        """Return the share of the mean loss that a batch has."""
        return self.score_loss(self.scores(parameters, batch), batch)

    def hessian(self) -> HessianOperator:
        """Apply the Hessian by two backward passes: the readable twin of ``SpectralHessian``."""
        return HessianOperator(self.loss, self.parameters, self.batches)

    def gauss_newton(self) -> GaussNewtonOperator:
        """Apply the Gauss-Newton matrix by backward passes: the readable twin of ``SpectralHessian``'s."""
        return GaussNewtonOperator(self.scores, self.score_loss, self.parameters, self.batches)


def spectral_loss(
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    target: FloatArray,
    row_loss: RowLoss,
    *,
    row_weights: FloatArray | None = None,
    shift: float = 0.0,
    scale: float = 1.0,
    batch_rows: int = BATCH_ROWS,
    device: torch.device | str = "cpu",
) -> SpectralLoss:
    """Build the loss of an ensemble on rows: coordinates (N, F), target (N,) in the unit of the loss.

    Args:
        ensemble: the trained model.
        coordinates: as ``FeatureSpace.coordinates`` gives them.
        target: what the scores should be, or the class codes.
        row_loss: of scores and targets.
        row_weights: (N,), at least zero, by which the mean over rows is weighted; all the same by default.
        shift, scale: the model's scores are shift + scale times those of the loss: matrices and offsets are
            divided accordingly, so that curvature does not depend on the target's unit.
        batch_rows: rows in a batch.
        device: where to compute.

    Raises:
        ValueError: no rows, as many targets as rows are not there, or a scale that is not positive.
    """
    if len(coordinates) == 0 or len(target) != len(coordinates):
        raise ValueError(f"there must be rows, with a target each; got {len(coordinates)} and {len(target)}")
    if not scale > 0:
        raise ValueError(f"scale must be above 0; got {scale}")
    row_weights = np.ones(len(target)) if row_weights is None else row_weights
    pencil = ensemble.pencil
    constant = np.concatenate([pencil.constant_diag, pencil.constant_off_diag], axis=1)
    tables = np.concatenate([np.concatenate([pencil.diag, pencil.off_diag], axis=2), constant[None]])
    offset = (ensemble.offset - shift) / scale
    return SpectralLoss(
        parameters=torch.from_numpy(np.concatenate([tables.ravel() / scale, offset])).to(device),
        batches=tuple(_batches(ensemble, coordinates, target, row_weights / row_weights.sum(), batch_rows, device)),
        row_loss=row_loss,
        num_rows=len(coordinates),
        num_heads=pencil.num_heads,
        dim=pencil.dim,
        eig_idx=ensemble.eig_idx,
        member_weights=torch.tensor(ensemble.member_weights, dtype=torch.float64, device=device),
    )


def _batches(
    ensemble: SpectralEnsemble,
    coordinates: FloatArray,
    target: FloatArray,
    share: FloatArray,
    batch_rows: int,
    device: torch.device | str,
) -> Iterator[Batch]:
    for first in range(0, len(coordinates), batch_rows):
        rows = slice(first, first + batch_rows)
        walk = ensemble.pencil.curves.walk(coordinates[rows])
        yield Batch(
            starts=torch.from_numpy(walk.starts.astype(np.int64)).to(device),
            weights=torch.from_numpy(walk.weights).to(device),
            target=torch.tensor(target[rows], dtype=torch.float64, device=device),
            share=torch.tensor(share[rows], dtype=torch.float64, device=device),
        )
