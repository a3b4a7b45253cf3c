"""Monotone inputs: matrices that are plus or minus L L', so that eigenvalues only rise or only fall in the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Share of a fresh matrix's norm that the factor of a monotone input starts from: not zero, where L L' has no slope.
LEAST_START = 1e-2
#: In eps of the matrix's dtype: how far rounding may take a pivot below zero.
ROUNDING = 100.0


def checked_signs(signs: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Return the signs of ``count`` inputs as a tuple, all zero for None.

    Raises:
        ValueError: another number of signs, or another sign than -1, 0 and 1.
    """
    checked = (0,) * count if signs is None else tuple(int(sign) for sign in signs)
    if len(checked) != count or not set(checked) <= {-1, 0, 1}:
        raise ValueError(f"monotone must have {count} entries, each -1, 0 or 1; got {signs}")
    return checked


class MonotoneMatrices(nn.Module):
    """Parametrise `SpectralLayer.matrices`: (in_features + 1, heads, 2 dim - 1), of the same shape.

    Where an input is monotone its parameters are l (the diagonal of L) and s (what is below), and its matrix has the
    diagonal l_i^2 + s_(i-1)^2 and the off-diagonal l_i s_i. A tridiagonal semidefinite matrix always has such an L.

    ``signs`` (in_features + 1, 1, 1) is a buffer, so that a state dict with other signs is refused; those that the
    module was made with are put back whatever happens to its memory.
    """

    signs: Tensor

    def __init__(self, signs: Sequence[int], device: Any = None) -> None:
        super().__init__()
        self._made_with = (*signs, 0)
        self.register_buffer("signs", self._as_tensor(device))

    def _as_tensor(self, device: Any = None) -> Tensor:
        return torch.tensor(self._made_with, dtype=torch.int8, device=device)[:, None, None]

    def product(self, free: Tensor) -> Tensor:
        """Return the matrices of free parameters in float64, in which those of monotone inputs are semidefinite."""
        n, free = (free.shape[-1] + 1) // 2, free.double()
        main, below = free[..., :n], free[..., n:]
        diag = main * main + nn.functional.pad(below * below, (1, 0))
        product = torch.cat([diag, main[..., :-1] * below], -1)
        return torch.where(self.signs == 0, free, self.signs * product)

    def forward(self, free: Tensor) -> Tensor:
        """Return the matrices of free parameters, rounded to their dtype: semidefinite only to rounding."""
        return self.product(free).to(free.dtype)

    def right_inverse(self, matrices: Tensor) -> Tensor:
        """Return free parameters of matrices.

        Raises:
            ValueError: a monotone input's matrix that is not semidefinite of its sign.
        """
        free = matrices.detach().clone()
        for i in torch.nonzero(self.signs.flatten())[:, 0].tolist():
            free[i] = _factor(free[i] * self.signs[i])
        return free

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = self.signs
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.signs is not before:  # `to_empty` leaves what was in memory
            self.signs = self._as_tensor(self.signs.device)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Check a state's signs; one without them was saved before states had them."""
        key, errors = f"{prefix}signs", args[-1]
        given, made_with = state_dict.get(key), list(self._made_with)
        if given is None:
            state_dict = {**state_dict, key: self._as_tensor()}
        elif (got := given.flatten().tolist()) != made_with:
            errors.append(f"the state is of a layer with monotone={got[:-1]}; this one has monotone={made_with[:-1]}")
            return
        super()._load_from_state_dict(state_dict, prefix, *args)


def semidefinite_start(matrices: Tensor, signs: Sequence[int]) -> Tensor:
    """Return matrices (in_features + 1, heads, 2 dim - 1) whose monotone inputs are diagonal and of their sign."""
    n = (matrices.shape[-1] + 1) // 2
    sign = torch.tensor([*signs, 0], device=matrices.device, dtype=matrices.dtype)[:, None, None]
    size = matrices[..., :n].abs()
    diagonal = torch.cat([size + LEAST_START * size.mean(), torch.zeros_like(matrices[..., n:])], -1)
    return torch.where(sign == 0, matrices, sign * diagonal)


def _factor(matrices: Tensor) -> Tensor:
    """Return l and s with L L' = (diag, off_diag), (heads, 2 dim - 1): Cholesky, down to singular matrices."""
    n = (matrices.shape[-1] + 1) // 2
    diag, off_diag = matrices[..., :n].double(), matrices[..., n:].double()
    slack = ROUNDING * torch.finfo(matrices.dtype).eps * diag.abs().amax(-1)
    main, below = torch.zeros_like(diag), torch.zeros_like(off_diag)
    for i in range(n):
        pivot = diag[..., i] if i == 0 else diag[..., i] - below[..., i - 1] ** 2
        main[..., i] = pivot.clamp(min=0.0).sqrt()
        wrong = pivot < -slack
        if i < n - 1:
            # A semidefinite matrix with a zero on its diagonal has zeros in the whole row.
            below[..., i] = torch.where(main[..., i] > 0, off_diag[..., i] / main[..., i], 0.0)
            wrong |= (main[..., i] == 0) & (off_diag[..., i].abs() > slack)
        if bool(wrong.any()):
            raise ValueError("the matrix of a monotone input must be semidefinite of its sign; got an indefinite one")
    return torch.cat([main, below], -1).to(matrices.dtype)
