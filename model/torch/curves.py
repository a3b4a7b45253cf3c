"""PiecewiseCurves: inputs -> the weights of the matrices at the knots around them, a layer without parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from eigenserve.model.arrays import FloatArray
from eigenserve.model.autograd.functions import is_plain
from eigenserve.model.matrices.consistency import check_curve
from eigenserve.model.matrices.curves import Curve, CurveSet
from eigenserve.model.torch.curve_state import NAMES, packed, unpacked

Basis = Literal["hats", "ramps"]


class PiecewiseCurves(nn.Module):
    """Map (..., F) coordinates to (..., out_features) weights, one per matrix of the curves.

    Put before a `SpectralLayer`, it makes that layer's pencil walk along piecewise-linear curves of matrices, as a
    served model's does (see `Curve`): ``nn.Sequential(curves, SpectralNeuron(curves.out_features, dim))``. Categories
    are inputs that hold codes; NaN is a missing value, and chooses a curve's matrix for that. Without such a matrix,
    weights are NaN; a served model takes the training median there.

    The basis says what the next layer's matrices are. "hats": those at the knots. "ramps": the one at the first knot
    and the steps from knot to knot, so that a curve is monotone where its steps are semidefinite (see
    `monotone_signs`).

    Curves are part of the state dict: loading takes over those that a state was trained with. They stay float64
    whatever dtype the module is cast to, and so does what is computed from them.

    Args:
        curves: in the order of their matrices.
        basis: "hats" or "ramps".
        in_features: F; None for any number that holds what the curves need.

    Raises:
        ValueError: no curves, knots that do not ascend or are not finite, more inputs than in_features, or another
            basis.
    """

    knots: Tensor
    directions: Tensor
    layout: Tensor
    ramps: Tensor
    _like: Tensor
    _numeric: Tensor
    _categorical: Tensor
    _codes: Tensor
    _left: Tensor
    _slope: Tensor
    _inner: Tensor
    _first: Tensor
    _start_of_missing: Tensor
    _num_knots: Tensor
    _extend: Tensor
    _weight_of_missing: Tensor
    _sums: Tensor

    def __init__(self, curves: Iterable[Curve], basis: Basis = "hats", in_features: int | None = None) -> None:
        super().__init__()
        if basis not in ("hats", "ramps"):
            raise ValueError(f"basis must be hats or ramps; got {basis!r}")
        self.basis = basis
        self.in_features = in_features
        #: Empty, of the dtype that the module is cast to: what integers become.
        self.register_buffer("_like", torch.empty(0), persistent=False)
        self._hold(tuple(curves))
        self.out_features = self.curve_set.num_matrices

    def _hold(self, curves: tuple[Curve, ...], device: Any = None) -> None:
        """Make these the module's curves."""
        if not curves:
            raise ValueError("curves must hold at least one curve; got none")
        for c, curve in enumerate(curves):
            check_curve(c, curve)
        places = [i for curve in curves for i in (*curve.numeric, *curve.categorical)]
        least = 1 + max(places, default=0)
        if min(places, default=0) < 0 or least > (self.in_features or least):
            raise ValueError(f"curves must walk along inputs from 0 to {(self.in_features or least) - 1}; got {places}")
        self.curve_set, self._least = CurveSet(curves), least
        self._has_codes = any(curve.categorical for curve in curves)
        most = max(len(curve.knots) for curve in curves)
        left, inner = np.zeros((len(curves), max(most - 1, 1))), np.full((len(curves), max(most - 2, 0)), np.inf)
        slope = np.zeros_like(left)
        for c, curve in enumerate(curves):
            knots = np.array(curve.knots)
            left[c, : len(knots) - 1] = knots[:-1]
            slope[c, : len(knots) - 1] = 1.0 / np.diff(knots)
            inner[c, : max(len(knots) - 2, 0)] = knots[1:-1]
        offsets = self.curve_set.offsets
        state, gaps = packed(curves), [curve.missing for curve in curves]
        derived = {
            "_numeric": self.curve_set.numeric,
            "_categorical": state["layout"][:, 6:8],
            "_codes": state["layout"][:, 8:],
            "_left": left,
            "_slope": slope,
            "_inner": inner,
            "_first": offsets[:-1],
            "_start_of_missing": np.where(gaps, offsets[1:] - 1, offsets[:-1]),
            "_num_knots": state["layout"][:, 1],
            "_extend": state["layout"][:, 2],
            "_weight_of_missing": np.where(gaps, 0.0, np.nan),
            "_sums": self.sums(),
        }
        self._like = torch.empty_like(self._like, device=device)
        for name, array in {**state, "ramps": int(self.basis == "ramps"), **derived}.items():
            self.register_buffer(name, torch.tensor(array, device=device), persistent=name not in derived)

    @classmethod
    def through(
        cls,
        knots: Sequence[Sequence[float]],
        *,
        extend: bool = True,
        basis: Basis = "hats",
        missing: bool | Sequence[bool] = False,
    ) -> PiecewiseCurves:
        """Return one curve per input, through the knots given for it.

        ``missing`` says of all inputs, or of each, whether its curve has a matrix for missing values, NaN.
        """
        gaps = [missing] * len(knots) if isinstance(missing, bool) else [bool(gap) for gap in missing]
        if len(gaps) != len(knots):
            raise ValueError(f"missing must have {len(knots)} entries, as knots has; got {len(gaps)}")
        return cls(
            (
                Curve(i, (i,), (1.0,), knots=tuple(map(float, places)), extend=extend, missing=gap)
                for i, (places, gap) in enumerate(zip(knots, gaps, strict=True))
            ),
            basis,
            len(knots),
        )

    @classmethod
    def of_data(cls, x: Tensor, num_knots: int = 8, *, extend: bool = True, basis: Basis = "hats") -> PiecewiseCurves:
        """Return one curve per column of x (N, F), through quantiles of it (fewer where they coincide).

        A column that holds NaN has a matrix for missing values.

        Raises:
            ValueError: x of another shape, or a column that holds no number, or an infinite one.
        """
        if x.ndim != 2:
            raise ValueError(f"x must be (N, F); got {tuple(x.shape)}")
        shares = torch.linspace(0.0, 1.0, num_knots, dtype=torch.float64, device=x.device)
        columns = x.detach().double()
        gaps = columns.isnan()
        if bool(gaps.all(0).any()):
            empty = gaps.all(0).nonzero()[0].item()
            raise ValueError(f"every column of x must hold a number; column {empty} holds none")
        knots = [torch.unique(torch.quantile(column[~column.isnan()], shares)).tolist() for column in columns.mT]
        return cls.through(knots, extend=extend, basis=basis, missing=gaps.any(0).tolist())

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
            ValueError: another basis than ramps, another sign than -1, 0 and 1, an input that no curve walks along, or
                curves that two inputs would have rise and fall.
        """
        if self.basis != "ramps":
            raise ValueError("only curves in the basis ramps can be monotone; make them with basis='ramps'")
        walked = {
            i
            for curve in self.curve_set.curves
            for i, along in zip(curve.numeric, curve.direction, strict=True)
            if along
        }
        for i, sign in signs.items():
            if sign not in (-1, 0, 1):
                raise ValueError(f"signs must be -1, 0 or 1; got {sign} for input {i}")
            if sign and i not in walked:
                raise ValueError(f"signs must be of inputs that a curve walks along, {sorted(walked)}; got input {i}")
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
        """Return the weights, (..., out_features), in the inputs' dtype; of integers in the dtype of the module's cast.

        Codes are checked in eager mode on the CPU. Compiled, transformed or on another device, a code that there is
        not gives NaN.

        Raises:
            TypeError: inputs that are no tensor.
            ValueError: another number of inputs, complex ones, or a code that there is not.
        """
        if not isinstance(z, Tensor):
            raise TypeError(f"inputs must be a tensor; got {type(z).__name__}")
        if z.ndim == 0 or not self._least <= z.shape[-1] <= (self.in_features or z.shape[-1]):
            wanted = f"at least {self._least}" if self.in_features is None else self.in_features
            raise ValueError(f"inputs must be (..., {wanted}); got {tuple(z.shape)}")
        if z.is_complex():
            raise ValueError(f"inputs must be real; got {z.dtype}")
        places = z.to(torch.float64)
        u = (_taken(places, self._numeric) * self.directions).sum(-1)
        code = self._paths(z, _taken(places, self._categorical)) if self._has_codes else torch.zeros_like(u)
        unknown = code < 0
        absent = u.isnan() | code.isnan()
        u, code = torch.where(absent, 0.0, u), torch.where(absent | unknown, 0.0, code).long()
        low = (u.detach()[..., None] >= self._inner).sum(-1)
        curve = torch.arange(len(self._first), device=z.device).expand_as(low)
        weight = (u - self._left[curve, low]) * self._slope[curve, low]
        weight = torch.where(self._extend > 0, weight, weight.clamp(0.0, 1.0))
        weight = torch.where(unknown, torch.nan, torch.where(absent, self._weight_of_missing, weight))
        start = torch.where(absent, self._start_of_missing, self._first + code * self._num_knots + low)
        zeros = torch.zeros((*z.shape[:-1], self.out_features), dtype=weight.dtype, device=z.device)
        after = (start + 1).clamp(max=self.out_features - 1)
        hats = zeros.scatter_add(-1, start, 1.0 - weight).scatter_add(-1, after, weight)
        dtype = z.dtype if z.is_floating_point() else self._like.dtype
        return (hats @ self._sums if self.basis == "ramps" else hats).to(dtype)

    def _paths(self, z: Tensor, codes: Tensor) -> Tensor:
        """Return the path that codes (..., C, 2) choose, (..., C): NaN where one is missing, -1 where there is none."""
        unknown = ~(codes.isnan() | ((codes >= 0) & (codes < self._codes) & (codes == codes.floor())))
        if is_plain(z) and bool(unknown.any()):
            curve, side = unknown.nonzero()[0].tolist()[-2:]
            raise ValueError(
                f"input {int(self._categorical[curve, side])} must hold codes, whole numbers from 0 to "
                f"{int(self._codes[curve, side]) - 1}; got {codes[unknown][0].item():g}"
            )
        pairs = self._categorical[:, 1] >= 0
        path = torch.where(pairs, codes[..., 0] * self._codes[:, 1] + codes[..., 1], codes[..., 0])
        return torch.where(unknown.any(-1), -1.0, path)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = self.knots
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.knots is not before:  # of another dtype, or of memory that `to_empty` leaves as it was
            self._hold(self.curve_set.curves, self.knots.device)
        return self

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: bool, missing: Any, unexpected: Any, errors: Any
    ) -> None:
        """Take over a state's curves, if they have as many matrices in the same basis; warn if it holds none."""
        state = {name: state_dict.get(prefix + name) for name in (*NAMES, "ramps")}
        if all(tensor is not None for tensor in state.values()):
            errors += self._taken_over(state)
        else:
            warnings.warn(
                f"the state holds no curves {prefix}knots, as states of older versions: make PiecewiseCurves with the "
                "knots that it was trained with, and load it with strict=False, which keeps them",
                stacklevel=2,
            )
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
        self._hold(self.curve_set.curves, self.knots.device)

    def _taken_over(self, state: Mapping[str, Any]) -> list[str]:
        """Hold the curves of a state; return what is wrong with them, if anything is."""
        kept = self.curve_set.curves
        basis = "ramps" if bool(state["ramps"]) else "hats"
        if basis != self.basis:
            return [f"the state's curves are in the basis {basis}; these are in {self.basis}"]
        try:
            self._hold(unpacked(state), self.knots.device)
        except ValueError as error:
            return [f"the state's curves cannot be used: {error}"]
        if (count := self.curve_set.num_matrices) != self.out_features:
            self._hold(kept, self.knots.device)
            return [f"the state's curves have {count} matrices; these have {self.out_features}"]
        return []

    def extra_repr(self) -> str:
        """Return the sizes, as print(module) shows them."""
        return f"curves={len(self.curve_set.curves)}, out_features={self.out_features}, basis={self.basis}"


def _taken(places: Tensor, positions: Tensor) -> Tensor:
    """Return (..., C, 2): the inputs at positions (C, 2), zero for position -1."""
    return torch.where(positions >= 0, places[..., positions.clamp(min=0)], 0.0)
