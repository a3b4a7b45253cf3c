"""Turn parameters into matrices by one sparse product, for all curves and members at once.

Every form of a curve (``training.kernels.layout``) is linear in its parameters, once those that are a lower bidiagonal
L are replaced by L L'. So the table of matrices is E f(params), with E block-diagonal and f the product where a
parameter is an L.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn.functional import pad

from eigenserve.model.arrays import FloatArray
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import BENT, MONOTONE


class Expansion:
    """Expand parameters (P, members, outputs, 2n - 1) into matrices (R, ...), the constant one last in both.

    Args:
        bases: the curves.
        device: of the tensors.
    """

    def __init__(self, bases: Sequence[CurveBasis], device: torch.device) -> None:
        # The constant matrix is its own parameter.
        joined = scipy.sparse.block_diag([*map(_block, bases), np.ones((1, 1))], format="coo")
        places = torch.from_numpy(np.stack([joined.row, joined.col]).astype(np.int64))
        values = torch.from_numpy(joined.data.astype(np.float32))
        self._linear = torch.sparse_coo_tensor(
            places, values, joined.shape, device=device, check_invariants=True
        ).coalesce()
        factors = np.concatenate([*map(_factors, bases), [False]])
        self._factors = torch.from_numpy(np.flatnonzero(factors)).to(device)

    def __call__(self, params: Tensor) -> Tensor:
        """Return the matrices, differentiable."""
        if len(self._factors):
            params = params.index_put((self._factors,), _square(params[self._factors]))
        return torch.sparse.mm(self._linear, params.flatten(1)).unflatten(1, params.shape[1:])


def _square(factors: Tensor) -> Tensor:
    """Return L L' of lower bidiagonals (..., 2n - 1), as ``monotone_steps.factor_products``."""
    n = (factors.shape[-1] + 1) // 2
    diag, below = factors[..., :n], factors[..., n:]
    return torch.cat([diag * diag + pad(below * below, (1, 0)), diag[..., : n - 1] * below], -1)


def _block(basis: CurveBasis) -> FloatArray | scipy.sparse.sparray:
    """Return the matrices of a curve by its parameters, (R, P), those that are an L squared."""
    if basis.form not in (MONOTONE, BENT):
        return scipy.sparse.eye_array(basis.num_params) if basis.matrix is None else basis.matrix
    knots = np.array(basis.curve.knots)
    path = _bent(knots, basis.bend, basis.sign) if basis.form == BENT else _monotone(len(knots), basis.sign)
    rest = basis.num_params - basis.curve.num_paths * len(knots)
    return scipy.sparse.block_diag([*[path] * basis.curve.num_paths, *[np.ones((1, 1))] * rest])


def _monotone(knots: int, sign: int) -> FloatArray:
    """Return one path of ``monotone_steps``: the level, and the sum of the steps up to each knot."""
    path = sign * np.tril(np.ones((knots, knots)))
    path[:, 0] = 1.0
    return path


def _bent(knots: FloatArray, bend: int, rise: int) -> FloatArray:
    """Return one path of ``bends``: the level, and growths of the slope by how far beyond them each knot stands."""
    backwards = bend * rise < 0
    ordered = knots[::-1] if backwards else knots
    beyond = np.abs(ordered[:, None] - np.concatenate([ordered[:1], ordered[:-1]])[None])
    path = bend * np.tril(beyond)
    path[:, 0] = bend
    return path[::-1, ::-1] if backwards else path


def _factors(basis: CurveBasis) -> np.ndarray:
    """Return which parameters of a curve are an L, (P,)."""
    factors = np.zeros(basis.num_params, bool)
    if basis.form in (MONOTONE, BENT):
        count = len(basis.curve.knots)
        path = np.arange(count) > (1 if basis.form == BENT and basis.sign == 0 else 0)
        if basis.bend * basis.sign < 0:
            path = path[::-1]
        factors[: basis.curve.num_paths * count] = np.tile(path, basis.curve.num_paths)
    return factors
