"""PiecewiseCurves: inputs -> the weights of the matrices at the knots around them, a layer without parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Curve, CurveSet

Basis = Literal["hats", "ramps"]


class PiecewiseCurves(nn.Module):
    """Map (..., F) coordinates to (..., out_features) weights, one per matrix of the curves.

    Put before a `SpectralLayer`, it makes that layer's pencil walk along piecewise-linear curves of matrices, as a
    served model's does (see `Curve`): ``nn.Sequential(curves, SpectralNeuron(curves.out_features, dim))``. Categories
    are inputs that hold codes; NaN is a missing value, and chooses a curve's matrix for that.

    The basis says what the next layer's matrices are. "hats": those at the knots. "ramps": the one at the first knot
    and the steps from knot to knot, so that a curve is monotone where its steps are semidefinite (see
    `monotone_signs`).

    Args:
        curves: in the order of their matrices.
        basis: "hats" or "ramps".
        in_features: F; None for any number that holds what the curves need.
    """

    _numeric: Tensor
    _direction: Tensor
    _categorical: Tensor
    _codes: Tensor
    _left: Tensor
    _slope: Tensor
    _inner: Tensor
    _first: Tensor
    _missing: Tensor
    _knots: Tensor
    _extend: Tensor
    _sums: Tensor

    def __init__(self, curves: Iterable[Curve], basis: Basis = "hats", in_features: int | None = None) -> None:
        super().__init__()
        if basis not in ("hats", "ramps"):
            raise ValueError(f"basis must be hats or ramps; got {basis!r}")
        self.curve_set = CurveSet(tuple(curves))
        self.basis = basis
        chosen = self.curve_set.curves
        if not chosen:
            raise ValueError("curves must hold at least one curve; got none")
        self.out_features = self.curve_set.num_matrices
        self.in_features = in_features
        self._least = 1 + max(i for curve in chosen for i in (*curve.numeric, *curve.categorical))
        most = max(len(curve.knots) for curve in chosen)
        left, inner = np.zeros((len(chosen), max(most - 1, 1))), np.full((len(chosen), max(most - 2, 0)), np.inf)
        slope = np.zeros_like(left)
        for c, curve in enumerate(chosen):
            knots = np.array(curve.knots)
            left[c, : len(knots) - 1] = knots[:-1]
            slope[c, : len(knots) - 1] = 1.0 / np.diff(knots)
            inner[c, : max(len(knots) - 2, 0)] = knots[1:-1]
        pairs = [_padded([curve.categorical for curve in chosen], -1), _padded([c.num_codes for c in chosen], 1)]
        offsets = self.curve_set.offsets
        kept = {
            "_numeric": torch.from_numpy(self.curve_set.numeric),
            "_direction": torch.from_numpy(self.curve_set.direction),
            "_categorical": torch.tensor(pairs[0]),
            "_codes": torch.tensor(pairs[1]),
            "_left": torch.from_numpy(left),
            "_slope": torch.from_numpy(slope),
            "_inner": torch.from_numpy(inner),
            "_first": torch.from_numpy(offsets[:-1].copy()),
            "_missing": torch.from_numpy(offsets[1:] - 1),
            "_knots": torch.tensor([len(curve.knots) for curve in chosen]),
            "_extend": torch.tensor([curve.extend for curve in chosen]),
            "_sums": torch.from_numpy(self.sums()),
        }
        for name, tensor in kept.items():
            self.register_buffer(name, tensor, persistent=False)

    @classmethod
    def through(
        cls, knots: Sequence[Sequence[float]], *, extend: bool = True, basis: Basis = "hats"
    ) -> PiecewiseCurves:
        """Return one curve per input, through the knots given for it."""
        return cls(
            (
                Curve(term=i, numeric=(i,), direction=(1.0,), knots=tuple(map(float, places)), extend=extend)
                for i, places in enumerate(knots)
            ),
            basis,
            len(knots),
        )

    @classmethod
    def of_data(cls, x: Tensor, num_knots: int = 8, *, extend: bool = True, basis: Basis = "hats") -> PiecewiseCurves:
        """Return one curve per column of x (N, F), through quantiles of it (fewer where they coincide)."""
        shares = torch.linspace(0.0, 1.0, num_knots, dtype=torch.float64, device=x.device)
        columns = x.detach().double()
        knots = [torch.unique(torch.quantile(column[~column.isnan()], shares)).tolist() for column in columns.mT]
        return cls.through(knots, extend=extend, basis=basis)

    def sums(self) -> FloatArray:
        """Return (R, R): the matrices at the knots are this times those of the basis."""
        size = self.curve_set.num_matrices
        made = np.eye(size)
        if self.basis == "ramps":
            for curve, first in zip(self.curve_set.curves, self.curve_set.offsets, strict=False):
                length = len(curve.knots)
                for path in range(curve.num_paths):
                    rows = slice(first + path * length, first + (path + 1) * length)
                    made[rows, rows] = np.tril(np.ones((length, length)))
        return made

    def monotone_signs(self, signs: Mapping[int, int]) -> tuple[int, ...]:
        """Return what a `SpectralLayer` behind takes as ``monotone`` so that it is monotone in inputs by position.

        Raises:
            ValueError: another basis than ramps, or curves that two inputs would have rise and fall.
        """
        if self.basis != "ramps":
            raise ValueError("only curves in the basis ramps can be monotone; make them with basis='ramps'")
        made = [0] * self.out_features
        for curve, first in zip(self.curve_set.curves, self.curve_set.offsets, strict=False):
            wanted = {
                signs[i] * (1 if along > 0 else -1)
                for i, along in zip(curve.numeric, curve.direction, strict=True)
                if signs.get(i) and along
            }
            if len(wanted) > 1:
                raise ValueError(f"the curve along inputs {curve.numeric} would have to both rise and fall")
            for row in range(curve.num_paths * len(curve.knots)) if wanted else ():
                if row % len(curve.knots):
                    made[first + row] = next(iter(wanted))
        return tuple(made)

    def forward(self, z: Tensor) -> Tensor:
        """Return the weights, (..., out_features), in the dtype of the inputs.

        Raises:
            ValueError: another number of inputs.
        """
        if z.ndim == 0 or not self._least <= z.shape[-1] <= (self.in_features or z.shape[-1]):
            wanted = f"at least {self._least}" if self.in_features is None else self.in_features
            raise ValueError(f"inputs must be (..., {wanted}); got {tuple(z.shape)}")
        places = z.to(self._left.dtype)
        numeric = _taken(places, self._numeric)
        codes = _taken(places, self._categorical)
        code = torch.where(
            self._categorical[:, 1] >= 0, codes[..., 0] * self._codes[:, 1] + codes[..., 1], codes[..., 0]
        )
        u = (numeric * self._direction).sum(-1)
        absent = u.isnan() | code.isnan()
        u, code = torch.where(absent, 0.0, u), torch.where(absent, 0.0, code).long()
        low = (u.detach()[..., None] >= self._inner).sum(-1)
        curve = torch.arange(len(self._first), device=z.device).expand_as(low)
        weight = (u - self._left[curve, low]) * self._slope[curve, low]
        weight = torch.where(self._extend, weight, weight.clamp(0.0, 1.0))
        weight = torch.where(absent, 0.0, weight)
        start = torch.where(absent, self._missing, self._first + code * self._knots + low)
        zeros = torch.zeros((*z.shape[:-1], self.out_features), dtype=weight.dtype, device=z.device)
        after = (start + 1).clamp(max=self.out_features - 1)
        hats = zeros.scatter_add(-1, start, 1.0 - weight).scatter_add(-1, after, weight)
        return (hats @ self._sums if self.basis == "ramps" else hats).to(z.dtype)

    def extra_repr(self) -> str:
        """Return the sizes, as print(module) shows them."""
        return f"curves={len(self.curve_set.curves)}, out_features={self.out_features}, basis={self.basis}"


def _taken(places: Tensor, positions: Tensor) -> Tensor:
    """Return (..., C, 2): the inputs at positions (C, 2), zero for position -1."""
    return torch.where(positions >= 0, places[..., positions.clamp(min=0)], 0.0)


def _padded(rows: Sequence[tuple[int, ...]], fill: int) -> list[list[int]]:
    return [[*row, fill, fill][:2] for row in rows]
