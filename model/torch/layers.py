"""SpectralLayer and SpectralNeuron: outputs that are eigenvalues of affine pencils of the inputs."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eigenserve.model.autograd.tridiagonal import (
    eigenvalue_forms,
    eigvalsh_tridiagonal,
    smoothed_eigvalsh_tridiagonal,
)
from eigenserve.model.torch.affine import affine_eigenvalues, affine_matrices
from eigenserve.model.torch.monotone import MonotoneMatrices, checked_signs, semidefinite_start

#: Spread of the entries of a fresh constant matrix about the chain (diagonal 0, off-diagonal 1), as training has it:
#: the chain's eigenvectors reach over the whole matrix, so every entry gets a gradient.
CHAIN_NOISE = 0.1
#: Spread of the multiples of the identity that the inputs' matrices start as, and of their single entries, for inputs
#: of variance one: the sum over eight is 0.2, as training has it.
START_SPREAD = 0.2


class Attribution(NamedTuple):
    """Hold what made an output: constant (..., out) and contributions (..., out, in), which add up to the output."""

    constant: Tensor
    contributions: Tensor


class SpectralLayer(nn.Module):
    """Map (..., in_features) to (..., out_features): output o is lambda_k(A_o + sum over i of x_i M_io).

    All matrices are symmetric tridiagonal, dim x dim, in one parameter ``matrices`` (in_features + 1, out_features,
    2 dim - 1): the diagonal and then the off-diagonal of each, the constants A last. One parameter, since an optimiser
    costs as much per parameter as a small layer's whole forward pass. Outputs have the dtype that inputs and matrices
    promote to; matrices are added (but see `affine_matrices` for large layers) and eigenvalues solved in float64, and
    rounded once.

    Args:
        in_features, out_features, dim: sizes.
        eig_idx: k, from 0 in ascending order; the middle one by default.
        smoothing: take the Moreau-smoothed eigenvalue, whose gradient is Lipschitz (see
            ``smoothed_eigvalsh_tridiagonal``); an attribute, so that it may be lowered in training.
        monotone: for each input +1 (outputs never decrease in it), -1 (never increase) or 0; the matrices of the first
            two are plus or minus L L', L lower bidiagonal, which every tridiagonal semidefinite matrix is. ``matrices``
            are those rounded to the parameters' dtype; outputs come from `exact_matrices`.

    Raises:
        ValueError: a size below 1, an eig_idx outside [0, dim), a smoothing that is not positive, or other signs.
    """

    matrices: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dim: int,
        eig_idx: int | None = None,
        smoothing: float | None = None,
        *,
        monotone: Sequence[int] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features), ("dim", dim)):
            if operator.index(size) < 1:
                raise ValueError(f"{name} must be at least 1; got {size}")
        eig_idx = dim // 2 if eig_idx is None else operator.index(eig_idx)
        if not 0 <= eig_idx < dim:
            raise ValueError(f"eig_idx must be in [0, {dim}); got {eig_idx}")
        if smoothing is not None and not 0 < smoothing < math.inf:
            raise ValueError(f"smoothing must be positive and finite, or None; got {smoothing}")
        self.in_features, self.out_features = in_features, out_features
        self.dim, self.eig_idx, self.smoothing = dim, eig_idx, smoothing
        self.monotone = checked_signs(monotone, in_features)
        shape = (in_features + 1, out_features, 2 * dim - 1)
        self.matrices = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()
        if any(self.monotone):
            factors = MonotoneMatrices(self.monotone, self.matrices.device)
            nn.utils.parametrize.register_parametrization(self, "matrices", factors)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the matrices again: noisy chains for the constants, jittered multiples of the identity for inputs."""
        spread = START_SPREAD / math.sqrt(self.in_features)
        start = torch.empty_like(self.matrices)
        start.normal_(0.0, spread)
        start[:-1, :, : self.dim] += torch.empty_like(start[:-1, :, :1]).normal_(0.0, spread)
        start[-1].normal_(0.0, CHAIN_NOISE)
        start[-1, :, self.dim :] += 1.0
        if any(self.monotone):
            start = semidefinite_start(start, self.monotone)
        if nn.utils.parametrize.is_parametrized(self, "matrices"):
            self.matrices = start
        else:
            self.matrices.copy_(start)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle a layer with monotone inputs, too: torch makes a class for it that has no name to find it by."""
        parametrizations: Any = self._modules.get("parametrizations")
        if not any(self.monotone) or len(parametrizations.matrices) > 1:
            return super().__reduce_ex__(protocol)
        modules = {name: module for name, module in self._modules.items() if name != "parametrizations"}
        parameters = {**self._parameters, "matrices": nn.Parameter(self.matrices.detach())}
        state = {**self.__dict__, "_modules": modules, "_parameters": parameters}
        return _unpickled, (type(self).__mro__[1], state, parametrizations.matrices.original)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (..., out_features)."""
        return self._outputs(x, (self.out_features,))

    def _outputs(self, x: Tensor, last: tuple[int, ...]) -> Tensor:
        """Return the outputs, with these axes after those of the batch."""
        self._check(x)
        shape = (*x.shape[:-1], *last)
        rows = x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), self.in_features)
        table = self.exact_matrices()
        if self.smoothing is None:
            values = affine_eigenvalues(rows, table, self.eig_idx, shape)
        else:
            matrices = affine_matrices(rows, table)
            values = smoothed_eigvalsh_tridiagonal(*matrices, eig_idx=self.eig_idx, smoothing=self.smoothing)
            values = values.reshape(shape)
        return values if values.dtype is x.dtype else values.to(self._promoted(x))

    def exact_matrices(self) -> Tensor:
        """Return what outputs are computed from, of the shape of ``matrices``.

        That is ``matrices``; with monotone inputs float64, in which L L' is formed: rounded to fewer digits it may be
        indefinite, and outputs would fall where they must not.
        """
        chain = self._factored()
        if chain is None:
            return self.matrices
        first, *others = chain
        table: Tensor = first.product(chain.original)
        for parametrization in others:
            table = parametrization(table)
        return table

    def _factored(self) -> Any:
        """Return the parametrizations that make the matrices of monotone inputs, or None."""
        if not (any(self.monotone) and nn.utils.parametrize.is_parametrized(self, "matrices")):
            return None
        return self.parametrizations.matrices  # type: ignore[union-attr]

    def _dtype(self) -> torch.dtype:
        chain = self._factored()
        return self.matrices.dtype if chain is None else chain.original.dtype

    def _promoted(self, x: Tensor) -> torch.dtype:
        """Return the dtype of outputs for these inputs."""
        return torch.promote_types(x.dtype, self._dtype())

    def explain(self, x: Tensor) -> Attribution:
        """Take outputs apart: input i contributed x_i v'M_i v, and the constant v'A v.

        v is the eigenvector (with smoothing, the mean of outer products that is the gradient; what the contributions
        leave of the output is in the constant). Both are detached.
        """
        self._check(x)
        with torch.no_grad():
            rows, table = x.reshape(-1, self.in_features).double(), self.exact_matrices().double()
            diag, off_diag = affine_matrices(rows, table)
            values = self._eigenvalues(diag, off_diag)
            forms = eigenvalue_forms(diag, off_diag, eig_idx=self.eig_idx, smoothing=self.smoothing)
            contributions = torch.einsum("bi,iho,bho->bhi", rows, table[:-1], forms)
            constant = values - contributions.sum(-1)
        batch, dtype = x.shape[:-1], self._promoted(x)
        return Attribution(
            constant.to(dtype).reshape(*batch, self.out_features),
            contributions.to(dtype).reshape(*batch, self.out_features, self.in_features),
        )

    def strengths(self) -> Tensor:
        """Return the spectral norms of the inputs' matrices, (in_features, out_features), differentiable.

        By Weyl's inequality no output changes by more than its strength times the input's change.
        """
        table = self.exact_matrices()[:-1]
        diag, off_diag = table[..., : self.dim], table[..., self.dim :]
        ends = [eigvalsh_tridiagonal(diag, off_diag, eig_idx=k).abs() for k in (0, self.dim - 1)]
        return torch.maximum(*ends).to(self._dtype())

    def extra_repr(self) -> str:
        """Return the sizes, as print(module) shows them."""
        text = f"in_features={self.in_features}, out_features={self.out_features}, dim={self.dim}"
        text += f", eig_idx={self.eig_idx}"
        if self.smoothing is not None:
            text += f", smoothing={self.smoothing:g}"
        if any(self.monotone):
            text += f", monotone={self.monotone}"
        return text

    def _eigenvalues(self, diag: Tensor, off_diag: Tensor) -> Tensor:
        if self.smoothing is None:
            return eigvalsh_tridiagonal(diag, off_diag, eig_idx=self.eig_idx)
        return smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=self.eig_idx, smoothing=self.smoothing)

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"inputs must be a tensor; got {type(x).__name__}")
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"inputs must be (..., {self.in_features}); got {tuple(x.shape)}")
        if x.is_complex():
            raise ValueError(f"inputs must be real; got {x.dtype}")


def _unpickled(cls: type[SpectralLayer], state: dict[str, Any], free: nn.Parameter) -> SpectralLayer:
    """Make a layer with monotone inputs from its state and its free parameters."""
    layer = cls.__new__(cls)
    layer.__dict__.update(state)
    factors = MonotoneMatrices(layer.monotone, free.device)
    nn.utils.parametrize.register_parametrization(layer, "matrices", factors)
    parametrizations: Any = layer.parametrizations
    parametrizations.matrices.original = free
    return layer


class SpectralNeuron(SpectralLayer):
    """Map (..., in_features) to (...): one eigenvalue of an affine pencil; `SpectralLayer` with a single output.

    Source: A. Shtoff, "Eigenvalues as models" (2025-26).
    """

    def __init__(
        self,
        in_features: int,
        dim: int,
        eig_idx: int | None = None,
        smoothing: float | None = None,
        *,
        monotone: Sequence[int] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, 1, dim, eig_idx, smoothing, monotone=monotone, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, (...)."""
        return self._outputs(x, ())

    def explain(self, x: Tensor) -> Attribution:
        """Take outputs apart, as `SpectralLayer.explain`: constant (...), contributions (..., in_features)."""
        constant, contributions = super().explain(x)
        return Attribution(constant.squeeze(-1), contributions.squeeze(-2))
