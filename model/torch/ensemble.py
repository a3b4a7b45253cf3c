"""SpectralEnsemble: the weighted mean of members' eigenvalues, as a served model scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eigenserve.model.torch.layers import Attribution, SpectralLayer


class SpectralEnsemble(nn.Module):
    """Map (..., in_features) to (..., out_features): offset_o + sum over members g of w_g lambda_k(T_og(x)).

    ``heads`` is a `SpectralLayer` with out_features * members outputs, ordered by output and then by member; ``offset``
    is a parameter and ``member_weights`` a buffer, 1 / members each. Train the mean, or each member on its loss by
    ``member_scores``, whose mean is then an ensemble.
    """

    offset: Tensor
    member_weights: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dim: int,
        eig_idx: int | None = None,
        members: int = 4,
        smoothing: float | None = None,
        *,
        monotone: Sequence[int] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if members < 1:
            raise ValueError(f"members must be at least 1; got {members}")
        self.heads = SpectralLayer(
            in_features, out_features * members, dim, eig_idx, smoothing, monotone=monotone, device=device, dtype=dtype
        )
        self.in_features, self.out_features, self.members = in_features, out_features, members
        like = self.heads.matrices
        self.offset = nn.Parameter(torch.zeros(out_features, device=like.device, dtype=like.dtype))
        weights = torch.full((members,), 1.0 / members, device=like.device, dtype=like.dtype)
        self.register_buffer("member_weights", weights)

    def member_scores(self, x: Tensor) -> Tensor:
        """Return each member's scores, (..., out_features, members)."""
        values = self.heads(x).unflatten(-1, (self.out_features, self.members))
        return values + self.offset[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (..., out_features)."""
        values = self.heads(x).unflatten(-1, (self.out_features, self.members))
        return self.offset + (values * self.member_weights).sum(-1)

    def explain(self, x: Tensor) -> Attribution:
        """Take scores apart: constant (..., out_features), contributions (..., out_features, in_features)."""
        constant, contributions = self.heads.explain(x)
        shape = (self.out_features, self.members)
        weights = self.member_weights
        return Attribution(
            self.offset.detach() + (constant.unflatten(-1, shape) * weights).sum(-1),
            (contributions.unflatten(-2, shape) * weights[:, None]).sum(-2),
        )

    def strengths(self) -> Tensor:
        """Return bounds of |d score / d input|, (in_features, out_features): the members' mean spectral norms."""
        return (self.heads.strengths().unflatten(-1, (self.out_features, self.members)) * self.member_weights).sum(-1)

    def extra_repr(self) -> str:
        """Return the number of members, as print(module) shows it."""
        return f"out_features={self.out_features}, members={self.members}"
